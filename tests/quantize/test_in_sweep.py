"""What methods ask of the sweep: gradients, pairs of inputs, a choice between layers; and what it counts of them."""

import pytest
import torch

from bitlaw.catalog import METHODS
from bitlaw.errors import InputError, NonFiniteError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.sweep import Decoder, sweep
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.layers import collect, collect_through, input_groups, linear_layers
from bitlaw.sweep.preparing import make_track, prepare
from bitlaw.sweep.probes import Directions
from bitlaw.sweep.track import read_weight
from bitlaw.sweep.walk import walk_block
from tests.sweep.models import FAMILIES, gpt_neox, windows

CALIBRATION, EVALUATION = windows(6, 24, seed=1), windows(4, 24, seed=2)
FORMAT_OF = {"cmpq": "kmeans3_row"}


def named(name: str, **options):
    return make_variant(name, FORMAT_OF.get(name, "int3_g16"), options)


def all_layers(decoder: Decoder):
    return [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_models_own_loss(family: str) -> None:
    model = FAMILIES[family]()
    decoder = Decoder(model)
    layers = all_layers(decoder)
    required = [p.requires_grad for p in model.parameters()]
    got = collect_gradients(decoder, layers, [CALIBRATION[:2], CALIBRATION[2:]])
    assert [p.requires_grad for p in model.parameters()] == required
    assert all(p.grad is None for p in model.parameters())
    absolute, squared = [torch.zeros_like(layer.module.weight) for layer in layers], []
    for chunk in (CALIBRATION[:2], CALIBRATION[2:]):
        model.zero_grad()
        model(input_ids=chunk, labels=chunk).loss.backward()  # transformers' own shift and mean
        for total, layer in zip(absolute, layers, strict=True):
            total += layer.module.weight.grad.abs() / 2
        squared.append(layers[0].module.weight.grad.square())
    for layer, want in zip(layers, absolute, strict=True):
        torch.testing.assert_close(got[layer.name].absolute, want, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(got[layers[0].name].squared, (squared[0] + squared[1]) / 2, rtol=1e-4, atol=1e-9)


def test_a_gradient_predicts_the_change_of_the_loss() -> None:
    model = gpt_neox()
    decoder = Decoder(model)
    layer = all_layers(decoder)[2]
    got = collect_gradients(decoder, [layer], [CALIBRATION])[layer.name].absolute
    place = divmod(int(got.argmax()), got.shape[1])
    losses = []
    with torch.no_grad():
        for step in (-1e-2, 1e-2):
            layer.module.weight[place] += step
            losses.append(float(model(input_ids=CALIBRATION, labels=CALIBRATION).loss))
            layer.module.weight[place] -= step
    assert abs(losses[1] - losses[0]) / 2e-2 == pytest.approx(float(got[place]), rel=0.02)


def test_non_finite_loss_is_said() -> None:
    model = gpt_neox()
    layer = all_layers(Decoder(model))[0]
    layer.module.weight.data[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="on the calibration text"):
        collect_gradients(Decoder(model), [layer], [CALIBRATION])
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("replaced", [False, True])
def test_pairs_are_inputs_of_both_networks_on_the_same_tokens(replaced: bool) -> None:
    decoder = Decoder(gpt_neox(parallel=False))
    full = [decoder.embed(chunk) for chunk in CALIBRATION.split(3)]
    other = [hidden + 0.1 * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(3)) for hidden in full]
    groups = input_groups(decoder, 0, full[0])
    layers = linear_layers(decoder, 0)
    weights = {layers[0].name: 0.5 * layers[0].module.weight.data} if replaced else {}
    got = collect(decoder, 0, groups, other, weights=weights, full_precision=full)

    def inputs_of(stream, changed):
        seen = {layer.name: [] for layer in layers}
        hooks = [
            layer.module.register_forward_pre_hook(lambda _, a, name=layer.name: seen[name].append(a[0]))
            for layer in layers
        ]
        original = layers[0].module.weight.data
        layers[0].module.weight.data = changed.get(layers[0].name, original)
        behind = [decoder.run_block(0, hidden) for hidden in stream]
        layers[0].module.weight.data = original
        for hook in hooks:
            hook.remove()
        return {name: torch.cat(x).reshape(-1, x[0].shape[-1]) for name, x in seen.items()}, behind

    with torch.no_grad():
        of_full, behind = inputs_of(full, {})
        of_other, _ = inputs_of(other, weights)
        through, moved = collect_through(decoder, 0, groups, full)
    assert all(torch.equal(a, b) for a, b in zip(moved, behind, strict=True))
    for group, statistics in zip(groups, through, strict=True):
        assert torch.equal(statistics.largest, of_full[group[0].name].abs().amax(0))
    for group, statistics in zip(groups, got, strict=True):
        want = InputStatistics(statistics.features)
        want.add(of_other[group[0].name], of_full[group[0].name])
        torch.testing.assert_close(statistics.drift, want.drift, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(statistics.hessian, want.hessian, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(statistics.magnitude, of_other[group[0].name].abs().mean(0), rtol=1e-4, atol=1e-6)
        assert torch.equal(statistics.largest, of_other[group[0].name].abs().amax(0))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_measured_and_leaves_the_model_alone(name: str) -> None:
    model = gpt_neox()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    (swept,) = sweep(model, [named(name)], EVALUATION, CALIBRATION)
    assert swept.seen.state == "ok"
    assert swept.seen.kl_nats > 0
    assert swept.seen.bits_per_weight > 3
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    (again,) = sweep(model, [named(name)], EVALUATION, CALIBRATION)
    assert again.seen == swept.seen


@pytest.mark.parametrize("name", METHODS)
def test_nan_weight_fails_the_variant_by_layer_name(name: str) -> None:
    track_layer = all_layers(Decoder(gpt_neox()))[0]
    track_layer.module.weight.data[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=rf"{track_layer.name} holds NaN"):
        read_weight(track_layer)
    model = gpt_neox()
    broken = all_layers(Decoder(model))[0]
    broken.module.weight.data[0, 0] = torch.inf
    decoder = Decoder(model)
    track = make_track(named(name))
    hidden = [decoder.embed(CALIBRATION)]
    track.evaluation = track.calibration = hidden
    prepare(decoder, [track], None, 3, Directions(all_layers(decoder)))
    walk_block(decoder, 0, [track], hidden, lambda: None)
    assert track.reason.startswith(f"{broken.name} holds NaN")
    assert track.evaluation == []


@pytest.mark.parametrize("within_block", ["parallel", "sequential"])
def test_gptaq_differs_from_gptq_behind_the_first_layers(within_block: str) -> None:
    variants = [
        named("gptq", within_block=within_block),
        named("gptaq", within_block=within_block, alpha=0.0),
        named("gptaq", within_block=within_block, alpha=0.25),
    ]
    plain, off, on = (s.seen for s in sweep(gpt_neox(), variants, EVALUATION, CALIBRATION))
    assert off.nats == plain.nats
    assert on.nats != plain.nats
    alone = sweep(gpt_neox(), variants[2:], EVALUATION, CALIBRATION)[0].seen
    assert alone == on


def test_mixed_changes_the_chosen_layers_only_and_counts_their_bits() -> None:
    model = gpt_neox()
    options = {"order": "names", "names": "gpt_neox.layers.1.*"}
    mixed, whole, none = (
        s.seen
        for s in sweep(
            model,
            [named("mixed", **options), named("mixed", order="names", names="*"), named("nearest")],
            EVALUATION,
        )
    )
    layers = all_layers(Decoder(model))
    chosen = [layer for layer in layers if ".1." in layer.name]
    assert mixed.quantized_layers == len(chosen)
    total, low = (sum(layer.module.weight.numel() for layer in group) for group in (layers, chosen))
    assert mixed.bits_per_weight == pytest.approx((low * (3 + 19 / 16) + (total - low) * 16) / total)
    assert mixed.quantized_parameters == low
    assert whole == none
    for layer in chosen:
        weight = layer.module.weight.data
        layer.module.weight.data = quantize_groups(weight, parse_format("int3_g16"))
    with torch.no_grad():
        logits = model(input_ids=EVALUATION).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), EVALUATION[:, 1:].flatten())
    assert mixed.nats / mixed.tokens_scored == pytest.approx(float(loss), rel=1e-5)


def test_mixed_with_a_calibrated_inner_method_and_sensitivity() -> None:
    variants = [
        named("mixed", order="sensitivity", inner="gptq", share=1.0),
        named("gptq"),
        named("mixed", order="sensitivity", inner="gptq", share=0.4),
        named("mixed", order="sensitivity", share=0.4, rest="int8_g16"),
        named("mixed", inner="gwq", share=1.0),
        named("gwq"),
    ]
    seen = [s.seen for s in sweep(gpt_neox(), variants, EVALUATION, CALIBRATION)]
    assert seen[0] == seen[1]
    assert seen[2].quantized_layers < seen[1].quantized_layers
    assert seen[3].quantized_layers == seen[1].quantized_layers
    assert 3 < seen[3].bits_per_weight < 9.5
    assert seen[4] == seen[5]


def test_no_calibration_text_is_said_before_any_work() -> None:
    for variant in (named("gwq"), named("mixed", order="sensitivity"), named("mixed", inner="gptq"), named("awq")):
        with pytest.raises(InputError, match="give a calibration text"):
            sweep(gpt_neox(), [variant], EVALUATION)


def test_stored_bits_of_scales_and_kept_weights_are_counted() -> None:
    variants = [named("nearest"), named("smooth"), named("gwq"), named("rotate")]
    nearest, smooth, gwq, rotate = (
        s.seen.bits_per_weight for s in sweep(gpt_neox(), variants, EVALUATION, CALIBRATION)
    )
    layers = [layer.module for layer in all_layers(Decoder(gpt_neox()))]
    weights = sum(m.weight.numel() for m in layers)
    assert smooth - nearest == pytest.approx(sum(16 * m.in_features for m in layers) / weights)
    assert rotate == nearest
    assert 0.2 < gwq - nearest < 0.35
