"""GPTQ's column loop for integer grids: one launch quantizes a block of columns of any number of rows.

Rows are independent given the factor, so a program takes a few rows, keeps their whole block in registers and walks its
columns: round one, divide its error by the factor's diagonal, subtract the error's share from the columns after it.
Rows may belong to different variants of one layer: the highest code and the symmetry are read per row.

The arithmetic is that of `quantize.gptq` with `formats.integer`: IEEE division, ties to even. Only the order in which a
fused multiply-add rounds may differ.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Adding and taking away 1.5 * 2^23 leaves a float32 below 2^22 rounded to nearest, ties to even.
_ROUNDER = tl.constexpr(12582912.0)
_LARGEST = tl.constexpr(2097152.0)


@triton.jit
def _round_to_even(x):
    clipped = tl.minimum(tl.maximum(x, -_LARGEST), _LARGEST)
    return (clipped + _ROUNDER) - _ROUNDER


@triton.jit
def _columns(
    block, factor, parameters, highest, symmetric, values, errors,
    rows, factor_stride,
    COLUMNS: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, DYNAMIC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, PADDED)
    there = row < rows
    inside = there[:, None] & (column < COLUMNS)[None, :]
    tile = tl.load(block + column[None, :] * rows + row[:, None], mask=inside, other=0.0)
    top = tl.load(highest + row, mask=there, other=1.0)
    even = tl.load(symmetric + row, mask=there, other=0) != 0
    scale = tl.full((ROWS,), 1.0, tl.float32)
    zero = tl.full((ROWS,), 0.0, tl.float32)
    for j in range(COLUMNS):
        if j % WIDTH == 0:
            if DYNAMIC:
                group = (column >= j) & (column < j + WIDTH)
                kept = tl.where(group[None, :], tile, 0.0)
                hi = tl.max(kept, axis=1)
                lo = tl.min(kept, axis=1)
                largest = tl.maximum(hi, -lo)
                hi = tl.where(even, largest, hi)
                lo = tl.where(even, -largest, lo)
                empty = hi == lo
                hi = tl.where(empty, 1.0, hi)
                lo = tl.where(empty, -1.0, lo)
                scale = tl.div_rn(hi - lo, top)
                zero = tl.where(even, (top + 1.0) * 0.5, _round_to_even(tl.div_rn(-lo, scale)))
            else:
                place = parameters + (j // WIDTH) * 2 * rows
                scale = tl.load(place + row, mask=there, other=1.0)
                zero = tl.load(place + rows + row, mask=there, other=0.0)
        weight = tl.sum(tl.where((column == j)[None, :], tile, 0.0), axis=1)
        code = tl.minimum(tl.maximum(_round_to_even(tl.div_rn(weight, scale)) + zero, 0.0), top)
        value = (code - zero) * scale
        later = tl.load(factor + j * factor_stride + column, mask=(column > j) & (column < COLUMNS), other=0.0)
        error = tl.div_rn(weight - value, tl.load(factor + j * factor_stride + j))
        tile = tile - error[:, None] * later[None, :]
        tl.store(values + j * rows + row, value, mask=there)
        tl.store(errors + j * rows + row, error, mask=there)


FULL = 1536
"""Programs of one warp that keep a GPU of 132 multiprocessors busy (benchmarks/gptq_kernel_gpu.py)."""


def launch(rows: int) -> tuple[int, int]:
    """Return rows a program and warps: one warp, and as many rows of up to 16 as leave programs enough for the GPU."""
    return min(triton.next_power_of_2(max(rows // FULL, 1)), 16), 1


def quantize_block(
    block: torch.Tensor,
    factor: torch.Tensor,
    width: int,
    highest: torch.Tensor,
    symmetric: torch.Tensor,
    parameters: torch.Tensor | None = None,
    *,
    rows_per_program: int = 0,
    warps: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a block of columns; return values and errors divided by the factor's diagonal, both [columns, rows].

    block [columns, rows] float32, a column contiguous, columns <= 256, a group starting at its first column; factor
    [columns, columns], upper triangular, any row stride; width is the group's, at most the block's columns or a group
    that spans it; highest [rows] float32 is the highest code and symmetric [rows] int8 the symmetry of each row.
    parameters [groups, 2, rows] are scale and zero point where they are given (static, or groups wider than the
    block); without them they are chosen from the group as updated so far. `block` is not changed.
    """
    columns, rows = block.shape
    if not rows_per_program or not warps:
        rows_per_program, warps = launch(rows)
    values, errors = torch.empty_like(block), torch.empty_like(block)
    _columns[(triton.cdiv(rows, rows_per_program),)](
        block,
        factor,
        block if parameters is None else parameters,
        highest,
        symmetric,
        values,
        errors,
        rows,
        factor.stride(0),
        COLUMNS=columns,
        WIDTH=width,
        PADDED=triton.next_power_of_2(columns),
        ROWS=rows_per_program,
        DYNAMIC=parameters is None,
        num_warps=warps,
    )
    return values, errors
