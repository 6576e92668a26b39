"""Small floats with float scales against a plain formula in numpy."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from tests.formats import reference


def plain(groups: np.ndarray, element: str, ties: str) -> np.ndarray:
    """Scale by max / largest in float32, round by search. groups [n, k]."""
    scale = np.abs(groups).max(1, keepdims=True) / np.float32(reference.magnitudes(element)[-1])
    scale = np.where(scale == 0, np.float32(1), scale)
    return reference.nearest(reference.wide(groups / scale), element, ties).astype(np.float32) * scale


@pytest.mark.parametrize("element", reference.FLOATS)
def test_equals_the_plain_rule(element: str) -> None:
    rng = np.random.default_rng(5)
    grid = reference.magnitudes(element)
    points = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2])
    groups = rng.choice(points, (200, 8)) * rng.choice([-1, 1], (200, 8))
    groups[:100, 0] = grid[-1]  # scale 1 and powers of two: values lie on ties exactly
    groups[:100] *= np.exp2(rng.integers(-20, 20, (100, 1)))
    groups[100:150] = rng.standard_normal((50, 8))
    groups[-1] = 0
    x = groups.astype(np.float32)
    bits = 1 + int(element[1]) + int(element[3])
    for ties in ("even", "away"):
        name = f"fp{bits}_{element}_g8" + ("_away" if ties == "away" else "")
        got = quantize_groups(torch.from_numpy(x), parse_format(name)).numpy()
        assert (got == plain(x, element, ties)).all(), name


def test_rows_tensors_and_groups_share_what_they_say() -> None:
    weight = np.random.default_rng(6).standard_normal((4, 64)).astype(np.float32)
    for scope, groups in {"row": weight, "tensor": weight.reshape(1, -1), "g16": weight.reshape(-1, 16)}.items():
        got = quantize_groups(torch.from_numpy(weight), parse_format(f"fp8_e4m3_{scope}")).numpy()
        assert (got == plain(groups, "e4m3", "even").reshape(weight.shape)).all()


def test_search_lowers_the_error() -> None:
    weight = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    errors = [
        (quantize_groups(weight, parse_format(name)) - weight).square().sum(1)
        for name in ("fp4_e2m1_g32", "fp4_e2m1_g32_mse")
    ]
    assert (errors[1] <= errors[0]).all()
    assert errors[1].sum() < 0.95 * errors[0].sum()


def test_values_beyond_the_ends_are_clamped_and_bad_ones_seen() -> None:
    grid = parse_format("fp8_e4m3_row")
    parameters = torch.tensor([1.0])
    got = grid.round(torch.tensor([500.0, -1e9, float("inf"), 448.0, 464.0, float("nan")]), parameters)
    assert got[:5].tolist() == [448.0, -448.0, 448.0, 448.0, 448.0]
    assert got[5].isnan()
    for bad in (float("nan"), float("inf")):
        assert not quantize_groups(torch.tensor([[1.0, bad]]), grid).isfinite().all()


def test_refuses_names() -> None:
    for name in ("fp8_e4m3", "fp8_row", "fp8_e4m3_g0", "fp8_e4m3_k32", "fp9_e4m4_row", "fp8_e4m3_row_floor"):
        with pytest.raises(InputError):
            parse_format(name)
    with pytest.raises(InputError, match=r"Unknown 8-bit element format 'e4m2'. Did you mean 'e5m2'"):
        parse_format("fp8_e4m2_row")
