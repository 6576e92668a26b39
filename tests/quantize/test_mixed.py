"""Mixed precision: which layers are chosen, what the others get, and the bits that are said."""

import pytest
import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import WeightGradients, make_variant, needs_calibration
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.quantize.method import LayerFacts
from bitlaw.quantize.mixed import MixedOptions, choose, mixed, sensitivity
from tests.quantize.toys import inputs, statistics_of, weights

GRID = parse_format("int2_g16")
SIZES = {"0.attn": 16, "0.up": 64, "0.down": 48, "1.attn": 16, "1.up": 64, "1.down": 32}


def layers() -> list[LayerFacts]:
    made = []
    for i, (name, columns) in enumerate(SIZES.items()):
        weight = weights(8, columns, seed=i)
        g = torch.full_like(weight, 10.0 ** -((i * 5) % 6))
        made.append(LayerFacts(name=name, weight=weight, gradients=WeightGradients(absolute=g, squared=g.square())))
    return made


def low(options: MixedOptions) -> set[str]:
    chosen = choose(layers(), GRID, options)
    assert set(chosen) == set(SIZES)
    assert {f.name if f else "none" for f in chosen.values()} <= {GRID.name, options.rest}
    return {name for name, f in chosen.items() if f is not None and f.name == GRID.name}


@pytest.mark.parametrize("order", ["random", "sensitivity"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.77, 1.0])
def test_share_is_met_to_within_half_a_layer(order: str, share: float) -> None:
    taken = sum(SIZES[name] for name in low(MixedOptions(order=order, share=share))) / sum(SIZES.values())
    assert abs(taken - share) <= 0.5 * max(SIZES.values()) / sum(SIZES.values())
    if share in (0.0, 1.0):
        assert taken == share


def test_random_masks_differ_by_seed_only() -> None:
    masks = [frozenset(low(MixedOptions(seed=seed))) for seed in range(8)]
    assert len(set(masks)) > 3
    assert masks[3] == low(MixedOptions(seed=3))


def test_sensitivity_takes_the_least_sensitive_first() -> None:
    facts = layers()
    scores = {}
    for layer in facts:
        difference = quantize_groups(layer.weight, GRID) - layer.weight
        scores[layer.name] = float((layer.gradients.squared * difference**2).sum()) / layer.weight.numel()
        assert sensitivity(layer, GRID) == pytest.approx(scores[layer.name], rel=1e-5)
    chosen = low(MixedOptions(order="sensitivity", share=0.5))
    ordered = sorted(scores, key=lambda name: scores[name])
    assert 0 < len(chosen) < len(SIZES)
    assert set(ordered[: len(chosen) - 1]) <= chosen  # the last may be passed over for one that fits better
    assert ordered[-1] not in chosen


def test_names_and_rest() -> None:
    assert low(MixedOptions(order="names", names="*.up, 0.attn")) == {"0.up", "1.up", "0.attn"}
    chosen = choose(layers(), GRID, MixedOptions(order="names", names="1.*", rest="int8_g16"))
    assert chosen["0.up"].name == "int8_g16"
    with pytest.raises(InputError, match=r"names='2\.\*' matches no layer. The model has 0.attn to 1.down"):
        low(MixedOptions(order="names", names="2.*"))


def test_inner_method_quantizes_the_chosen_layer() -> None:
    x, weight = inputs(32, 200, seed=1), weights(8, 32, seed=2)
    made = mixed(weight, statistics_of(x), GRID, MixedOptions(inner="gptq", inner_options="damping=0.5,scales=static"))
    want = gptq(weight, statistics_of(x), GRID, GptqOptions(damping=0.5, scales="static"))
    assert torch.equal(made.weight, want)
    assert torch.equal(mixed(weight, None, GRID, MixedOptions()).weight, quantize_groups(weight, GRID))


def test_nominal_bits_are_the_weighted_average() -> None:
    assert make_variant("mixed", "int2_g16", {"share": 0.25}).bits == 12.5
    assert make_variant("mixed", "int2_g16", {"share": 0.5, "rest": "int4_g16"}).bits == 3.0
    assert make_variant("mixed", "int2_g16", {"order": "names", "names": "*"}).bits == 2.0


def test_inner_options_are_kept_with_every_default_and_key_only_what_differs() -> None:
    given = make_variant("mixed", "int2_g16", {"inner": "gptq", "inner_options": " damping = 0.01 "})
    assert given == make_variant("mixed", "int2_g16", {"inner": "gptq"})
    assert "order=none" in str(given.options["inner_options"])
    assert make_variant("mixed", "int2_g16", given.options) == given
    awq = make_variant("mixed", "int2_g16", {"inner": "awq", "inner_options": "clip=false"})
    assert make_variant("mixed", "int2_g16", awq.options) == awq
    assert "clip=false" in str(awq.options["inner_options"])


def test_needs_follow_the_inner_method_and_the_order() -> None:
    assert not needs_calibration(make_variant("mixed", "int2_g16"))
    assert needs_calibration(make_variant("mixed", "int2_g16", {"inner": "gptq"}))
    assert needs_calibration(make_variant("mixed", "int2_g16", {"order": "sensitivity"}))
    with pytest.raises(InputError, match=r"needs gradients of '0\.attn'"):
        choose([LayerFacts(name="0.attn", weight=torch.ones(2, 16))], GRID, MixedOptions(order="sensitivity"))


def test_bad_options() -> None:
    for bad, said in (
        ({"share": 1.2}, "share=1.2"),
        ({"order": "randon"}, "Did you mean 'random'"),
        ({"order": "names"}, "do not go together"),
        ({"names": "*.up"}, "do not go together"),
        ({"seed": -1}, "seed=-1"),
        ({"rest": "int9_g16"}, "2 to 8"),
        ({"inner": "mixed"}, "chooses layers itself"),
        ({"inner": "gptq", "inner_options": "dampng=0.1"}, "Did you mean 'damping'"),
        ({"inner_options": "damping=0.1"}, "no option 'damping'"),
    ):
        with pytest.raises(InputError, match=said):
            make_variant("mixed", "int2_g16", bad)
    with pytest.raises(UnknownName, match="Did you mean 'gptq'"):
        make_variant("mixed", "int2_g16", {"inner": "gtpq"})
