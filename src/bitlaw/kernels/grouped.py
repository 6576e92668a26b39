"""Rounding to nearest, and choosing parameters, where it is fastest: a kernel launch on a GPU, `formats.grouping` elsewhere."""

from __future__ import annotations

import torch

from bitlaw import formats
from bitlaw.formats import Format, group_width
from bitlaw.kernels import available, grids

SERVED = (torch.float32, torch.bfloat16, torch.float16)


def quantize_groups(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Round every weight to its group's grid. weight [rows, columns], any float dtype -> same shape and dtype.

    The numbers of `formats.quantize_groups`, whichever way. Raises what that raises.
    """
    grid = _grid(weight, format)
    if grid is None:
        return formats.quantize_groups(weight, format, layer)
    from bitlaw.kernels.nearest_groups import choosing, round_groups

    width, given = group_width(weight.shape[1], format, layer), None
    if choosing(grid, width).choice == grids.GIVEN:
        given = grid.pack(formats.group_parameters(weight.float(), format, layer)).contiguous()
    return round_groups(_rows(weight), grid, width, given)


def group_parameters(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Choose the parameters of every group. weight [rows, columns] float32 -> [rows, groups, p].

    The numbers of `formats.group_parameters`, whichever way. Raises what that raises.
    """
    grid = _grid(weight, format)
    if grid is None or weight.dtype != torch.float32:
        return formats.group_parameters(weight, format, layer)
    from bitlaw.kernels.nearest_groups import choose_parameters, choosing

    width = group_width(weight.shape[1], format, layer)
    if choosing(grid, width).choice == grids.GIVEN:
        return formats.group_parameters(weight, format, layer)
    return grid.unpack(choose_parameters(_rows(weight), grid, width))


def _grid(weight: torch.Tensor, format: Format) -> grids.Grid | None:
    """Return how a kernel sees the format; None where torch does the work."""
    if not (available(weight.device) and weight.dtype in SERVED and weight.numel()):
        return None
    return grids.grid_of(format, weight)


def _rows(weight: torch.Tensor) -> torch.Tensor:
    """Return the weight with contiguous rows."""
    return weight if weight.stride(1) == 1 else weight.contiguous()
