"""Rounded activations and KV cache against transformers' own forward with hooks written here, in NumPy where rounding is concerned."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama

from bitlaw.errors import InputError, UnknownName
from bitlaw.measure import MeasurePlan
from bitlaw.quantize import make_variant
from bitlaw.records import Seen, Variant
from bitlaw.sweep import Decoder, parse_activations, parse_kv_cache, reads_calibration, sweep
from bitlaw.sweep import activations as activations_module
from bitlaw.sweep.activations import ActivationFormat
from bitlaw.sweep.layers import linear_layers
from tests.sweep.models import FAMILIES, VOCABULARY, gpt_neox, llama, windows

EVALUATION, CALIBRATION = windows(5, 16, seed=1), windows(6, 16, seed=2)
E4M3 = np.array([m * 2.0**-9 for m in range(8)] + [(1 + m / 8) * 2.0**e for e in range(-6, 9) for m in range(8)][:-1])


def int_grid(x: np.ndarray, bits: int, largest: np.ndarray) -> np.ndarray:
    """Symmetric integers: 2^bits - 1 steps across both sides of the largest value, ends clamped."""
    step = np.float32(2) * largest.astype(np.float32) / np.float32(2**bits - 1)
    step = np.where(step == 0, np.float32(1), step)
    return np.clip(np.round(x / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.float32) * step


def float_grid(x: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The nearest E4M3 value (448 the largest) by search over all of them; ties are not expected in random numbers."""
    scale = np.where(largest == 0, 1, largest / np.float32(448)).astype(np.float32)
    wanted = np.abs(x / scale)
    nearest = E4M3[np.abs(wanted[..., None] - E4M3).argmin(-1)]
    return (np.sign(x) * nearest * scale).astype(np.float32)


BY_TOKEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "int8_token": lambda x: int_grid(x, 8, np.abs(x).max(-1, keepdims=True)),
    "int4_token": lambda x: int_grid(x, 4, np.abs(x).max(-1, keepdims=True)),
    "fp8_e4m3_token": lambda x: float_grid(x, np.abs(x).max(-1, keepdims=True)),
}


def in_numpy(rounding: Callable[[np.ndarray], np.ndarray]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.from_numpy(rounding(x.float().numpy())).to(x.dtype)


def in_float64(family: str) -> nn.Module:
    """The model in float64, so that inputs on the edge between two grid values fall to the same side in both computations."""
    return FAMILIES[family]().double()


def block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    decoder = Decoder(model)
    return {n.name: n.module for index in range(len(decoder.blocks)) for n in linear_layers(decoder, index)}


def hooked(model: nn.Module, rounding: Callable[[str, torch.Tensor], torch.Tensor]) -> nn.Module:
    """A copy whose linear layers in the blocks read rounded inputs."""
    work = copy.deepcopy(model)
    for name, module in block_linears(work).items():
        module.register_forward_pre_hook(lambda _, x, name=name: (rounding(name, x[0]),))
    return work


def loss_of(model: nn.Module, ids: torch.Tensor = EVALUATION) -> float:
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1].double()
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))


def loss(seen: Seen) -> float:
    assert seen.state == "ok", seen.reason
    assert seen.nats is not None
    assert seen.tokens_scored is not None
    return seen.nats / seen.tokens_scored


@pytest.mark.parametrize("name", BY_TOKEN)
def test_rounding_by_token_equals_numpy(name: str) -> None:
    inputs = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 5)[:, None]
    inputs[0, 0] = 0.0
    format = parse_activations(name)
    assert format is not None
    rounded = format.round(inputs)
    assert torch.allclose(rounded, in_numpy(BY_TOKEN[name])(inputs), rtol=2e-6, atol=0)
    assert not rounded[0, 0].any()
    alone = torch.stack([format.round(inputs[:, t]) for t in range(5)], 1)
    assert torch.equal(rounded, alone), "a token's scale depends on another token"
    assert format.round(inputs.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", BY_TOKEN)
def test_by_token_equals_a_hooked_model(family: str, name: str) -> None:
    model = in_float64(family)
    reference = hooked(model, lambda _, x: in_numpy(BY_TOKEN[name])(x))
    (result,) = sweep(model, [Variant(activations=name)], EVALUATION, batch_windows=2)
    assert loss(result.seen) == pytest.approx(loss_of(reference), abs=1e-5)
    if name == "int4_token":
        assert result.seen.kl_nats > 1e-3 * result.seen.tokens_scored  # and that is far from nothing
    assert (result.seen.bits_per_weight, result.seen.quantized_layers, result.seen.sqnr_db) == (16.0, 0, None)


def test_with_quantized_weights_equals_a_hooked_model_that_has_them() -> None:
    model = llama()
    variant = dataclasses.replace(make_variant("nearest", "int4_g16"), activations="int8_token")
    plain, both = sweep(model, [make_variant("nearest", "int4_g16"), variant], EVALUATION)
    work = copy.deepcopy(model)
    for module in block_linears(work).values():
        groups = module.weight.data.reshape(-1, 16)
        low, high = groups.amin(1, keepdim=True).clamp_max(0), groups.amax(1, keepdim=True).clamp_min(0)
        scale = (high - low) / 15
        zero = (-low / scale).round()
        codes = ((groups / scale).round() + zero).clamp(0, 15)
        module.weight.data = ((codes - zero) * scale).reshape(module.weight.shape)
    assert loss(plain.seen) == pytest.approx(loss_of(work), abs=1e-5)
    reference = hooked(work, lambda _, x: in_numpy(BY_TOKEN["int8_token"])(x))
    assert loss(both.seen) == pytest.approx(loss_of(reference), abs=2e-4)
    assert both.seen.bits_per_weight == plain.seen.bits_per_weight
    assert both.seen.sqnr_db == plain.seen.sqnr_db


@pytest.mark.parametrize("name", ["int8_tensor", "int4_tensor", "fp8_e4m3_tensor"])
def test_static_scales_are_the_largest_calibration_input_of_the_16_bit_network(name: str) -> None:
    model = gpt_neox()
    largest: dict[str, float] = {}

    def note(name: str, x: torch.Tensor) -> torch.Tensor:
        largest[name] = max(largest.get(name, 0.0), float(x.abs().max()))
        return x

    loss_of(hooked(model, note), CALIBRATION)
    bits = int(name[3]) if name.startswith("int") else 0

    def rounding(layer: str, x: torch.Tensor) -> torch.Tensor:
        top = np.array(largest[layer], dtype=np.float32)
        wanted = np.clip(x.numpy(), -top, top) if not bits else x.numpy()
        return torch.from_numpy(int_grid(wanted, bits, top) if bits else float_grid(wanted, top))

    reference = hooked(model, rounding)
    variants = [Variant(activations=name), Variant()]
    result, baseline = sweep(model, variants, EVALUATION, CALIBRATION, batch_windows=2)
    assert loss(result.seen) == pytest.approx(loss_of(reference), abs=5e-4)
    assert loss(baseline.seen) == pytest.approx(loss_of(model), abs=1e-5)
    assert loss(result.seen) != loss(baseline.seen)


def test_crossquant_scales_are_of_tokens_and_features_of_one_window() -> None:
    inputs = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 2, 16)
    format = parse_activations("crossquant8")
    assert format is not None
    for window, rounded in zip(inputs.numpy(), format.round(inputs).numpy(), strict=True):
        x = np.abs(window).astype(np.float64)
        scale = x.max(1, keepdims=True) ** 0.15 * x.max(0, keepdims=True) ** 0.85
        largest = (x / scale).max()
        step = 2 * largest / 255 * scale
        np.testing.assert_array_less(np.abs(rounded - window), 0.5001 * step + (x / scale > 0.998 * largest) * step)
        np.testing.assert_allclose(rounded, np.round(rounded / step) * step, rtol=1e-4, atol=1e-6)
    (alone,) = sweep(llama(), [Variant(activations="crossquant8")], EVALUATION, batch_windows=1)
    (together,) = sweep(llama(), [Variant(activations="crossquant8")], EVALUATION, batch_windows=5)
    assert loss(alone.seen) == pytest.approx(loss(together.seen), abs=1e-5)


def test_the_kernel_is_the_share_of_zeros_and_crossquant_shrinks_it() -> None:
    model = gpt_neox()
    zeros: list[torch.Tensor] = []

    def rounding(name: str, x: torch.Tensor) -> torch.Tensor:
        rounded = in_numpy(BY_TOKEN["int4_token"])(x)
        zeros.append((rounded == 0).flatten())  # in this family no two layers of a block share an input
        return rounded

    loss_of(hooked(model, rounding))
    variants = [Variant(activations=name) for name in ("int4_token", "crossquant4", "int8_token")]
    token, cross, fine = (r.seen.activation_kernel for r in sweep(model, variants, EVALUATION))
    assert token == pytest.approx(float(torch.cat(zeros).double().mean()), abs=1e-3)
    assert cross is not None
    assert fine is not None
    assert fine < cross < token


@pytest.mark.parametrize("family", FAMILIES)
def test_ever_finer_rounding_ends_at_the_baseline(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FAMILIES[family]()
    base = loss_of(model)

    class Fine:
        """16 bits: what is left of x after 2^15 steps to its largest value."""

        def round(self, x: torch.Tensor, largest: torch.Tensor | None = None) -> torch.Tensor:
            step = x.abs().amax(-1, keepdim=True) / 2**15
            return (x / step).round() * step

    kl = []
    for name in ("int4_token", "int6_token", "int8_token"):
        (result,) = sweep(model, [Variant(activations=name, kv_cache=name)], EVALUATION)
        kl.append(result.seen.kl_nats)
    assert kl[0] > 4 * kl[1] > 16 * kl[2] > 0
    monkeypatch.setattr(ActivationFormat, "round", Fine.round)
    (result,) = sweep(model, [Variant(activations="int8_token")], EVALUATION)
    assert loss(result.seen) == pytest.approx(base, abs=2e-4)
    assert loss(result.seen) != base


@pytest.mark.parametrize("name", BY_TOKEN)
@pytest.mark.parametrize("family", FAMILIES)
def test_kv_cache_equals_a_patched_attention(family: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_float64(family)
    (result,) = sweep(model, [Variant(kv_cache=name)], EVALUATION, batch_windows=2)
    module = modeling_llama if family == "llama" else modeling_gpt_neox
    rounding = in_numpy(BY_TOKEN[name])

    def attention(layer, query, key, value, mask, scaling, **_):
        key, value = rounding(key), rounding(value)
        repeat = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        length = query.shape[2]
        scores = (query @ key.transpose(2, 3)) * scaling
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2).contiguous(), None

    monkeypatch.setattr(module.ALL_ATTENTION_FUNCTIONS, "get_interface", lambda *_: attention)
    assert loss(result.seen) == pytest.approx(loss_of(model), abs=1e-5)
    if name == "int4_token":
        assert result.seen.kl_nats > 1e-4 * result.seen.tokens_scored


def test_weights_only_results_do_not_move_beside_rounded_variants() -> None:
    model = llama()
    before = copy.deepcopy(model.state_dict())
    weights = [
        make_variant("nearest", "int3_g16"),
        make_variant("gptq", "int3_g16"),
        make_variant("gptq", "int3_g16", {"upstream": "full_precision"}),
        make_variant("gptaq", "int3_g16"),
    ]
    rounded = [dataclasses.replace(v, activations="int8_tensor", kv_cache="int8_token") for v in weights]
    alone = sweep(model, [Variant(), *weights], EVALUATION, CALIBRATION)
    together = sweep(model, [*rounded, Variant(), *weights, Variant(kv_cache="int4_token")], EVALUATION, CALIBRATION)
    assert [r.seen for r in together[4:-1]] == [r.seen for r in alone]
    assert all(r.seen.state == "ok" and r.seen.kl_nats != a.seen.kl_nats for r, a in zip(together, alone[1:]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_own_calibration_flows_through_rounded_blocks() -> None:
    """The second block's Hessian of upstream=quantized sees the rounded first block; of full_precision it does not."""
    model = llama()
    for upstream, moves in (("quantized", True), ("full_precision", False)):
        plain = make_variant("gptq", "int4_g16", {"upstream": upstream})
        variants = [plain, dataclasses.replace(plain, activations="int4_token")]
        weights = [r.seen.sqnr_db for r in sweep(model, variants, EVALUATION, CALIBRATION)]
        assert (weights[0] != weights[1]) == moves


def test_an_input_changed_in_place_is_rounded_again() -> None:
    format = parse_activations("int4_token")
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    layers = [activations_module.LinearLayer("first", first), activations_module.LinearLayer("second", second)]
    inputs = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    with torch.no_grad(), activations_module.rounded_inputs(layers, format, {}):
        for layer in (first, second):
            layer.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
            layer(inputs)
            inputs.add_(1.0)
    with torch.no_grad():
        expected = [in_numpy(BY_TOKEN["int4_token"])(inputs - 2), in_numpy(BY_TOKEN["int4_token"])(inputs - 1)]
    assert torch.allclose(seen[0], expected[0], atol=1e-5)
    assert torch.allclose(seen[1], expected[1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("int8_tokens", "Unknown activation format 'int8_tokens'. Did you mean 'int8_token'?"),
        ("int8", "Unknown activation format 'int8'"),
        ("int9_token", "bits=9"),
        ("int1_tensor", "bits=1"),
        ("crossquant16", "bits=16"),
        ("fp8_e9m9_token", "e9m9"),
        ("", "Unknown activation format ''"),
    ],
)
def test_names_of_activation_formats(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_activations(name)
    with pytest.raises(InputError, match=said):
        sweep(llama(), [Variant(activations=name)], EVALUATION)


@pytest.mark.parametrize(
    ("name", "said"), [("int8_tensor", "Did you mean 'int8_token'"), ("int4", "Unknown KV"), ("int1_token", "bits=1")]
)
def test_names_of_cache_formats(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_kv_cache(name)


def test_what_a_variant_needs() -> None:
    assert not reads_calibration(Variant(activations="int8_token", kv_cache="int8_token"))
    assert reads_calibration(Variant(activations="int8_tensor"))
    assert not reads_calibration(make_variant("nearest", "int4_g16"))
    assert reads_calibration(make_variant("gptq", "int4_g16"))
    with pytest.raises(InputError, match="activations=int8_tensor has static scales"):
        sweep(llama(), [Variant(activations="int8_tensor")], EVALUATION)
    with pytest.raises(InputError, match=r"divisible by 24; 'model.layers.0.self_attn.q_proj' has 32"):
        sweep(llama(), [Variant(activations="mxfp4_e2m1_k24")], EVALUATION)


class NoCache(nn.Module):
    """A block that knows of no cache."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.real = real

    def forward(self, hidden_states, attention_mask=None, position_embeddings=None, **_):
        return self.real(hidden_states, attention_mask=attention_mask, position_embeddings=position_embeddings)


class SilentCache(NoCache):
    """A block that takes a cache and does not use it."""

    def forward(self, hidden_states, past_key_values=None, **keywords):
        return super().forward(hidden_states, **keywords)


def test_a_family_without_a_cache_is_named_before_any_work() -> None:
    model = llama()
    model.model.layers[1] = SilentCache(model.model.layers[1])
    with pytest.raises(
        InputError, match=r"model\.layers\.1 \(SilentCache\): it takes a cache and puts nothing into it"
    ):
        sweep(model, [Variant(kv_cache="int8_token")], EVALUATION)
    decoder = Decoder(llama())
    hidden = decoder.embed(EVALUATION)
    decoder.blocks[0] = NoCache(decoder.blocks[0])
    for call in decoder._calls.values():
        call[0].keywords.pop("past_key_values")
    with pytest.raises(InputError, match=r"\(NoCache\) takes no key-value cache: none of past_key_values, layer_past"):
        decoder.run_block(0, hidden, object())


def test_a_family_that_gives_its_cache_by_position() -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config).eval()
    fine, coarse = sweep(model, [Variant(kv_cache="int8_token"), Variant(kv_cache="int2_token")], EVALUATION)
    assert loss(fine.seen) == pytest.approx(loss_of(model), abs=1e-3)
    assert coarse.seen.kl_nats > 10 * fine.seen.kl_nats > 0
    assert fine.seen.bits_per_weight == 16.0
    for block in model.transformer.h:
        for parent, name in (
            (block.attn, "c_attn"),
            (block.attn, "c_proj"),
            (block.mlp, "c_fc"),
            (block.mlp, "c_proj"),
        ):
            setattr(parent, name, Product(parent.get_submodule(name)))
    for variant in (Variant(activations="int8_token"), make_variant("nearest", "int4_g16")):
        with pytest.raises(
            InputError, match="rounds linear layers, and there is none in the blocks of GPT2LMHeadModel"
        ):
            sweep(model, [variant], EVALUATION)


class Product(nn.Module):
    """A linear layer that is none of the kinds known."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.matrix = layer.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.matrix


def test_plans() -> None:
    plan = MeasurePlan.make(
        methods=["nearest"],
        bits=[4, 8],
        activations=["none", "int8_token"],
        kv_cache="int8_token",
        variants=[
            "none none activations=fp8_e4m3_token",
            "gptq int4_g32 kv_cache=int4_token order=activation",
            {"method": "nearest", "format": "int8_g128", "activations": "int8_tensor"},
            "nearest int4_g128 activations=int8_token kv_cache=int8_token",
        ],
    )
    assert [v.label for v in plan.variants] == [
        "none",
        "nearest int4_g128 KV:int8_token",
        "nearest int4_g128 A:int8_token KV:int8_token",
        "nearest int8_g128 KV:int8_token",
        "nearest int8_g128 A:int8_token KV:int8_token",
        "none A:fp8_e4m3_token",
        "gptq int4_g32 KV:int4_token",
        "nearest int8_g128 A:int8_tensor",
    ]
    assert plan.variants[6].options["order"] == "activation"
    assert len({v.label for v in plan.variants}) == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"variants": ["none int4_g128"]}, "Method 'none' leaves the weights alone"),
        ({"variants": ["none none damping=0.1"]}, "Method 'none' leaves the weights alone"),
        ({"variants": ["none none"]}, "names no quantized variant"),
        ({"variants": ["nearest int4_g128 activations=int8"]}, "Unknown activation format"),
        ({"variants": ["nearest int4_g128 activation=int8_token"]}, "has no option 'activation'"),
        ({"variants": [{"method": "nearest", "format": "int4_g128", "activation": "int8_token"}]}, "Unknown key"),
        ({"activations": ["int8_token"]}, "belong to methods and bits"),
        ({"methods": ["nearest"], "bits": [4], "kv_cache": "int8_tensor"}, "Unknown KV cache format"),
    ],
)
def test_plans_refuse(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MeasurePlan.make(**settings)
    assert issubclass(UnknownName, InputError)
