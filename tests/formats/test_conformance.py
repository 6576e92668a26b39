"""What every format must do, over every registered family by the names it gives of itself. A newcomer is picked up."""

import numpy as np
import pytest
import torch

from bitlaw import catalog
from bitlaw.errors import InputError
from bitlaw.formats import bits_per_weight, group_parameters, group_width, parse_format, quantize_groups
from bitlaw.formats.base import Format

EXAMPLES = sorted({name for entry in catalog.FORMATS.values() for name in entry.load().examples()})


def weight(seed: int = 0) -> torch.Tensor:
    """Return [8, 256]: random rows, one of zeros, one-sided ones, one with outliers, one of few values."""
    w = torch.randn(8, 256, generator=torch.Generator().manual_seed(seed)) * 0.02
    w[0] = 0.0
    w[1] = w[1].abs()
    w[2] = -w[2].abs()
    w[3, ::37] *= 40
    w[4] = torch.round(w[4] * 100) / 100
    w[5, ::2] = 0.0
    return w


def pieces(w: torch.Tensor, grid: Format) -> list[tuple[torch.Tensor, torch.Tensor, Format]]:
    """Return (groups [8, width], their parameters, the bound format) of every group."""
    bound, width = grid.prepare(w), group_width(w.shape[1], grid)
    groups = [w[:, start : start + width] for start in range(0, w.shape[1], width)]
    return [(group, bound.parameters(group), bound) for group in groups]


def test_every_family_gives_examples_that_begin_with_its_name() -> None:
    for family, entry in catalog.FORMATS.items():
        assert any(name.startswith(family) for name in entry.load().examples()), family


@pytest.mark.parametrize("name", EXAMPLES)
def test_name_bits_and_words(name: str) -> None:
    grid = parse_format(name)
    assert grid.name == name
    assert parse_format(grid.name) == grid
    assert len({grid, parse_format(name)}) == 1
    assert 1 <= grid.bits <= 8
    assert grid.group_size >= 0
    assert (grid.parameter_bits > 0) != (grid.tensor_bits > 0) or name.startswith("nvfp4")
    stored = bits_per_weight(4096, grid, rows=4096)
    assert grid.bits < stored <= grid.bits + 16
    assert parse_format(grid.canonical).canonical == grid.canonical
    assert grid.grid
    assert "ties" in grid.scale_rule
    for broken in (name + "_", name + "x", name[1:], name.replace("_", "-"), name.upper(), "_" + name):
        with pytest.raises(InputError):
            parse_format(broken)


@pytest.mark.parametrize("name", EXAMPLES)
def test_results_are_on_the_stated_grid_and_nearest(name: str) -> None:
    grid = parse_format(name)
    for group, parameters, bound in pieces(weight(), grid):
        values = bound.values(parameters)
        assert (values.diff(dim=-1) >= 0).all()
        assert values.shape[-1] <= 2 ** int(np.ceil(grid.bits))
        got = bound.round(group, parameters)
        distances = (group.unsqueeze(-1) - values.unsqueeze(-2)).abs()
        assert (got.unsqueeze(-1) == values.unsqueeze(-2)).any(-1).all()
        assert (
            (got - group).abs() <= distances.amin(-1) * (1 + 1e-5) + 1e-7 * values.abs().amax(-1, keepdim=True)
        ).all()
        assert torch.equal(bound.round(got, parameters), got)  # idempotent
        assert torch.equal(bound.round(values, parameters), values)  # every value is its own nearest
        has_zero = (values == 0).any(-1)
        assert (bound.round(torch.zeros(8, 1), parameters)[has_zero] == 0).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_columns_one_by_one_are_groups_at_once(name: str) -> None:
    """What GPTQ relies on: `round` of single columns [rows, 1] with the parameters of their group."""
    grid, w = parse_format(name), weight(1)
    columns = [
        bound.round(group[:, j : j + 1], parameters)
        for group, parameters, bound in pieces(w, grid)
        for j in range(group.shape[1])
    ]
    whole = quantize_groups(w, grid)
    assert torch.equal(torch.cat(columns, 1), whole)
    assert group_parameters(w, grid).shape[:2] == (8, len(pieces(w, grid)))
    assert (whole[0] == 0).all() or "tensor" in name  # a row of zeros


@pytest.mark.parametrize("name", EXAMPLES)
def test_scaling_by_powers_of_two_scales_the_result(name: str) -> None:
    """Exactly, unless block scales have ends of their own (one-level NVFP4)."""
    grid, w = parse_format(name), weight(2)
    want = quantize_groups(w, grid)
    for power in (2.0**-20, 4.0, 2.0**30):
        got = quantize_groups(w * power, grid)
        assert torch.equal(got, want * power) != name.endswith("_single"), power


@pytest.mark.parametrize("name", EXAMPLES)
def test_empty_and_single(name: str) -> None:
    grid = parse_format(name)
    assert quantize_groups(torch.zeros(0, 256), grid).shape == (0, 256)
    one = quantize_groups(torch.tensor([[3.0]]), grid)
    assert one.shape == (1, 1)
    assert abs(float(one) - 3.0) <= 1.0  # the only weight of its group: off by a coarse floor scale at most
    assert quantize_groups(torch.zeros(3, 5), grid).tolist() == [[0.0] * 5] * 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_more_than_noise_survives_and_bad_values_stay_visible(name: str) -> None:
    grid, w = parse_format(name), weight(3)[3:]
    q = quantize_groups(w, grid)
    assert (q - w).square().sum() < w.square().sum()
    for bad in (float("nan"), float("inf"), -float("inf")):
        broken = w.clone()
        broken[1, 7] = bad
        assert not quantize_groups(broken, grid)[1].isfinite().all()
