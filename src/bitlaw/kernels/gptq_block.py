"""GPTQ's column loop: one launch quantizes a block of columns of any number of rows, for several dampings.

Rows are independent given the factor, so a program takes a few rows, keeps their whole block in registers and walks its
columns: round, divide the error by the factor's diagonal, subtract the error's share from the columns after it. With
micro-blocks, a cell of columns is rounded at once and its columns replaced by what rounding took away; the walk then is the
forward substitution e_j = (d_j - sum_{i<j} e_i U_ij) / U_jj. Rows may belong to different layers and formats of one family
(`grids`), whose numbers are read per row; the second axis of programs is the damping, which has a factor of its own.

The arithmetic is that of `quantize.columns` with `formats`: IEEE division, the format's ties. Only the order in which a
fused multiply-add rounds may differ.
"""

from __future__ import annotations

import dataclasses

import torch
import triton
import triton.language as tl

from bitlaw.kernels import grids
from bitlaw.kernels.grids import Family, RowGrids
from bitlaw.kernels.rounding import CODEBOOK, FACTS, GIVEN, chosen, extent, to_grid


@triton.jit
def _columns(
    block, factor, given, group_of, kinds, facts, table, values, errors,
    rows, block_batch, factor_row, factor_batch, given_batch, values_batch, errors_batch,
    COLUMNS: tl.constexpr, WIDTH: tl.constexpr, CELL: tl.constexpr, STEP: tl.constexpr, PADDED: tl.constexpr,
    ROWS: tl.constexpr, CHOICE: tl.constexpr, ROUNDING: tl.constexpr, AWAY: tl.constexpr, LEVELS: tl.constexpr,
    PARAMETERS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(1).to(tl.int64)
    block += batch * block_batch
    factor += batch * factor_batch
    given += batch * given_batch
    values += batch * values_batch
    errors += batch * errors_batch
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = row < rows
    row = tl.minimum(row, rows - 1)
    column = tl.arange(0, PADDED)
    valid = column < COLUMNS
    at = column[None, :] * rows + row[:, None]
    tile = tl.load(block + at, mask=valid[None, :], other=0.0)
    kind = tl.load(kinds + row)
    grid = facts + kind * FACTS
    largest = tl.load(grid)
    smallest = tl.load(grid + 1)
    magnet = tl.load(grid + 2)
    unit = tl.load(grid + 3)
    entries = table + (kind << LEVELS)
    a = tl.full((ROWS,), 1.0, tl.float32)
    b = tl.full((ROWS,), 0.0, tl.float32)
    for j in range(COLUMNS):
        if CELL == 1:
            stride = 1
            if CHOICE == GIVEN:
                place = given + tl.load(group_of + j).to(tl.int64) * (PARAMETERS * rows) + row
                if ROUNDING == CODEBOOK:
                    entries = place
                    stride = rows
                else:
                    a = tl.load(place)
                    b = tl.load(place + rows)
            else:
                if j % WIDTH == 0:
                    group = valid & (column >= j) & (column < j + WIDTH)
                    low, high, bits, total = extent(tile, group[None, :], CHOICE)
                    a, b = chosen(low, high, bits, total, tl.minimum(COLUMNS - j, WIDTH), grid, CHOICE)
            weight = tl.sum(tl.where((column == j)[None, :], tile, 0.0), axis=1)
            value = to_grid(weight, a, b, entries, stride, largest, smallest, magnet, unit, ROUNDING, AWAY, LEVELS)
            tl.store(values + j * rows + row, value, mask=there)
            difference = weight - value
        else:
            if j % CELL == 0:
                for first in range(j, j + CELL, STEP):
                    part = valid & (column >= first) & (column < first + STEP)
                    spot = entries[:, None]
                    stride = 1
                    if CHOICE == GIVEN:
                        number = tl.load(group_of + column, mask=valid, other=0).to(tl.int64)
                        place = given + number[None, :] * (PARAMETERS * rows) + row[:, None]
                        if ROUNDING == CODEBOOK:
                            spot = place
                            stride = rows
                            scale = a[:, None]
                            other = b[:, None]
                        else:
                            scale = tl.load(place)
                            other = tl.load(place + rows)
                    else:
                        if first % WIDTH == 0:
                            group = valid & (column >= first) & (column < first + WIDTH)
                            low, high, bits, total = extent(tile, group[None, :], CHOICE)
                            a, b = chosen(low, high, bits, total, tl.minimum(COLUMNS - first, WIDTH), grid, CHOICE)
                        scale = a[:, None]
                        other = b[:, None]
                    value = to_grid(
                        tile, scale, other, spot, stride,
                        largest[:, None], smallest[:, None], magnet[:, None], unit[:, None], ROUNDING, AWAY, LEVELS,
                    )  # fmt: skip
                    tl.store(values + at, value, mask=there[:, None] & part[None, :])
                    tile = tl.where(part[None, :], tile - value, tile)
            difference = tl.sum(tl.where((column == j)[None, :], tile, 0.0), axis=1)
        later = tl.load(factor + j * factor_row + column, mask=(column > j) & valid, other=0.0)
        error = tl.div_rn(difference, tl.load(factor + j * factor_row + j))
        tile = tile - error[:, None] * later[None, :]
        tl.store(errors + j * rows + row, error, mask=there)


FULL = 1536
"""Programs of one warp that keep a GPU of 132 multiprocessors busy (benchmarks/gptq_kernel_gpu.py)."""


def launch(rows: int, cell: int = 1, columns: int = 128) -> tuple[int, int]:
    """Return rows a program and warps: one warp, and as many rows as leave programs enough for the GPU.

    At most 16 of 128 columns; 8 where a cell of several columns is rounded at once, which takes more registers; fewer of
    more columns.
    """
    most = (16 if cell == 1 else 8) * 128 // max(triton.next_power_of_2(columns), 128)
    return min(triton.next_power_of_2(max(rows // FULL, 1)), most), 1


def constants(family: Family, columns: int, width: int, cell: int, *, rows: int) -> dict[str, object]:
    """Return what a launch is compiled for: a family, the columns of a block, of a group and of a cell, rows a program."""
    return {
        "COLUMNS": columns,
        "WIDTH": width,
        "CELL": cell,
        "STEP": cell if family.choice == grids.GIVEN else min(cell, width),
        "PADDED": max(triton.next_power_of_2(columns), 16),
        "ROWS": rows,
        "CHOICE": family.choice,
        "ROUNDING": family.rounding,
        "AWAY": family.away,
        "LEVELS": family.entries.bit_length() - 1,
        "PARAMETERS": family.parameters,
    }


def quantize_block(
    block: torch.Tensor,
    factor: torch.Tensor,
    width: int,
    rows: RowGrids,
    values: torch.Tensor,
    *,
    cell: int = 1,
    given: torch.Tensor | None = None,
    group_of: torch.Tensor | None = None,
    rows_per_program: int = 0,
    warps: int = 0,
) -> torch.Tensor:
    """Quantize a block of columns into `values`; return the errors divided by the factor's diagonal.

    block, values and errors [dampings, columns, rows] float32, rows contiguous, columns <= 256, a group starting at the
    first column; factor [dampings, columns, columns], upper triangular, any strides; width is the group's, cell the number
    of columns rounded at once, one of them a multiple of the other. given [dampings or 1, groups, p, rows] are parameters
    (`Grid.pack`) and group_of [columns] int32 the group of each column where torch chose them; without them they are
    chosen from the groups as updated so far. `block` is not changed.
    """
    dampings, columns, count = block.shape
    family = rows.family if given is None else dataclasses.replace(rows.family, choice=grids.GIVEN)
    if not rows_per_program or not warps:
        rows_per_program, warps = launch(dampings * count, cell, columns)
    errors = torch.empty((dampings, columns, count), dtype=torch.float32, device=block.device)
    with torch.cuda.device_of(block):  # Triton launches on the current GPU, whatever the tensors' is
        _columns[(triton.cdiv(count, rows_per_program), dampings)](
            block,
            factor,
            block if given is None else given,
            rows.kinds if group_of is None else group_of,
            rows.kinds,
            rows.facts,
            rows.table,
            values,
            errors,
            count,
            block.stride(0),
            factor.stride(1),
            factor.stride(0),
            0 if given is None or len(given) == 1 else given.stride(0),
            values.stride(0),
            errors.stride(0),
            **constants(family, columns, width, cell, rows=rows_per_program),
            num_warps=warps,
        )
    return errors
