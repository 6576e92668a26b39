"""Every format on every bit pattern of bfloat16, 65 536 numbers: denormals, powers of two, largest numbers, NaN, infinity.

128 patterns that follow each other make a row, so the numbers of a row are within a factor of two (or all denormal). The
oracle is a search of the group's stated values in float64.
"""

import pytest
import torch

from bitlaw import catalog
from bitlaw.formats import group_width, parse_format, quantize_groups
from tests.formats import reference

EXAMPLES = sorted({name for entry in catalog.FORMATS.values() for name in entry.load().examples()})
OF_GROUPS = [name for name in EXAMPLES if "tensor" not in name]
RANGE_OVERFLOWS = 2.0**127  # twice this is beyond float32, so integers and codebooks have no range for such a group
TABLES = ("nf4", "fp4bnb")  # multiply by 1 / max, as bitsandbytes does: beyond float32 where the maximum is denormal


def rows() -> torch.Tensor:
    """All patterns, [512, 128] float32; the last rows of each sign hold the infinities and NaN."""
    return torch.from_numpy(reference.bfloat16_patterns().copy()).reshape(512, 128)


def distance_to_grid(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Distance of each x [rows, n] to the nearest of its row's values [rows, v], float64."""
    x, values = x.double(), values.double()
    above = torch.searchsorted(values, x).clamp(1, values.shape[1] - 1)
    return torch.minimum((x - values.gather(1, above - 1)).abs(), (x - values.gather(1, above)).abs())


@pytest.mark.parametrize("name", OF_GROUPS)
def test_every_number_comes_out_as_the_nearest_value_of_its_grid(name: str) -> None:
    grid, weight = parse_format(name), rows()
    weight = weight[weight.isfinite().all(1)]
    largest = weight.abs().amax(1)
    if name.startswith(("int", "kmeans", "quantile")):
        weight = weight[largest < RANGE_OVERFLOWS]
    if name.startswith(TABLES):
        weight = weight[largest >= 2.0**-126]
    assert len(weight) >= 506
    bound, width, got = grid.prepare(weight), group_width(128, grid), quantize_groups(weight, grid)
    for start in range(0, 128, width):
        group = weight[:, start : start + width]
        values = bound.values(bound.parameters(group)).expand(len(weight), -1).contiguous()
        error = (got[:, start : start + width].double() - group.double()).abs()
        slack = 1e-7 * values.abs().amax(1, keepdim=True).double()
        assert (error <= distance_to_grid(group, values) * (1 + 1e-5) + slack).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_with_nan_or_infinity_do_not_come_out_finite(name: str) -> None:
    weight = rows()
    got = quantize_groups(weight, parse_format(name))
    bad = ~weight.isfinite().all(1)
    assert bad.sum() == 2
    assert not got[bad].isfinite().all(1).any()
