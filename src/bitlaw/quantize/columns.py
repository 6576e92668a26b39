"""The column loop of GPTQ: columns in order, each rounded, its error moved to the columns after it.

With U upper triangular, U^T U = H^-1, columns quantized in order j = 0, 1, ...:

    one column      q_j = round(w_j)    e_j = (w_j - q_j) / U_jj         w_k -= e_j U_jk   for every k > j
    a micro-block   Q_J = round(W_J)    E_J = (W_J - Q_J) inv(U_JJ)      W_k -= E_J U_Jk   for every k after J

A micro-block of K columns is rounded at once, without compensation inside (arXiv 2410.12119, and the authors'
dmx-compressor): then a block format's shared scale sees the very weights it scales. K = 1 is GPTQ as published.
Rows never meet, so all are done at once; updates beyond a block of columns are one matrix product (lazy batches).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format, group_starts
from bitlaw.formats.integer import IntegerFormat
from bitlaw.kernels.gptq_columns import Stack, serves, solve_on_gpu


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """In which order columns are quantized, and which of them share parameters.

    order [in] stored column of each place; groups (start, stop) in places, for parameters chosen on the way;
    stored_group: which stored group the column of each place belongs to, for parameters chosen before.
    """

    order: torch.Tensor
    groups: list[tuple[int, int]]
    stored_group: list[int]


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


def solve_columns(
    weight: torch.Tensor,
    factor: torch.Tensor,
    arrangement: Arrangement,
    format: Format,
    *,
    static: torch.Tensor | None = None,
    micro_block: int = 1,
    block_size: int = 128,
    by_block: bool = False,
    drift: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the weight quantized column by column. weight [out, in] float32 -> [out, in].

    factor [in, in]: U, its columns in the arrangement's order. static [out, groups, p]: parameters of the stored groups;
    None chooses them when a group's first column comes, from weights as updated so far; `by_block` when its block of
    block_size columns begins, for micro_block 1. drift [in, in]: P of GPTAQ in the same order, strictly upper:
    w_k += w_j P_jk beside the error's own move.
    """
    # Columns as rows: a column is contiguous, and the update of later columns is one rank-1 product.
    rest = weight.T[arrangement.order].contiguous()
    group_stop = dict(arrangement.groups)
    if by_block:
        batches = [
            [(column, column + 1) for column in range(start, min(start + block_size, len(rest)))]
            for start in range(0, len(rest), block_size)
        ]
    else:
        batches = blocks(units(arrangement.groups, micro_block), block_size)
    ranges = [(cells[0][0], cells[-1][1]) for cells in batches]
    if micro_block == 1 and drift is None and not by_block and serves(format, weight.device, ranges, group_stop):
        stack = Stack(rows=slice(0, len(weight)), format=format, static=static)
        done = solve_on_gpu(rest, factor, ranges, group_stop, [stack], arrangement.stored_group)
        return _stored(done, arrangement.order)
    done = torch.empty_like(rest)
    parameters = torch.empty(0)
    for cells in batches:
        start, stop = cells[0][0], cells[-1][1]
        block = rest[start:stop]
        block_factor = factor[start:stop, start:stop]
        block_drift = None if drift is None else drift[start:stop, start:stop]
        errors = torch.empty_like(block)
        before = torch.empty_like(block) if drift is not None else block
        begun: dict[int, torch.Tensor] = {}
        if by_block:  # every group that starts in the block, before any of its columns is touched
            for first in [place for place in range(start, stop) if place in group_stop]:
                begun[first] = format.parameters(rest[first : group_stop[first]].T.contiguous())
        for first, last in cells:
            a, b = first - start, last - start
            if last - first == 1:
                if static is not None:
                    parameters = static[:, arrangement.stored_group[first]]
                elif first in begun:
                    parameters = begun[first]
                elif first in group_stop:
                    parameters = format.parameters(rest[first : group_stop[first]].T.contiguous())
                value = format.round(block[a].unsqueeze(-1), parameters).squeeze(-1)
                done[first] = value
                errors[a] = (block[a] - value) / block_factor[a, a]
                if block_drift is not None:
                    before[a] = block[a]
                    block[b:].addr_(block_drift[a, b:], before[a])
                block[b:].addr_(block_factor[a, b:], errors[a], alpha=-1.0)
                continue
            parameters = _round_cell(rest, done, first, last, group_stop, parameters, static, arrangement, format)
            corner = block_factor[a:b, a:b]
            difference = block[a:b] - done[first:last]
            errors[a:b] = torch.linalg.solve_triangular(corner.T, difference, upper=False)
            if block_drift is not None:
                before[a:b] = block[a:b]
                block[b:].addmm_(block_drift[a:b, b:].T, before[a:b])
            block[b:].addmm_(block_factor[a:b, b:].T, errors[a:b], alpha=-1.0)
        rest[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1.0)
        if drift is not None:
            rest[stop:].addmm_(drift[start:stop, stop:].T, before)
    return _stored(done, arrangement.order)


def stackable(
    format: Format, device: torch.device, arrangement: Arrangement, micro_block: int, block_size: int
) -> bool:
    """Whether `solve_stacked` serves this format, in this arrangement, on this device."""
    if micro_block != 1:
        return False
    batches = blocks(units(arrangement.groups, micro_block), block_size)
    ranges = [(cells[0][0], cells[-1][1]) for cells in batches]
    return serves(format, device, ranges, dict(arrangement.groups))


def solve_stacked(
    weights: Sequence[torch.Tensor],
    formats: Sequence[Format],
    factor: torch.Tensor,
    arrangement: Arrangement,
    *,
    statics: Sequence[torch.Tensor | None],
    block_size: int = 128,
) -> list[torch.Tensor]:
    """Return each weight quantized column by column, all of them stacked as rows of one walk over the columns.

    weights [out_i, in] float32 read the same input, so one factor serves all; layers and variants may be mixed, as long as
    all formats are `stackable` in this arrangement and all are static or none is. Same arithmetic as `solve_columns`.
    """
    rest = torch.cat([weight.T for weight in weights], 1)[arrangement.order]
    stacks, first = [], 0
    for weight, format, static in zip(weights, formats, statics, strict=True):
        rows = slice(first, first + len(weight))
        stacks.append(Stack(rows=rows, format=cast(IntegerFormat, format), static=static))
        first = rows.stop
    batches = blocks(units(arrangement.groups, 1), block_size)
    ranges = [(cells[0][0], cells[-1][1]) for cells in batches]
    done = solve_on_gpu(rest, factor, ranges, dict(arrangement.groups), stacks, arrangement.stored_group)
    return [_stored(done[:, stack.rows], arrangement.order) for stack in stacks]


def _stored(done: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return columns in places, [in, out], as a weight [out, in] with its columns where they are stored."""
    quantized = torch.empty_like(done)
    quantized[order] = done
    return quantized.T.contiguous()


def _round_cell(
    rest: torch.Tensor,
    done: torch.Tensor,
    first: int,
    last: int,
    group_stop: dict[int, int],
    parameters: torch.Tensor,
    static: torch.Tensor | None,
    arrangement: Arrangement,
    format: Format,
) -> torch.Tensor:
    """Round places first .. last of `rest` into `done`; return the parameters in force behind them."""
    if static is not None:
        of_columns = static[:, arrangement.stored_group[first:last]].transpose(0, 1)  # [columns, out, p]
        done[first:last] = format.round(rest[first:last].unsqueeze(-1), of_columns).squeeze(-1)
        return parameters
    place = first
    while place < last:
        if place in group_stop:
            parameters = format.parameters(rest[place : group_stop[place]].T.contiguous())
        end = next((p for p in range(place + 1, last) if p in group_stop), last)
        done[place:end] = format.round(rest[place:end].T, parameters).T
        place = end
    return parameters
