"""Probes inside the sweep: exact distances, directions that depend on nothing but their seed, Taylor terms, failures."""

import math

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from bitlaw.errors import InputError
from bitlaw.quantize import make_variant
from bitlaw.records import Seen, Variant
from bitlaw.sweep import sweep
from bitlaw.sweep.curvature import taylor_terms
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import linear_layers
from bitlaw.sweep.probes import Directions, layer_noise
from tests.sweep.models import FAMILIES, VOCABULARY, gpt_neox, windows
from tests.sweep.test_trained import sentences, trained

__all__ = ["trained"]
CALIBRATION, EVALUATION = windows(6, 24, seed=1), windows(4, 24, seed=2)
PAPER = {"upstream": "full_precision", "damping_rule": "search", "micro_block": 16}


def random(snr_db: float, **options: object) -> Variant:
    return make_variant("perturb_random", "none", {"snr_db": snr_db, **options})


def along(offset_db: float, name: str = "mxint3_k16", **options: object) -> Variant:
    return make_variant("perturb_along", name, {"offset_db": offset_db, **options})


def seen_of(model: nn.Module, variants: list[Variant], evaluation: torch.Tensor = EVALUATION) -> list[Seen]:
    return [s.seen for s in sweep(model, variants, evaluation, CALIBRATION, batch_windows=2)]


def layers_of(model: nn.Module):
    decoder = Decoder(model)
    return [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]


@pytest.mark.parametrize("family", FAMILIES)
def test_distance_and_norm_are_those_of_all_blocks_together(family: str) -> None:
    model = FAMILIES[family]()
    wanted = [60.0, 30.0, 12.0, 0.0, -6.0]
    seen = seen_of(model, [Variant(), *map(random, wanted)])
    norm = math.sqrt(sum(float(layer.weight.double().square().sum()) for layer in layers_of(model)))
    assert [s.sqnr_db for s in seen[1:]] == pytest.approx(wanted, abs=1e-3)
    assert [s.weight_norm for s in seen] == pytest.approx([norm] * len(seen), rel=1e-9)
    assert seen[0].sqnr_db is None
    assert all(s.quantized_layers == len(layers_of(model)) and s.bits_per_weight == 16.0 for s in seen[1:])
    assert seen[1].nats == pytest.approx(seen[0].nats, rel=1e-3)
    assert abs(seen[3].nats - seen[0].nats) > 1e-3 * seen[0].nats


def test_the_loss_is_that_of_the_model_with_those_weights() -> None:
    model = gpt_neox()
    (seen,) = seen_of(model, [random(6.0, seed=3)])
    layers = layers_of(model)
    noise = {layer.name: layer_noise(3, layer.name, layer.weight.shape) for layer in layers}
    signal = math.sqrt(sum(float(layer.weight.double().square().sum()) for layer in layers))
    length = math.sqrt(sum(float(n.double().square().sum()) for n in noise.values()))
    for layer in layers:
        layer.module.weight.data += noise[layer.name] / length * signal * 10 ** (-6 / 20)
    with torch.no_grad():
        loss = model(input_ids=EVALUATION, labels=EVALUATION).loss
    assert seen.nats / seen.tokens_scored == pytest.approx(float(loss), rel=1e-5)


def test_a_direction_depends_on_its_seed_alone() -> None:
    """Not on the order of variants, on other variants, nor on the batch."""
    first = seen_of(gpt_neox(), [random(6.0, seed=1)])[0]
    among = seen_of(gpt_neox(), [along(1.0), random(6.0, seed=2), random(20.0, seed=1), random(6.0, seed=1)])
    assert among[3] == first
    assert among[1].nats != first.nats
    assert torch.equal(layer_noise(1, "a", (3, 4)), layer_noise(1, "a", (3, 4)))
    assert not torch.equal(layer_noise(1, "a", (3, 4)), layer_noise(1, "b", (3, 4)))


def test_offset_zero_is_the_quantized_model_bit_for_bit() -> None:
    variants = [
        along(-1.0, along="gptq", damping_rule="search", micro_block=16),
        make_variant("nearest", "mxint3_k16"),
        along(0.0),
        along(1.0),
        make_variant("gptq", "mxint3_k16", PAPER),
        along(0.0, along="gptq", damping_rule="search", micro_block=16),
        make_variant("nearest", "mxint4_k16"),
    ]
    below, nearest, at, above, gptq, at_gptq, other = seen_of(gpt_neox(), variants)
    assert at.nats == nearest.nats
    assert at_gptq.nats == gptq.nats
    assert (at.sqnr_db, at.bits_per_weight) == (nearest.sqnr_db, 3.5)
    assert above.sqnr_db == pytest.approx(nearest.sqnr_db + 1.0, abs=1e-3)
    assert below.sqnr_db == pytest.approx(gptq.sqnr_db - 1.0, abs=1e-3)
    assert len({s.nats for s in (below, nearest, above, gptq, other)}) == 5
    alone = [seen_of(gpt_neox(), [v])[0] for v in variants]  # what is made once for several is made the same alone
    assert alone == [below, nearest, at, above, gptq, at_gptq, other]


def test_probes_of_one_layer_leave_the_others() -> None:
    model = gpt_neox()
    name = layers_of(model)[4].name
    one, some = seen_of(model, [random(0.0, layers=name), random(0.0, layers="gpt_neox.layers.1.*")])
    assert (one.quantized_layers, some.quantized_layers) == (1, 4)
    assert one.sqnr_db == pytest.approx(0.0, abs=1e-3)
    assert one.weight_norm == pytest.approx(float(layers_of(model)[4].weight.norm()), rel=1e-5)
    assert one.weight_norm < some.weight_norm
    with pytest.raises(InputError, match=r"layers='nothing' matches no layer. The model has gpt_neox.layers.0"):
        seen_of(model, [random(0.0, layers="nothing")])


def test_the_kernel_share_of_weights() -> None:
    model = gpt_neox()
    from bitlaw.formats import parse_format, quantize_groups
    from bitlaw.quantize.error import kernel_share

    nearest, probe = seen_of(model, [make_variant("nearest", "mxint3_k16"), random(0.0)])
    made = torch.cat([quantize_groups(n.weight, parse_format("mxint3_k16")).flatten() for n in layers_of(model)])
    assert nearest.weight_kernel == pytest.approx(kernel_share(made))
    assert 0.1 < nearest.weight_kernel < 0.9
    assert probe.weight_kernel is None


def test_a_landscape_that_overflows_is_a_state() -> None:
    lost, overflown, fine = seen_of(gpt_neox(), [random(-200.0), random(-700.0), random(20.0)])
    assert (lost.state, overflown.state, fine.state) == ("failed", "failed", "ok")
    assert "non-finite loss" in lost.reason
    assert lost.nats is None


def test_a_model_of_one_layer_with_constant_weights() -> None:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval()
    for layer in layers_of(model):
        layer.module.weight.data.fill_(0.5)
    base, nearest, beyond, moved, taylor = seen_of(
        model,
        [Variant(), make_variant("nearest", "mxint3_k16"), along(-6.0), random(0.0), random(40.0, taylor=True)],
    )
    assert nearest.nats == beyond.nats == base.nats  # 0.5 is on the grid, so there is no direction
    assert nearest.sqnr_db == beyond.sqnr_db == math.inf
    assert moved.sqnr_db == pytest.approx(0.0, abs=1e-3)
    assert math.isfinite(taylor.curvature_along)
    for layer in layers_of(model):
        layer.module.weight.data.fill_(0.0)
    base, moved = seen_of(model, [Variant(), random(0.0)])
    assert moved.nats == base.nats  # weights without a length move by nothing
    assert moved.weight_norm == 0.0


def test_taylor_terms_are_those_of_the_measured_curve(trained: nn.Module) -> None:
    """Second order meets the curve where the first leaves a gap, and terms match finite differences of the loss."""
    evaluation = sentences(16, seed=1000)
    grid = [40.0, 34.0, 28.0]
    base, *curve = seen_of(trained, [Variant(), *(random(s, seed=5, taylor=True) for s in grid)], evaluation)
    loss = base.nats / base.tokens_scored
    terms = {(s.gradient_along, s.curvature_along) for s in curve}
    assert len(terms) == 1
    slope, bend = terms.pop()
    for s in curve:
        x = s.weight_norm * 10 ** (-s.sqnr_db / 20)
        change = s.nats / s.tokens_scored - loss
        assert abs(change - (slope * x + bend * x**2 / 2)) < 0.25 * abs(change - slope * x) + 2e-6
    model = trained
    directions = Directions(layers_of(model)).unit(make_options(5))
    by_name = dict(model.named_parameters())
    losses = []
    step = 0.05
    for x in (-step, 0.0, step):
        with torch.no_grad():
            for name, part in directions.items():
                by_name[name] += x * part
            logits = model(input_ids=evaluation).logits[:, :-1].double()
            losses.append(float(nn.functional.cross_entropy(logits.flatten(0, 1), evaluation[:, 1:].flatten())))
            for name, part in directions.items():
                by_name[name] -= x * part
    assert slope == pytest.approx((losses[2] - losses[0]) / (2 * step), rel=0.02)
    assert bend == pytest.approx((losses[2] - 2 * losses[1] + losses[0]) / step**2, rel=0.05)


def make_options(seed: int):
    from bitlaw.quantize.perturb import RandomOptions

    return RandomOptions(seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_differentiated_twice_and_is_left_as_it_was(family: str) -> None:
    model = FAMILIES[family]()
    layers = layers_of(model)
    unit = Directions(layers).unit(make_options(0))
    assert math.sqrt(sum(float(part.double().square().sum()) for part in unit.values())) == pytest.approx(1.0, abs=1e-6)
    required = [p.requires_grad for p in model.parameters()]
    whole = taylor_terms(model, [unit], [EVALUATION])[0]
    (half,) = taylor_terms(model, [unit], [EVALUATION[:2], EVALUATION[2:]])
    assert (whole.gradient, whole.curvature) == pytest.approx((half.gradient, half.curvature), rel=1e-3, abs=1e-7)
    assert whole.curvature != 0.0
    assert [p.requires_grad for p in model.parameters()] == required
    assert all(p.grad is None for p in model.parameters())
    assert [whole.change(0.5, order) for order in (0, 1, 2)] == pytest.approx(
        [0.0, 0.5 * whole.gradient, 0.5 * whole.gradient + 0.125 * whole.curvature]
    )
    low = taylor_terms(model.to(torch.bfloat16), [unit], [EVALUATION])[0]  # differentiated in float32 all the same
    assert low.gradient == pytest.approx(whole.gradient, rel=0.2, abs=1e-3)


def test_a_model_whose_loss_is_lost_fails_the_variants_that_ask() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, input_ids: torch.Tensor, use_cache: bool):
            class Output:
                logits = (self.weight * torch.inf).expand(*input_ids.shape, 7)

            return Output

    from bitlaw.errors import NonFiniteError

    with pytest.raises(NonFiniteError, match="not finite"):
        taylor_terms(Broken(), [{"weight": torch.ones(1)}], [torch.zeros(1, 3, dtype=torch.int64)])


def test_compensated_noise_is_less_harmful_in_a_trained_model(trained: nn.Module) -> None:
    """Beside random noise of the same seed and distance; whole rows at once are that noise itself."""
    bare = random(18.0, seed=1)
    few, whole = (
        make_variant("perturb_compensated", "none", {"snr_db": 18.0, "seed": 1, "micro_block": cells})
        for cells in (1, 4096)
    )
    swept = sweep(trained, [few, whole, bare], sentences(32, 9001), sentences(64, 9002))
    one, all_at_once, uncompensated = (s.seen for s in swept)
    assert all_at_once.nats == pytest.approx(uncompensated.nats, rel=1e-4)
    assert all_at_once.sqnr_db == pytest.approx(18.0, abs=1e-3)
    assert one.sqnr_db < 17.9
    assert 0 < one.kl_nats < 0.6 * uncompensated.kl_nats
