"""Groups along a row: where they start, how many bits their parameters cost, and rounding all of them at once.

in_features 10, group_size 4 is refused (10 is not a multiple of 4); in_features 3, group_size 4 is one group of 3:
a row shorter than a group is one group.
"""

from __future__ import annotations

import torch

from bitlaw.errors import InputError
from bitlaw.formats.base import Format


def group_width(columns: int, format: Format, layer: str = "weight") -> int:
    """Return how many columns of a row share parameters.

    Raises InputError if the group size does not divide the row, naming the layer and sizes that would.
    """
    size = format.group_size
    if size == 0 or size >= columns:
        return columns
    if columns % size:
        fits = next(n for n in range(size, 0, -1) if columns % n == 0)
        raise InputError(
            f"{format.name} needs in_features divisible by {size}; {layer!r} has {columns}. "
            f"Use group_size={fits}, or 0 for the whole row."
        )
    return size


def group_starts(columns: int, format: Format, layer: str = "weight") -> list[int]:
    """Return the first column of every group of a row."""
    return list(range(0, columns, group_width(columns, format, layer)))


def bits_per_weight(columns: int, format: Format, layer: str = "weight") -> float:
    """Return stored bits per weight: the code plus the group's share of scale and zero point."""
    return format.bits + format.parameter_bits / group_width(columns, format, layer)


def group_parameters(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Choose the parameters of every group. weight [rows, columns] -> [rows, groups, p]."""
    return format.parameters(_grouped(weight, format, layer))


def quantize_groups(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Round every weight to its group's grid. weight [rows, columns] -> [rows, columns], same dtype."""
    groups = _grouped(weight, format, layer)
    return format.round(groups, format.parameters(groups)).reshape(weight.shape)


def _grouped(weight: torch.Tensor, format: Format, layer: str) -> torch.Tensor:
    rows, columns = weight.shape
    width = group_width(columns, format, layer)
    return weight.reshape(rows, columns // width, width)
