"""Rounding to nearest where it is fastest: one kernel launch on a GPU, `formats.quantize_groups` elsewhere."""

from __future__ import annotations

import torch

from bitlaw import formats
from bitlaw.formats import Format, group_parameters, group_width
from bitlaw.kernels import available, grids

SERVED = (torch.float32, torch.bfloat16, torch.float16)


def quantize_groups(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Round every weight to its group's grid. weight [rows, columns], any float dtype -> same shape and dtype.

    The numbers of `formats.quantize_groups`, whichever way. Raises what that raises.
    """
    if not (available(weight.device) and weight.dtype in SERVED and weight.numel()):
        return formats.quantize_groups(weight, format, layer)
    width = group_width(weight.shape[1], format, layer)
    grid = grids.grid_of(format, weight)
    if grid is None:
        return formats.quantize_groups(weight, format, layer)
    from bitlaw.kernels.nearest_groups import round_groups

    if weight.stride(1) != 1:
        weight = weight.contiguous()
    given = None
    if grid.family.choice == grids.GIVEN:
        given = grid.pack(group_parameters(weight.float(), format, layer)).contiguous()
    return round_groups(weight, grid, width, given)
