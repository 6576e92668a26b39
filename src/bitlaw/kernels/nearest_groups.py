"""Rounding to nearest, fused: parameters chosen, weights rounded and written as real numbers in one launch a matrix.

A program takes a few groups as a tile, or one group wider than a tile in two walks over it: its extent, then its values (the
second walk reads from the cache). A search over shrunk ranges goes over a tile in registers. What torch must choose
(`grids.GIVEN`) is read instead. The numbers are those of `formats.quantize_groups`, bit by bit.
"""

from __future__ import annotations

import dataclasses

import torch
import triton
import triton.language as tl

from bitlaw.formats.scale_rules import COARSE, FINE
from bitlaw.kernels import grids
from bitlaw.kernels.grids import Family, Grid
from bitlaw.kernels.rounding import CODEBOOK, GIVEN, chosen, extent, limits, searched, to_grid, unless_broken

TILE = 2048
"""Weights of a program of four warps where groups are narrow."""
WIDEST_TILE = 4096
"""Wider groups are walked in pieces."""


@triton.jit
def _groups(
    weight, out, given, facts, table, tries,
    columns, per_row, groups, weight_row, out_row,
    WIDTH: tl.constexpr, PIECE: tl.constexpr, GROUPS: tl.constexpr, WHOLE_TILES: tl.constexpr,
    CHOICE: tl.constexpr, ROUNDING: tl.constexpr, AWAY: tl.constexpr, LEVELS: tl.constexpr, PARAMETERS: tl.constexpr,
    SEARCH: tl.constexpr, COARSE: tl.constexpr, TRIES: tl.constexpr, CHOOSE_ONLY: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    there = group < groups
    group = tl.minimum(group, groups - 1)
    row = (group // per_row).to(tl.int64)
    first = (group % per_row) * WIDTH
    count = tl.minimum(columns - first, WIDTH)
    source = weight + (row * weight_row + first)[:, None]
    target = out + (row * out_row + first)[:, None]
    column = tl.arange(0, PIECE)[None, :]
    mine = facts + group * 0
    entries = table + group * 0
    if ROUNDING == CODEBOOK:
        entries = given + group.to(tl.int64) * PARAMETERS
    a = tl.full((GROUPS,), 1.0, tl.float32)
    b = tl.full((GROUPS,), 0.0, tl.float32)
    largest = tl.load(facts)
    smallest = tl.load(facts + 1)
    magnet = tl.load(facts + 2)
    step = tl.load(facts + 3)
    inside = there[:, None] & (WHOLE_TILES | (column < count[:, None]))
    x = tl.load(source + column, mask=inside, other=0.0).to(tl.float32)
    if CHOICE == GIVEN:
        if ROUNDING != CODEBOOK:
            a = tl.load(given + group.to(tl.int64) * PARAMETERS)
            b = tl.load(given + group.to(tl.int64) * PARAMETERS + 1)
    else:
        low, high, bits, total = extent(x, inside, CHOICE)
        for start in range(PIECE, WIDTH, PIECE):
            more = there[:, None] & (WHOLE_TILES | (start + column < count[:, None]))
            piece = tl.load(source + start + column, mask=more, other=0.0).to(tl.float32)
            lowest, highest, most, sum = extent(piece, more, CHOICE)
            low = tl.minimum(low, lowest)
            high = tl.maximum(high, highest)
            bits = tl.maximum(bits, most)
            total += sum
        if SEARCH:
            low, high = limits(low, high, bits, mine, CHOICE)
            a, b = searched(
                x,
                inside,
                low,
                high,
                tries,
                largest,
                smallest,
                magnet,
                step,
                mine,
                CHOICE,
                ROUNDING,
                AWAY,
                COARSE,
                TRIES,
            )
            a = unless_broken(a, bits)
        else:
            a, b = chosen(low, high, bits, total, count, mine, CHOICE)
    if CHOOSE_ONLY:
        place = out + group.to(tl.int64) * 2
        tl.store(place, a, mask=there)
        tl.store(place + 1, b, mask=there)
    else:
        value = to_grid(
            x, a[:, None], b[:, None], entries[:, None], 1, largest, smallest, magnet, step, ROUNDING, AWAY, LEVELS
        )
        tl.store(target + column, value, mask=inside)
        for start in range(PIECE, WIDTH, PIECE):
            more = there[:, None] & (WHOLE_TILES | (start + column < count[:, None]))
            piece = tl.load(source + start + column, mask=more, other=0.0).to(tl.float32)
            value = to_grid(
                piece,
                a[:, None],
                b[:, None],
                entries[:, None],
                1,
                largest,
                smallest,
                magnet,
                step,
                ROUNDING,
                AWAY,
                LEVELS,
            )
            tl.store(target + start + column, value, mask=more)


def constants(family: Family, columns: int, width: int, *, choose_only: bool = False) -> dict[str, object]:
    """Return what a launch is compiled for: a family, and whether tiles are filled by groups of this width in a row."""
    piece = min(triton.next_power_of_2(width), WIDEST_TILE)
    return {
        "WIDTH": width,
        "PIECE": piece,
        "GROUPS": max(TILE // piece, 1),
        "WHOLE_TILES": columns % width == 0 and width % piece == 0,
        "CHOICE": family.choice,
        "ROUNDING": family.rounding,
        "AWAY": family.away,
        "LEVELS": family.entries.bit_length() - 1,
        "PARAMETERS": family.parameters,
        "SEARCH": family.search,
        "COARSE": len(COARSE),
        "TRIES": len(COARSE) + len(FINE),
        "CHOOSE_ONLY": choose_only,
    }


def choosing(grid: Grid, width: int) -> Family:
    """Return the family whose choice the kernel makes for groups of that width; GIVEN where torch has to.

    A search keeps its group in registers, so it ends where a tile does.
    """
    return grid.searched if grid.searched is not None and width <= WIDEST_TILE else grid.family


def round_groups(weight: torch.Tensor, grid: Grid, width: int, given: torch.Tensor | None = None) -> torch.Tensor:
    """Return every weight as the nearest value of its group's grid. weight [rows, columns], not empty -> same shape, dtype.

    float32, bfloat16 or float16, a row contiguous; width is the group's, the last of a row may be shorter. given
    [rows, groups of a row, p] float32 contiguous: parameters (`Grid.pack`), where the choice is GIVEN or anyhow.
    """
    out = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
    family = choosing(grid, width)
    if given is not None:
        family = dataclasses.replace(family, choice=grids.GIVEN, search=False)
    _launch(weight, out, grid, width, family, given)
    return out


def choose_parameters(weight: torch.Tensor, grid: Grid, width: int) -> torch.Tensor:
    """Return what the kernel chooses for every group, [rows, groups of a row, 2] float32 (`Grid.unpack`); as `round_groups`."""
    rows, columns = weight.shape
    out = torch.empty((rows, triton.cdiv(columns, width), 2), dtype=torch.float32, device=weight.device)
    _launch(weight, out, grid, width, choosing(grid, width), None, choose_only=True)
    return out


def _launch(
    weight: torch.Tensor,
    out: torch.Tensor,
    grid: Grid,
    width: int,
    family: Family,
    given: torch.Tensor | None,
    *,
    choose_only: bool = False,
) -> None:
    rows, columns = weight.shape
    described = grids.row_grids([grid], [1], weight.device)
    per_row = triton.cdiv(columns, width)
    compiled = constants(family, columns, width, choose_only=choose_only)
    with torch.cuda.device_of(weight):  # Triton launches on the current GPU, whatever the tensors' is
        _groups[(triton.cdiv(rows * per_row, compiled["GROUPS"]),)](
            weight,
            out,
            described.facts if given is None else given,
            described.facts,
            described.table,
            grids.on_device((*COARSE, *FINE), torch.float32, weight.device),
            columns,
            per_row,
            rows * per_row,
            weight.stride(0),
            out.stride(0),
            **compiled,
            enable_fp_fusion=False,  # errors that a search compares are those of the rounded values
        )
