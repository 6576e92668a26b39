"""Probes of the loss landscape as functions on one layer: distances, offsets, options."""

import dataclasses
import math

import pytest
import torch

from bitlaw.catalog import PROBES
from bitlaw.errors import BitlawError, HessianError, InputError, NonFiniteError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import InputStatistics, find_method, make_variant, needs_calibration
from bitlaw.quantize.perturb import AlongGptqOptions
from bitlaw.quantize.statistics import Direction
from tests.quantize.toys import inputs, statistics_of, weights

FORMAT = parse_format("mxint3_k16")
PAPER = {"upstream": "full_precision", "damping_rule": "search", "micro_block": 16}


def snr(weight: torch.Tensor, moved: torch.Tensor) -> float:
    return 20 * math.log10(weight.double().norm() / (moved.double() - weight.double()).norm())


def test_probes_are_variants_with_every_option_written_out() -> None:
    assert set(PROBES) == {"perturb_random", "perturb_along", "perturb_compensated"}
    random = make_variant("perturb_random", "none", {"snr_db": 12})
    assert (random.format, random.bits, random.group_size) == ("none", 16.0, 0)
    assert dict(random.options) == {"snr_db": 12.0, "seed": 0, "layers": "all", "taylor": False}
    nearest = make_variant("perturb_along", "int4_g32", {"offset_db": 1})
    assert (nearest.format, nearest.bits) == ("int4_g32", 4.0)
    assert dict(nearest.options) == {"along": "nearest", "offset_db": 1.0}
    gptq = make_variant("perturb_along", "int4_g32", {"along": "gptq", "damping": 0.1})
    assert set(gptq.options) == {f.name for f in dataclasses.fields(AlongGptqOptions)}
    assert gptq.options["upstream"] == "full_precision"
    for variant in (random, nearest, gptq):
        assert make_variant(variant.method, variant.format, variant.options) == variant
        assert variant.is_probe
    assert [needs_calibration(v) for v in (random, nearest, gptq)] == [False, False, True]
    assert nearest.label == "perturb_along int4_g32 along=nearest offset_db=1.0"
    assert random.label == "perturb_random snr_db=12.0 seed=0 layers=all"


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 12.5, 30.0, 60.0])
def test_distance_along_a_random_direction(snr_db: float) -> None:
    weight, noise = weights(20, 64, seed=1), weights(20, 64, seed=2, outliers=False)
    method = find_method("perturb_random")
    before = weight.clone()
    direction = Direction(noise=noise, length=float(weight.norm() / noise.norm()))
    made = method.quantize(weight, direction, method.find_format("none"), method.make_options({"snr_db": snr_db}))
    assert snr(weight, made.weight) == pytest.approx(snr_db, abs=1e-3)
    assert made.stored_bits == 16 * weight.numel()
    assert torch.equal(weight, before)
    cosine = torch.nn.functional.cosine_similarity((made.weight - weight).flatten(), noise.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("along", ["nearest", "gptq"])
def test_along_a_quantization_sqnr_and_offset_add_up(along: str) -> None:
    weight, x = weights(20, 64, seed=1), inputs(64, 256, seed=2)
    options = {"along": along, **(PAPER if along == "gptq" else {})}
    method = find_method("perturb_along")
    if along == "gptq":
        gptq = find_method("gptq")
        quantized = gptq.quantize(weight, statistics_of(x), FORMAT, gptq.make_options(PAPER)).weight
    else:
        quantized = quantize_groups(weight, FORMAT)
    for offset in (-3.0, 0.0, 1.0, 20.0):
        made = method.quantize(weight, statistics_of(x), FORMAT, method.make_options({**options, "offset_db": offset}))
        if offset == 0.0:
            assert torch.equal(made.weight, quantized)
            assert made.stored_bits == weight.numel() * 3.5
        else:
            assert made.stored_bits == weight.numel() * 16
        assert snr(weight, made.weight) == pytest.approx(snr(weight, quantized) + offset, abs=1e-3)


def test_weights_that_do_not_move_stay() -> None:
    """Zero weights have no length, and weights on the grid no direction."""
    zero, on_grid = torch.zeros(4, 16), torch.full((4, 16), 0.5)
    method = find_method("perturb_random")
    noise = Direction(noise=torch.ones(4, 16), length=0.0)
    made = method.quantize(zero, noise, method.find_format("none"), method.make_options({"snr_db": -20.0}))
    assert torch.equal(made.weight, zero)
    along = find_method("perturb_along")
    for weight in (zero, on_grid):
        made = along.quantize(weight, None, FORMAT, along.make_options({"offset_db": -6.0}))
        assert torch.equal(made.weight, weight)


def test_overflow_is_said() -> None:
    weight = 1e5 * weights(4, 16, seed=1)
    random, along = find_method("perturb_random"), find_method("perturb_along")
    direction = Direction(noise=weight, length=1.0)
    with pytest.raises(NonFiniteError, match="a perturbation of -700 dB overflows the weights"):
        random.quantize(weight, direction, random.find_format("none"), random.make_options({"snr_db": -700.0}))
    with pytest.raises(NonFiniteError, match="an offset of -700 dB overflows"):
        along.quantize(1e5 * weight, None, FORMAT, along.make_options({"offset_db": -700.0}))


def test_along_gptq_raises_what_gptq_raises() -> None:
    along = find_method("perturb_along")
    singular = InputStatistics.from_hessian(torch.ones(16, 16) - 2 * torch.eye(16))
    with pytest.raises(HessianError, match="not positive definite"):
        along.quantize(torch.ones(4, 16), singular, FORMAT, along.make_options({"along": "gptq", "damping": 0.0}))


@pytest.mark.parametrize(
    ("method", "format_name", "options", "told"),
    [
        ("perturb_random", "int4_g32", {}, "Format 'int4_g32' cannot be used where nothing is rounded. Give 'none'"),
        ("perturb_random", "none", {"snr_db": 800}, "snr_db=800 is not usable"),
        ("perturb_random", "none", {"snr_db": math.nan}, "snr_db=nan is not usable"),
        ("perturb_random", "none", {"snr_db": "low"}, "snr_db='low' is not usable"),
        ("perturb_random", "none", {"seed": -1}, "seed=-1"),
        ("perturb_random", "none", {"taylor": 1}, "taylor=1 is not usable. Give true or false"),
        ("perturb_random", "none", {"layers": ""}, "layers='' names no layer"),
        ("perturb_random", "none", {"snr": 1}, "no option 'snr'. Did you mean 'snr_db'"),
        ("perturb_along", "none", {}, "Unknown format 'none'"),
        ("perturb_along", "int4_g32", {"along": "gptaq"}, "along='gptaq' is not known. Did you mean 'gptq'"),
        ("perturb_along", "int4_g32", {"offset_db": -1e4}, "offset_db=-10000.0 is not usable"),
        ("perturb_along", "int4_g32", {"damping": 0.1}, "no option 'damping'"),
        ("perturb_along", "int4_g32", {"along": "gptq", "upstream": "quantized"}, "needs upstream='full_precision'"),
        ("perturb_along", "int4_g32", {"along": "gptq", "on_failure": "nearest"}, "needs on_failure='raise'"),
        ("mixed", "int4_g32", {"inner": "perturb_random"}, "inner='perturb_random' probes the loss"),
    ],
)
def test_what_cannot_be_used_is_said(method: str, format_name: str, options: dict, told: str) -> None:
    with pytest.raises(BitlawError, match=told.replace("(", r"\(")):
        make_variant(method, format_name, options)


def test_a_direction_of_another_layer_is_refused() -> None:
    method = find_method("perturb_random")
    for bad in (None, Direction(noise=torch.ones(3, 3), length=1.0)):
        with pytest.raises(InputError, match=r"needs a direction for a weight of shape \[4, 16\]"):
            method.quantize(torch.ones(4, 16), bad, method.find_format("none"), method.make_options({}))
