"""Integer formats against the plain formula in numpy, a search over the whole grid, and at every edge."""

import itertools
from typing import cast

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.formats.grouping import bits_per_weight, group_starts
from bitlaw.formats.integer import IntegerFormat

ALL = [
    IntegerFormat(bits=b, group_size=g, symmetric=s)
    for b, g, s in itertools.product(range(2, 9), (0, 8), (False, True))
]


def plain(weight: np.ndarray, bits: int, width: int, symmetric: bool) -> np.ndarray:
    """Round by the published rule, one group and one value at a time, the level found by distance in float64."""
    out = np.empty_like(weight)
    for row, start in itertools.product(range(len(weight)), range(0, weight.shape[1], width)):
        group = weight[row, start : start + width]
        hi, lo = np.maximum(group.max(), np.float32(0)), np.minimum(group.min(), np.float32(0))
        if symmetric:
            hi = np.abs(group).max()
            lo = -hi
        if hi == lo:
            hi, lo = np.float32(1), np.float32(-1)
        scale = (hi - lo) / np.float32(2**bits - 1)
        zero = 2 ** (bits - 1) if symmetric else int(np.rint(-lo / scale))
        levels = np.arange(2**bits) - zero
        for j, value in enumerate(group):
            distance = np.abs(levels - float(value / scale))
            best = levels[distance == distance.min()]
            level = best[0] if len(best) == 1 else next(v for v in best if v % 2 == 0)
            out[row, start + j] = np.float32(level) * scale
    return out


def hard_weights() -> np.ndarray:
    """Return rows [16, 32]: zeros, one-sided groups, outliers, denormals, powers of two and their neighbours, ties."""
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((16, 32)).astype(np.float32)
    weight[0] = 0.0
    weight[1] = np.abs(weight[1]) + 1
    weight[2] = -weight[1]
    weight[3, 3] = 40.0
    weight[4] *= np.float32(1e-41)
    weight[5] *= np.float32(1e30)
    weight[6] = np.exp2(rng.integers(-20, 20, 32)) * rng.choice([-1, 1], 32)
    weight[7] = np.nextafter(weight[6], np.float32(np.inf))
    weight[8] = np.nextafter(weight[6], np.float32(0))
    weight[9] = rng.integers(-8, 8, 32) / 2
    weight[10] = np.float32(3)
    weight[11, :31] = 0.0
    weight[12] = np.finfo(np.float32).max / 1000 * rng.choice([-1, 0.5, 1], 32)
    return weight


@pytest.mark.parametrize("grid", ALL, ids=lambda f: f.name)
def test_equals_the_plain_rule(grid: IntegerFormat) -> None:
    weight = hard_weights()
    got = quantize_groups(torch.from_numpy(weight), grid).numpy()
    want = plain(weight, grid.bits, grid.group_size or 32, grid.symmetric)
    assert (got == want).all(), (weight[got != want][:3], got[got != want][:3], want[got != want][:3])


def test_exact_constants() -> None:
    asymmetric = IntegerFormat(bits=2, group_size=0)
    assert asymmetric.parameters(torch.tensor([[-1.0, 0.0, 2.0]])).tolist() == [[1.0, 1.0]]
    assert quantize_groups(torch.tensor([[-1.0, 0.4, 0.6, 2.0]]), asymmetric).tolist() == [[-1.0, 0.0, 1.0, 2.0]]
    symmetric = IntegerFormat(bits=2, group_size=0, symmetric=True)
    assert symmetric.parameters(torch.tensor([[-3.0, 1.0]])).tolist() == [[2.0, 2.0]]
    assert quantize_groups(torch.tensor([[-3.0, 1.0, 3.0]]), symmetric).tolist() == [[-4.0, 0.0, 2.0]]


def test_codes_are_the_levels_of_round() -> None:
    weight = torch.from_numpy(hard_weights())
    for grid in ALL:
        parameters = grid.parameters(weight)
        codes = grid.codes(weight, parameters)
        assert codes.min() >= 0
        assert codes.max() <= grid.highest_code
        assert torch.equal(
            grid.values(parameters).gather(-1, codes.long()), (codes - parameters[:, 1:]) * parameters[:, :1]
        )
        assert torch.equal(grid.values(parameters).gather(-1, codes.long()), grid.round(weight, parameters))


def test_ties_go_to_even_and_zeros_stay() -> None:
    grid = IntegerFormat(bits=3, group_size=0)
    row = torch.tensor([[0.5, 1.5, 2.5, 7.0, 0.0]])
    assert quantize_groups(row, grid).tolist() == [[0.0, 2.0, 2.0, 7.0, 0.0]]
    assert quantize_groups(torch.zeros(2, 8), grid).abs().sum() == 0


@pytest.mark.parametrize("symmetric", [False, True])
def test_nan_and_infinity_stay_visible(symmetric: bool) -> None:
    for rule, bad in itertools.product(("absmax", "mse", "p99"), (float("nan"), float("inf"))):
        grid = IntegerFormat(bits=4, group_size=0, symmetric=symmetric, rule=rule)
        row = torch.arange(200.0)
        row[17] = bad
        assert not torch.isfinite(quantize_groups(row[None], grid)).all(), rule


def test_percentile_is_numpys() -> None:
    weight = torch.randn(5, 1000, generator=torch.Generator().manual_seed(2))
    for share in (60.0, 99.0, 99.9, 99.99):
        symmetric = parse_format(f"int4_row_sym_p{share:g}").parameters(weight)[:, 0].numpy()
        np.testing.assert_allclose(symmetric, 2 / 15 * np.percentile(np.abs(weight.numpy()), share, axis=1), rtol=1e-6)
        scale, zero = parse_format(f"int4_row_p{share:g}").parameters(weight).T.numpy()
        lo, hi = np.percentile(weight.numpy(), [100 - share, share], axis=1)
        np.testing.assert_allclose(scale, (hi - lo) / 15, rtol=1e-5)
        assert (zero == np.rint(-lo / scale)).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", ["", "_sym"])
def test_search_is_close_to_the_best_of_a_fine_search(bits: int, symmetric: str) -> None:
    weight = torch.randn(8, 128, generator=torch.Generator().manual_seed(3))
    weight[0, 0] = 30.0
    plain_grid = parse_format(f"int{bits}_g128{symmetric}")
    scale, zero = plain_grid.parameters(weight).unsqueeze(-2).unbind(-1)

    def error(quantized: torch.Tensor) -> torch.Tensor:
        return (quantized - weight).square().sum(1, dtype=torch.float64)

    # The same range shrunk by 800 factors, the zero point kept.
    shrunk = [
        (scale * factor, (-zero * scale * factor, (2**bits - 1 - zero) * scale * factor))
        for factor in np.linspace(0.02, 1, 800).tolist()
    ]
    best = torch.stack([error(torch.round(weight / s).mul(s).clamp(*ends)) for s, ends in shrunk]).amin(0)
    searched = error(quantize_groups(weight, parse_format(f"int{bits}_g128{symmetric}_mse")))
    assert (searched <= error(quantize_groups(weight, plain_grid))).all()
    assert (searched <= (1.3 if bits == 8 else 1.05) * best).all()  # at 8 bits the curve is rough


def test_search_prefers_the_widest_of_equals() -> None:
    zeros = torch.zeros(1, 4)  # every range rounds them without error
    for symmetric in ("", "_sym"):
        searched = parse_format(f"int4_g4{symmetric}_mse").parameters(zeros)
        assert torch.equal(searched, parse_format(f"int4_g4{symmetric}").parameters(zeros))


def test_short_rows_are_one_group_and_bits_are_counted() -> None:
    grid = IntegerFormat(bits=4, group_size=128)
    assert group_starts(32, grid) == [0]
    assert group_starts(256, grid) == [0, 128]
    assert bits_per_weight(256, grid) == 4 + (16 + 4) / 128
    assert bits_per_weight(32, IntegerFormat(bits=4, group_size=128, symmetric=True)) == 4 + 16 / 32


@pytest.mark.parametrize("bits", [0, 1, 1.5, 9, 33, -4, True, "4x", None])
def test_refuses_widths(bits: object) -> None:
    with pytest.raises(InputError, match="from 2 to 8"):
        IntegerFormat(bits=cast(int, bits))


def test_refuses_settings_and_names() -> None:
    with pytest.raises(InputError, match="group_size=-1"):
        IntegerFormat(bits=4, group_size=-1)
    for rule in ("p100", "p50", "p99.90", "p", "pq", "minmax"):
        with pytest.raises(InputError, match=f"Scale rule '{rule}' is not known"):
            IntegerFormat(bits=4, rule=rule)
    for name in ("int4", "int4_gx", "int1.5_g128", "int4_g128_asym", "int4_g128_mse_sym", "int4_g128_p100"):
        with pytest.raises(InputError):
            parse_format(name)
