"""Ternary weights: BitNet's scale, the others, and every edge."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import bits_per_weight, parse_format, quantize_groups
from bitlaw.formats.ternary import TernaryFormat


def test_absmean_is_the_paper_formula() -> None:
    """RoundClip(W / gamma, -1, 1), gamma the mean magnitude of the tensor (arXiv 2402.17764, equations 1-3)."""
    weight = np.random.default_rng(0).standard_normal((12, 40)).astype(np.float32)
    gamma = np.abs(weight.astype(np.float64)).mean()
    distance = np.abs(weight.astype(np.float64)[..., None] / gamma - np.array([-1, 0, 1]))
    got = quantize_groups(torch.from_numpy(weight), parse_format("int1.58_tensor")).numpy()
    assert (np.sign(got) == distance.argmin(-1) - 1).all()
    np.testing.assert_allclose(np.abs(got)[got != 0], gamma, rtol=1e-6)


def test_exact_values() -> None:
    row = torch.tensor([[4.0, 1.0, -3.0, 0.0]])  # mean magnitude 2
    assert quantize_groups(row, parse_format("int1.58_row")).tolist() == [[2.0, 0.0, -2.0, 0.0]]  # 1 / 2 is a tie
    assert quantize_groups(row, parse_format("int1.58_row_absmax")).tolist() == [[4.0, 0.0, -4.0, 0.0]]
    assert quantize_groups(torch.tensor([[2.0, 6.0]]), parse_format("int1.58_row_absmax")).tolist() == [[0.0, 6.0]]


def test_search_finds_the_best_scale() -> None:
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(1))
    for row in range(6):
        errors = [
            float((weight[row] - torch.clamp(torch.round(weight[row] / s), -1, 1) * s).square().sum())
            for s in np.linspace(0.3, 4, 2000)
        ]
        searched = quantize_groups(weight[row : row + 1], parse_format("int1.58_g128_mse"))
        assert float((weight[row] - searched).square().sum()) <= 1.02 * min(errors)


def test_bits() -> None:
    grid = parse_format("int1.58_g128")
    assert grid.bits == 1.58
    assert bits_per_weight(256, grid) == 1.58 + 16 / 128
    assert bits_per_weight(256, parse_format("int1.58_tensor"), rows=2) == 1.58 + 16 / 512


@pytest.mark.parametrize("rule", ["absmean", "absmax", "mse", "p99"])
def test_zeros_and_bad_values(rule: str) -> None:
    grid = TernaryFormat(group_size=4, rule=rule)
    assert quantize_groups(torch.zeros(2, 8), grid).tolist() == torch.zeros(2, 8).tolist()
    for bad in (float("nan"), float("inf")):
        got = quantize_groups(torch.tensor([[1.0, bad, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0]]), grid)
        assert not got[0, :4].isfinite().all()
        assert got[0, 4:].isfinite().all()


def test_refuses_names() -> None:
    for name in (
        "int1.58",
        "int1.58_g0",
        "int1.58_g128_sym",
        "int1.58_g128_absmean",
        "int1.59_g128",
        "int1.58_g128_p20",
    ):
        with pytest.raises(InputError):
            parse_format(name)
