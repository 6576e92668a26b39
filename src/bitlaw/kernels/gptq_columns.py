"""GPTQ's whole column loop on a GPU: a kernel for each block of columns, one matrix product for the columns behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.kernels import available, grids

WIDEST_BLOCK = 256  # columns that a program keeps in registers


def family(format: Format, weight: torch.Tensor) -> grids.Family | None:
    """Return which formats this one shares launches with on the weight's device; None where torch does the work."""
    if not available(weight.device):
        return None
    grid = grids.grid_of(format, weight)
    return None if grid is None else grid.family


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One variant of one layer in a stack of columns: which rows are its own, its grid, and its parameters if static.

    format is bound to the weight (`prepare`); static [rows, groups, p] are parameters of the stored groups; None chooses
    them on the way.
    """

    rows: slice
    format: Format
    grid: grids.Grid
    static: torch.Tensor | None = None


def chosen_inside(ranges: Sequence[tuple[int, int]], groups: Mapping[int, int]) -> bool:
    """Whether every block that holds more than a part of one group holds whole groups of one width, but for its last.

    ranges (start, stop) of blocks; groups maps the first column of a group to its end.
    """
    for start, stop in ranges:
        starting = [place for place in range(start, stop) if place in groups]
        if len(starting) < 2 and all(place == start for place in starting):
            continue
        widths = [groups[place] - place for place in starting]
        if starting[0] != start or any(width != widths[0] for width in widths[:-1]) or widths[-1] > widths[0]:
            return False
    return True


def solve_on_gpu(
    rest: torch.Tensor,
    factors: torch.Tensor,
    ranges: Sequence[tuple[int, int]],
    groups: Mapping[int, int],
    stacks: Sequence[Stack],
    stored_group: Sequence[int],
    *,
    micro_block: int = 1,
    by_block: bool = False,
) -> torch.Tensor:
    """Return the quantized columns, [dampings, columns, rows]; `rest` [dampings, columns, rows] float32 is used up.

    factors [dampings, columns, columns]; ranges (start, stop) of blocks follow each other, micro-blocks begin with them;
    groups maps the first column of a group to its end, for parameters chosen on the way. The stacks, of one family, cover
    the rows in order, all static or none; `stored_group` tells which stored group each column has. Where torch chooses
    parameters, no group may begin behind a block's first micro-block, unless `by_block`: then those of all groups that
    begin in a block are chosen before it.
    """
    from bitlaw.kernels.gptq_block import quantize_block

    rows = grids.row_grids([s.grid for s in stacks], [s.rows.stop - s.rows.start for s in stacks], rest.device)
    done = torch.empty_like(rest)
    packed = [s.grid.pack(s.static) for s in stacks if s.static is not None]
    static = torch.cat(packed).permute(1, 2, 0)[None].contiguous() if packed else None
    group_of: torch.Tensor | None = None
    last = torch.empty(0)
    for start, stop in ranges:
        starting = [place for place in range(start, stop) if place in groups]
        whole = bool(starting) and groups[starting[-1]] <= stop and chosen_inside([(start, stop)], groups)
        given, width = static, stop - start
        if static is None and not by_block and whole and rows.family.choice != grids.GIVEN:
            width = groups[starting[0]] - starting[0]
        elif static is None:
            assert by_block or all(place < start + micro_block for place in starting), "a group begins behind its block"
            made = [_chosen(rest[:, place : groups[place]], stacks) for place in starting]
            given = torch.stack(made if start in groups else [last, *made], 1)
            last = given[:, -1]
        if given is not None and group_of is None:
            begun = _begun(ranges, groups) if static is None else stored_group
            group_of = grids.on_device(tuple(begun), torch.int32, rest.device)
        errors = quantize_block(
            rest[:, start:stop],
            factors[:, start:stop, start:stop],
            width,
            rows,
            done[:, start:stop],
            cell=min(micro_block, stop - start),
            given=given,
            group_of=None if group_of is None else group_of[start:stop],
        )
        rest[:, stop:].baddbmm_(factors[:, start:stop, stop:].transpose(1, 2), errors, alpha=-1.0)
    return done


def _begun(ranges: Sequence[tuple[int, int]], groups: Mapping[int, int]) -> list[int]:
    """Return which of the parameters given for its block each column has: 0 is the group that the block begins in."""
    made: list[int] = []
    for start, stop in ranges:
        number = 0
        for place in range(start, stop):
            number += place in groups and place != start
            made.append(number)
    return made


def _chosen(whole: torch.Tensor, stacks: Sequence[Stack]) -> torch.Tensor:
    """Return what each format chooses for a group. whole [dampings, columns, rows] -> [dampings, p, rows]."""
    made = [s.grid.pack(s.format.parameters(whole[:, :, s.rows].transpose(1, 2).contiguous())) for s in stacks]
    return torch.cat([parameters.transpose(1, 2) for parameters in made], 2)
