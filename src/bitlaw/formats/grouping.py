"""Groups along a row: where they start, how many bits their parameters cost, and rounding all of them at once.

in_features 10, group_size 4 is refused (10 is not a multiple of 4) unless the format says `_short`: then the groups are
4, 4 and 2. in_features 3, group_size 4 is one group of 3: a row shorter than a group is one group.

A method that walks columns itself (GPTQ): `bound = format.prepare(weight)` first, `width = group_width(columns, bound)`;
column j is in group `j // width`, whose columns are `j // width * width` up to `min(that + width, columns)`
(`group_of`, `group_columns`). This holds for short groups too.
"""

from __future__ import annotations

import torch

from bitlaw.errors import InputError
from bitlaw.formats.base import Format

CHUNK = 2**18
"""Weights rounded together by one core of a CPU: a few such arrays (1 MiB each) fit its last cache, and calls are few."""


def group_width(columns: int, format: Format, layer: str = "weight") -> int:
    """Return how many columns of a row share parameters; the last group may have fewer if the format is `short`.

    Raises InputError if the group size does not divide the row, naming the layer and sizes that would.
    """
    size = format.group_size
    if size == 0 or size >= columns:
        return columns
    if columns % size and not format.short:
        fits = next(n for n in range(size, 0, -1) if columns % n == 0)
        raise InputError(
            f"{format.name} needs in_features divisible by {size}; {layer!r} has {columns}. "
            f"Use group_size={fits}, _short after the size for a short last group, or 0 for the whole row."
        )
    return size


def group_starts(columns: int, format: Format, layer: str = "weight") -> list[int]:
    """Return the first column of every group of a row."""
    return list(range(0, columns, max(group_width(columns, format, layer), 1)))


def group_of(columns: int, format: Format, layer: str = "weight") -> torch.Tensor:
    """Return the group each column is in, [columns], int64."""
    return torch.arange(columns) // max(group_width(columns, format, layer), 1)


def group_columns(group: int, columns: int, format: Format, layer: str = "weight") -> slice:
    """Return the columns of a group."""
    width = group_width(columns, format, layer)
    return slice(group * width, min((group + 1) * width, columns))


def bits_per_weight(columns: int, format: Format, layer: str = "weight", rows: int | None = None) -> float:
    """Return stored bits per weight: the code, the group's share of its parameters, and of what is stored per tensor.

    Without `rows` the tensor's own scale (16 or 32 bits in all) is left out.
    """
    groups = len(group_starts(columns, format, layer))
    tensor = format.tensor_bits / (rows * columns) if rows and columns else 0.0
    return format.bits + format.parameter_bits * groups / max(columns, 1) + tensor


def group_parameters(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Choose the parameters of every group. weight [rows, columns] -> [rows, groups, p]."""
    bound = format.prepare(weight)
    return torch.cat([bound.parameters(part) for part in _parts(weight, format, layer)], 1)


def quantize_groups(weight: torch.Tensor, format: Format, layer: str = "weight") -> torch.Tensor:
    """Round every weight to its group's grid. weight [rows, columns], any float dtype -> same shape and dtype.

    Arithmetic is float32. On a CPU, rows go through in chunks that stay in the cache.
    """
    if not weight.numel():
        return weight.clone()
    bound = format.prepare(weight.float())
    quantized = torch.empty_like(weight, memory_format=torch.contiguous_format)
    for part, out in zip(_parts(weight, format, layer), _parts(quantized, format, layer), strict=True):
        rows = _rows_at_once(part)
        for chunk, into in zip(torch.split(part, rows), torch.split(out, rows), strict=True):
            groups = chunk.float()
            into.copy_(bound.round(groups, bound.parameters(groups)))
    return quantized


def _parts(weight: torch.Tensor, format: Format, layer: str) -> list[torch.Tensor]:
    """Return the weight as [rows, groups, width] views: the whole groups and, if there is one, the short last group."""
    columns = weight.shape[1]
    width = group_width(columns, format, layer)
    whole = columns // max(width, 1) * width
    parts = [torch.unflatten(weight[:, :whole], 1, (-1, width))] if whole else []
    return parts if whole == columns else [*parts, weight[:, whole:].unsqueeze(1)]


def _rows_at_once(groups: torch.Tensor) -> int:
    """Return how many rows of [rows, groups, width] to take together."""
    if groups.device.type != "cpu":
        return len(groups)
    return max(CHUNK * torch.get_num_threads() // groups[0].numel(), 1)
