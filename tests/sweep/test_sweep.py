"""The sweep against transformers' own forward pass, and against a plain re-implementation that quantizes a whole model."""

import copy
import math

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from bitlaw.errors import CheckpointError, InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.quantize.nearest import nearest
from bitlaw.records import Seen, Variant
from bitlaw.sweep import Decoder, sweep
from bitlaw.sweep.layers import input_groups, linear_layers
from bitlaw.sweep.preparing import make_track
from bitlaw.sweep.score import ranks_first
from bitlaw.sweep.walk import walk_block
from tests.sweep.models import FAMILIES, gpt_neox, llama, windows

EVALUATION, CALIBRATION = windows(7, 24, seed=1), windows(20, 24, seed=2)


def own_loss(model: nn.Module, ids: torch.Tensor) -> float:
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1].double()
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))


def loss(seen: Seen) -> float:
    assert seen.state == "ok", seen.reason
    assert seen.nats is not None
    assert seen.tokens_scored is not None
    return seen.nats / seen.tokens_scored


@pytest.mark.parametrize("family", FAMILIES)
def test_baseline_equals_transformers(family: str) -> None:
    model = FAMILIES[family]()
    (result,) = sweep(model, [Variant()], EVALUATION, batch_windows=3)
    assert loss(result.seen) == pytest.approx(own_loss(model, EVALUATION), abs=1e-5)
    assert result.seen.tokens_scored == 7 * 23
    assert result.seen.kl_nats == 0
    assert result.seen.agreements == 7 * 23


@pytest.mark.parametrize("family", FAMILIES)
def test_nearest_equals_a_model_saved_with_quantized_weights(family: str, tmp_path) -> None:
    model = FAMILIES[family]()
    variant = make_variant("nearest", "int3_g16")
    (result,) = sweep(model, [variant], EVALUATION)
    decoder = Decoder(copy.deepcopy(model))
    for index in range(len(decoder.blocks)):
        for layer in linear_layers(decoder, index):
            weight = layer.module.weight.data
            layer.module.weight.data = nearest(weight, None, parse_format("int3_g16"), None)
    decoder.model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert loss(result.seen) == pytest.approx(own_loss(again, EVALUATION), abs=1e-5)
    assert abs(own_loss(again, EVALUATION) - own_loss(model, EVALUATION)) > 1e-3


def plain_gptq_model(model: nn.Module, name: str, upstream: str, within_block: str, ids: torch.Tensor) -> nn.Module:
    """Quantize a copy layer by layer, each time running the whole model on hooks: slow, simple, no code of the sweep."""
    work, source = copy.deepcopy(model), copy.deepcopy(model)
    decoder = Decoder(work)

    def inputs_of(network: nn.Module, layers: list[str]) -> dict[str, InputStatistics]:
        found = {n: InputStatistics(network.get_submodule(n).in_features) for n in layers}
        hooks = [
            network.get_submodule(n).register_forward_pre_hook(lambda _, x, n=n: found[n].add(x[0])) for n in layers
        ]
        with torch.no_grad():
            network(input_ids=ids)
        for hook in hooks:
            hook.remove()
        return found

    for index in range(len(decoder.blocks)):
        names = [layer.name for layer in linear_layers(decoder, index)]
        if upstream == "full_precision":
            found = inputs_of(source, names)
        elif within_block == "parallel":
            found = inputs_of(work, names)
        for n in names:
            if within_block == "sequential":
                found = inputs_of(work, [n])
            module = work.get_submodule(n)
            module.weight.data = gptq(module.weight.data, found[n], parse_format(name), GptqOptions())
    return work


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("upstream", "within_block"),
    [("quantized", "parallel"), ("full_precision", "parallel"), ("quantized", "sequential")],
)
def test_gptq_equals_whole_model_by_hooks(family: str, upstream: str, within_block: str) -> None:
    model = FAMILIES[family]()
    variants = [
        make_variant("gptq", name, {"upstream": upstream, "within_block": within_block})
        for name in ("int4_g16", "int2_g32")
    ]
    for result in sweep(model, variants, EVALUATION, CALIBRATION, batch_windows=8):
        reference = plain_gptq_model(model, result.variant.format, upstream, within_block, CALIBRATION)
        assert loss(result.seen) == pytest.approx(own_loss(reference, EVALUATION), abs=1e-4)


def test_variants_do_not_disturb_each_other_or_the_model() -> None:
    model = llama()
    before = copy.deepcopy(model.state_dict())
    variants = [
        Variant(),
        make_variant("nearest", "int2_g16"),
        make_variant("gptq", "int3_g16"),
        make_variant("gptq", "int3_g16", {"upstream": "full_precision"}),
        make_variant("gptq", "int3_g16", {"within_block": "sequential"}),
    ]
    together = sweep(model, variants, EVALUATION, CALIBRATION)
    assert [r.variant for r in together] == variants
    for variant, result in zip(variants, together, strict=True):
        (alone,) = sweep(model, [variant], EVALUATION, CALIBRATION)
        assert alone.seen == result.seen
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_sums_equal_per_window_computation() -> None:
    model = gpt_neox()
    variant = make_variant("nearest", "int3_g16")
    seen = sweep(model, [variant], EVALUATION, batch_windows=3)[0].seen
    quantized = copy.deepcopy(model)
    decoder = Decoder(quantized)
    signal = noise = 0.0
    for index in range(len(decoder.blocks)):
        for layer in linear_layers(decoder, index):
            weight = layer.module.weight.data.clone()
            layer.module.weight.data = nearest(weight, None, parse_format("int3_g16"), None)
            signal += float(weight.double().square().sum())
            noise += float((weight - layer.module.weight.data).double().square().sum())
    with torch.no_grad():
        p = torch.log_softmax(model(input_ids=EVALUATION).logits[:, :-1].double(), -1)
        q = torch.log_softmax(quantized(input_ids=EVALUATION).logits[:, :-1].double(), -1)
    target = EVALUATION[:, 1:, None]
    base, nats = -p.gather(-1, target).sum((1, 2)), -q.gather(-1, target).sum((1, 2))
    assert seen.nats == pytest.approx(float(nats.sum()), rel=1e-5)
    assert seen.baseline_nats == pytest.approx(float(base.sum()), rel=1e-5)
    assert seen.difference_squared == pytest.approx(float(((nats - base) ** 2).sum()), rel=1e-3)
    assert seen.difference_tokens == pytest.approx(float((nats - base).sum()) * 23, rel=1e-3)
    assert seen.kl_nats == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4)
    assert seen.agreements == int((p.argmax(-1) == q.argmax(-1)).sum())
    assert seen.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=1e-4)
    assert seen.bits_per_weight == 3 + (16 + 3) / 16
    assert seen.quantized_layers == 12


def test_siblings_share_one_input() -> None:
    decoder = Decoder(llama())
    hidden = decoder.embed(EVALUATION)
    names = [[layer.name.split(".")[-1] for layer in group] for group in input_groups(decoder, 0, hidden)]
    assert names == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]


def test_singular_hessian_is_a_state_or_a_recorded_fallback() -> None:
    model = gpt_neox()
    one = CALIBRATION[:1, :2]  # two tokens cannot span 32 inputs
    failing = make_variant("gptq", "int4_g16", {"damping": 0.0})
    falling = make_variant("gptq", "int4_g16", {"damping": 0.0, "on_failure": "nearest"})
    fine = make_variant("nearest", "int4_g16")
    failed, fell, other = sweep(model, [failing, falling, fine], EVALUATION, one)
    assert failed.seen.state == "failed"
    assert "not positive definite" in failed.seen.reason
    assert "gpt_neox.layers.0" in failed.seen.reason
    assert failed.seen.nats is None
    assert fell.seen.state == "ok"
    assert fell.seen.fallback_layers > 0
    assert "rounded to nearest" in fell.seen.fallbacks
    assert fell.seen.nats == pytest.approx(other.seen.nats)


def test_non_finite_weights_and_losses_are_states() -> None:
    model = gpt_neox()
    healthy = sweep(model, [make_variant("nearest", "int4_g16")], EVALUATION)[0]
    assert healthy.seen.state == "ok"
    model.get_submodule("gpt_neox.layers.1.mlp.dense_h_to_4h").weight.data[0, 0] = torch.nan
    (result,) = sweep_nan(model)
    assert result.seen.state == "failed"
    assert "gpt_neox.layers.1.mlp.dense_h_to_4h holds NaN" in result.seen.reason


def sweep_nan(model: nn.Module):
    """The baseline is NaN too, which ends the sweep; the variant's own reason is what a walk without scoring shows."""
    from bitlaw.errors import NonFiniteError
    from bitlaw.sweep import engine

    with pytest.raises(NonFiniteError, match="16-bit model itself"):
        sweep(model, [make_variant("nearest", "int4_g16")], EVALUATION)
    decoder = Decoder(model)
    track = make_track(make_variant("nearest", "int4_g16"))
    track.evaluation = [decoder.embed(EVALUATION)]
    for index in range(len(decoder.blocks)):
        walk_block(decoder, index, [track], [], lambda: None)
    return [engine.SweptVariant(variant=track.variant, seen=track.seen(), seconds=0.0)]


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"int4_g24 needs in_features divisible by 24; 'gpt_neox.layers.0"):
        sweep(gpt_neox(), [make_variant("nearest", "int4_g24")], EVALUATION)
    with pytest.raises(InputError, match="give a calibration text"):
        sweep(gpt_neox(), [make_variant("gptq", "int4_g16")], EVALUATION)
    with pytest.raises(CheckpointError, match="no list of decoder blocks"):
        Decoder(nn.Sequential(nn.Linear(2, 2)))


def test_the_token_that_ranks_first_is_argmax_with_ties_too() -> None:
    generator = torch.Generator().manual_seed(0)
    for table in (
        torch.randn(3, 5, 7, generator=generator),
        torch.randint(0, 3, (3, 50, 7), generator=generator).float(),
    ):
        for tokens in (table.argmax(-1), torch.randint(0, 7, table.shape[:2], generator=generator)):
            assert torch.equal(ranks_first(table, tokens), table.argmax(-1) == tokens)
