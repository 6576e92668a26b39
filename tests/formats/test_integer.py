"""Integer formats against a brute-force search over the whole grid, and at every edge."""

import itertools

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.formats.grouping import bits_per_weight, group_starts
from bitlaw.formats.integer import IntegerFormat

ALL = [
    IntegerFormat(bits=b, group_size=g, symmetric=s)
    for b, g, s in itertools.product(range(2, 9), (0, 8), (False, True))
]


@pytest.mark.parametrize("grid", ALL, ids=lambda f: f.name)
def test_equals_brute_force_nearest_value(grid: IntegerFormat) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 32, generator=generator)
    weight[0] = 0.0  # a row of zeros
    weight[1, :8] = weight[1, :8].abs() + 1.0  # a group that never crosses zero
    weight[2, 3] = 40.0  # an outlier
    quantized = quantize_groups(weight, grid)
    width = grid.group_size or 32
    for row, start in itertools.product(range(6), range(0, 32, width)):
        group = weight[row, start : start + width]
        scale, zero = grid.parameters(group).tolist()
        levels = (np.arange(2**grid.bits) - zero) * scale
        for value, got in zip(group.tolist(), quantized[row, start : start + width].tolist(), strict=True):
            best = np.abs(levels - value).min()
            assert abs(got - value) <= best + 1e-5 * abs(scale), (row, value, got)
            assert np.abs(levels - got).min() <= 1e-6 * max(1.0, abs(got))


@pytest.mark.parametrize("grid", ALL, ids=lambda f: f.name)
def test_name_gives_the_format_back(grid: IntegerFormat) -> None:
    assert parse_format(grid.name) == grid


def test_exact_constants() -> None:
    asymmetric = IntegerFormat(bits=2, group_size=0)
    assert asymmetric.parameters(torch.tensor([[-1.0, 0.0, 2.0]])).tolist() == [[1.0, 1.0]]
    assert quantize_groups(torch.tensor([[-1.0, 0.4, 0.6, 2.0]]), asymmetric).tolist() == [[-1.0, 0.0, 1.0, 2.0]]
    symmetric = IntegerFormat(bits=2, group_size=0, symmetric=True)
    assert symmetric.parameters(torch.tensor([[-3.0, 1.0]])).tolist() == [[2.0, 2.0]]
    assert quantize_groups(torch.tensor([[-3.0, 1.0, 3.0]]), symmetric).tolist() == [[-4.0, 0.0, 2.0]]


def test_ties_go_to_even_and_zeros_stay() -> None:
    grid = IntegerFormat(bits=3, group_size=0)
    row = torch.tensor([[0.5, 1.5, 2.5, 7.0, 0.0]])
    assert quantize_groups(row, grid).tolist() == [[0.0, 2.0, 2.0, 7.0, 0.0]]
    assert quantize_groups(torch.zeros(2, 8), grid).abs().sum() == 0


def test_nan_and_infinity_stay_visible() -> None:
    grid = IntegerFormat(bits=4, group_size=0)
    for bad in (float("nan"), float("inf")):
        assert not torch.isfinite(quantize_groups(torch.tensor([[1.0, bad]]), grid)).all()


def test_empty_and_single() -> None:
    grid = IntegerFormat(bits=4, group_size=128)
    assert quantize_groups(torch.zeros(0, 128), grid).shape == (0, 128)
    assert quantize_groups(torch.tensor([[3.0]]), grid).tolist() == [[3.0]]


def test_short_rows_are_one_group_and_bits_are_counted() -> None:
    grid = IntegerFormat(bits=4, group_size=128)
    assert group_starts(32, grid) == [0]
    assert group_starts(256, grid) == [0, 128]
    assert bits_per_weight(256, grid) == 4 + (16 + 4) / 128
    assert bits_per_weight(32, IntegerFormat(bits=4, group_size=128, symmetric=True)) == 4 + 16 / 32


@pytest.mark.parametrize("bits", [0, 1, 1.5, 9, 33, -4, True, "4x", None])
def test_refuses_widths(bits: object) -> None:
    with pytest.raises(InputError, match="from 2 to 8"):
        IntegerFormat(bits=bits)  # type: ignore[arg-type]


def test_refuses_group_sizes_and_names() -> None:
    with pytest.raises(InputError, match=r"needs in_features divisible by 128; 'mlp' has 2500. Use group_size=125"):
        quantize_groups(torch.zeros(1, 2500), IntegerFormat(bits=4, group_size=128), "mlp")
    with pytest.raises(InputError, match="group_size=-1"):
        IntegerFormat(bits=4, group_size=-1)
    with pytest.raises(UnknownName, match="Unknown format 'itn4_g128'"):
        parse_format("itn4_g128")
    for name in ("int4", "int4_gx", "int1.5_g128", "int4_g128_asym"):
        with pytest.raises(InputError):
            parse_format(name)
