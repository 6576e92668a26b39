"""Microscaling against block-by-block brute force, its constants, and the table of Gaussian SQNR."""

import itertools
import math

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.formats.microscaling import SCALE_RULES, MicroscalingFormat
from tests.formats import reference

ELEMENTS = reference.FLOATS + reference.INTS
PAPER = ["int6", "int4", "int3", "int2", "e2m3", "e3m2", "e2m1", "e1m2", "e1m1"]


def name_of(element: str, block: int, rule: str = "floor", ties: str = "even") -> str:
    bits = 1 + int(element[1]) + int(element[3]) if element[0] == "e" else int(element[3:])
    kind = f"mxfp{bits}_{element}" if element[0] == "e" else f"mx{element}"
    return f"{kind}_k{block}" + ("" if rule == "floor" else f"_{rule}") + ("_away" if ties == "away" else "")


def blocks(element: str, k: int) -> np.ndarray:
    """Return blocks [n, k]: random ones, and ones whose maximum and values are where rounding or the scale changes."""
    rng = np.random.default_rng(k)
    random = rng.standard_normal((40, k)) * np.exp2(rng.integers(-140, 120, (40, 1)))
    outliers = rng.standard_normal((20, k)) * rng.standard_normal((20, k)) ** 8
    grid = reference.magnitudes(element)
    top = grid[-1] * np.exp2(rng.integers(-30, 30, (60, 1)).astype(np.float64))
    points = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2]) / grid[-1]
    adversarial = rng.choice(points, (60, k)) * rng.choice([-1, 1], (60, k)) * top
    adversarial[:, 0] = top[:, 0] * rng.choice(
        [1, 1.1, 4 / 3, 15 / 14, 31 / 28], 60
    )  # maxima beyond the largest element
    made = np.concatenate([random, outliers, adversarial]).clip(-3e38, 3e38).astype(np.float32)
    moved = np.nextafter(made, rng.choice(np.array([-np.inf, np.inf], np.float32), made.shape))
    # Maxima that are powers of two and their neighbours, at every exponent a float32 has.
    powers = np.zeros((3 * 277, k), np.float32)
    exact = np.exp2(np.arange(-149.0, 128.0)).astype(np.float32)
    powers[:, 0] = np.concatenate([exact, np.nextafter(exact, np.float32(0)), np.nextafter(exact, np.float32(np.inf))])
    powers[:, k // 2] = powers[:, 0] * rng.choice([-1, 0.3, 0.5, -0.75], len(powers))
    return np.concatenate([made, moved, powers])


@pytest.mark.parametrize("element", ELEMENTS)
def test_equals_brute_force(element: str) -> None:
    for rule, ties in [*itertools.product(SCALE_RULES, ["even"]), ("floor", "away"), ("even", "away")]:
        x = blocks(element, 8)
        got = quantize_groups(torch.from_numpy(x), parse_format(name_of(element, 8, rule, ties))).numpy()
        want = reference.microscaled(x, element, rule, ties)
        wrong = ~reference.same(got, want)
        assert not wrong.any(), (rule, ties, x[wrong.any(1)][0], got[wrong.any(1)][0], want[wrong.any(1)][0])


@pytest.mark.parametrize("k", [1, 16, 32, 64, 128])
@pytest.mark.parametrize("element", PAPER)
def test_block_sizes_equal_brute_force(element: str, k: int) -> None:
    x = np.random.default_rng(k).standard_normal((6, 256)).astype(np.float32)
    got = quantize_groups(torch.from_numpy(x), parse_format(name_of(element, k))).numpy()
    want = reference.microscaled(x.reshape(-1, k), element).reshape(x.shape)
    assert (got == want).all()


def test_saturation_is_the_cost_of_floor() -> None:
    x = torch.tensor([[7.9, 6.1, 5.0, 1.0]])
    assert quantize_groups(x, parse_format("mxfp4_e2m1_k4")).tolist() == [[6.0, 6.0, 4.0, 1.0]]
    assert quantize_groups(x, parse_format("mxfp4_e2m1_k4_rceil")).tolist() == [[8.0, 6.0, 4.0, 1.0]]
    # Halfway from 6 to 8, `even` rounds the maximum up and with it the scale.
    grid = parse_format("mxfp4_e2m1_k4_even")
    assert [float(grid.parameters(torch.tensor([m]))) for m in (6.99, 7.0)] == [1.0, 2.0]


@pytest.mark.parametrize("rule", SCALE_RULES)
def test_zeros_nan_and_infinity(rule: str) -> None:
    grid = parse_format(name_of("e2m1", 4, rule))
    assert quantize_groups(torch.zeros(2, 8), grid).tolist() == torch.zeros(2, 8).tolist()
    assert float(grid.parameters(torch.zeros(4))) == 2.0**-127
    for bad in (math.nan, math.inf, -math.inf):
        got = quantize_groups(torch.tensor([[1.0, bad, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0]]), grid)
        assert got[0, :4].isnan().all()
        assert got[0, 4:].isfinite().all()


def test_scale_is_clamped_to_e8m0() -> None:
    smallest = parse_format("mxfp8_e5m2_k2")
    assert float(smallest.parameters(torch.tensor([1e-44, 0.0]))) == 2.0**-127
    assert quantize_groups(torch.tensor([[2.0**-140, 0.0]]), smallest).tolist() == [[2.0**-140, 0.0]]
    top = parse_format("mxint8_k2_ceil")
    assert float(top.parameters(torch.tensor([3e38, 0.0]))) == 2.0**127
    assert quantize_groups(torch.tensor([[3.4e38, -3.4e38]]), top).abs().max() == (1 + 63 / 64) * 2.0**127


GAUSSIAN = {  # dB for blocks of 16, 32, 64, 128; section 5 of the notes on arXiv 2410.12119
    "int6": (30.8, 29.6, 29.0, 28.8),
    "int4": (18.6, 17.6, 16.9, 16.7),
    "int3": (12.5, 11.5, 10.9, 10.7),
    "int2": (6.4, 5.4, 4.9, 4.7),
    "e2m3": (31.0, 30.9, 30.9, 30.9),
    "e3m2": (25.2, 25.4, 25.5, 25.5),
    "e2m1": (18.6, 18.8, 18.9, 19.0),
}


@pytest.mark.parametrize("element", GAUSSIAN)
def test_gaussian_sqnr(element: str) -> None:
    weight = torch.randn(4000, 128, generator=torch.Generator().manual_seed(0))
    for k, want in zip((16, 32, 64, 128), GAUSSIAN[element], strict=True):
        error = quantize_groups(weight, parse_format(name_of(element, k))) - weight
        got = 10 * math.log10(float(weight.square().sum() / error.square().sum()))
        assert got == pytest.approx(want, abs=0.2), k


def test_refuses_what_it_cannot_be() -> None:
    for name in ("mxint4", "mxint4_k0", "mxfp4_k32", "mxint4_e2m1_k32", "mxint4_k32_floor", "mxint9_k32", "mxint1_k32"):
        with pytest.raises(InputError):
            parse_format(name)
    with pytest.raises(InputError, match="has groups of 0 weights"):
        parse_format("mxfp4_e2m1_k0")
    with pytest.raises(InputError, match="Did you mean 'e2m1'"):
        parse_format("mxfp4_e2m2_k32")
    element = MicroscalingFormat.parse("mxint4_k32").element
    for settings in ({"group_size": 0}, {"group_size": -4}, {"rule": "round"}, {"ties": "odd"}):
        with pytest.raises(InputError):
            MicroscalingFormat(element=element, **settings)
