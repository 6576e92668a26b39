"""The order in which GPTQ takes columns, and how they are cut: groups, micro-blocks, blocks that are updated lazily together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format, group_starts


class ColumnSettings(TypedDict):
    """How columns are cut: columns rounded at once, columns updated lazily together, scales chosen when a block begins."""

    micro_block: int
    block_size: int
    by_block: bool


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """In which order columns are quantized, and which of them share parameters.

    order [in] stored column of each place; groups (start, stop) in places, for parameters chosen on the way;
    stored_group: which stored group the column of each place belongs to, for parameters chosen before; as_stored: whether
    every column is in its own place.
    """

    order: torch.Tensor
    groups: list[tuple[int, int]]
    stored_group: list[int]
    as_stored: bool = False

    def placed(self, weight: torch.Tensor) -> torch.Tensor:
        """Return a weight [..., out, in] as columns in places, [..., in, out]; maybe a view of it."""
        columns = weight.transpose(-1, -2)
        return columns if self.as_stored else columns[..., self.order, :]

    def stored(self, done: torch.Tensor) -> torch.Tensor:
        """Return columns in places, [..., in, out], as a weight [..., out, in] with its columns where they are stored."""
        quantized = done
        if not self.as_stored:
            quantized = torch.empty_like(done, memory_format=torch.contiguous_format)
            quantized[..., self.order, :] = done
        return quantized.transpose(-1, -2).contiguous()


def group_ranges(columns: int, format: Format) -> list[tuple[int, int]]:
    """Return (start, stop) of the groups of a row; the last may be shorter."""
    starts = group_starts(columns, format)
    return list(zip(starts, [*starts[1:], columns], strict=True))


def arrange(order: torch.Tensor, kind: str, stored: list[tuple[int, int]]) -> Arrangement:
    """Return the arrangement of an order; stored are the (start, stop) of the groups as stored.

    Under `none` and `group_aware` the groups are the stored ones, in the order in which they come; under `activation`
    they are runs of the reordered columns.
    """
    group_of = [number for number, (start, stop) in enumerate(stored) for _ in range(start, stop)]
    if kind == "none":  # without a look at the order, for which the host would have to wait
        return Arrangement(order=order, groups=stored, stored_group=group_of, as_stored=True)
    stored_group = [group_of[column] for column in order.tolist()]
    groups = stored
    if kind == "group_aware":
        starts = [0, *(i for i in range(1, len(stored_group)) if stored_group[i] != stored_group[i - 1])]
        groups = list(zip(starts, [*starts[1:], len(stored_group)], strict=True))
    return Arrangement(order=order, groups=groups, stored_group=stored_group)


def units(groups: list[tuple[int, int]], micro_block: int) -> list[list[tuple[int, int]]]:
    """Return the micro-blocks, in lists that must be updated together because they share parameters or a micro-block.

    Groups of 4, micro_block 2: [(0, 2), (2, 4)], [(4, 6), (6, 8)]      groups of 2, micro_block 4: [(0, 4)], [(4, 8)]
    Raises InputError unless the group size is a multiple of micro_block or a divisor.
    """
    width = groups[0][1] - groups[0][0] if len(groups) == 1 else max(stop - start for start, stop in groups)
    if len(groups) > 1 and width % micro_block and micro_block % width:
        raise InputError(
            f"micro_block={micro_block} and groups of {width} cut across each other. "
            f"Give a multiple or a divisor of {width}, or 1 for none."
        )
    if micro_block <= width:
        return [[(a, min(a + micro_block, stop)) for a in range(start, stop, micro_block)] for start, stop in groups]
    together = micro_block // width
    runs = [groups[i : i + together] for i in range(0, len(groups), together)]
    return [[(run[0][0], run[-1][1])] for run in runs]


def blocks(cells: list[list[tuple[int, int]]], block_size: int) -> list[list[tuple[int, int]]]:
    """Return lists of micro-blocks that are updated lazily together: at most `block_size` columns where that is possible.

    No group starts behind stale columns: a block holds whole units, or a part of one unit.

    Groups of 48, micro_block 1, block_size 128: columns 0-95, 96-191, ...
    Groups of 192, block_size 128: columns 0-127, 128-191, 192-319, ...
    """
    made: list[list[tuple[int, int]]] = []
    size = 0
    for unit in cells:
        width = unit[-1][1] - unit[0][0]
        if made and size + width <= block_size:
            made[-1].extend(unit)
            size += width
            continue
        size = width
        if width <= block_size:
            made.append(list(unit))
            continue
        part: list[tuple[int, int]] = []
        for cell in unit:
            if part and cell[1] - part[0][0] > block_size:
                made.append(part)
                part = []
            part.append(cell)
        made.append(part)
        size = block_size  # a part of a unit takes no other unit in
    return made
