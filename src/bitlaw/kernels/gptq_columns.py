"""GPTQ's whole column loop on a GPU: a kernel for each block of columns, one matrix product for the columns behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch

from bitlaw.formats import Format
from bitlaw.formats.integer import IntegerFormat
from bitlaw.kernels import available

WIDEST_BLOCK = 256  # columns that a program keeps in registers


def serves(
    format: Format, device: torch.device, blocks: Sequence[tuple[int, int]], groups: Mapping[int, int]
) -> TypeGuard[IntegerFormat]:
    """Whether `solve_on_gpu` does exactly what the torch loop does for this format and these groups, here.

    Within a block only the last group may be shorter than the others.
    """
    if not (available(device) and isinstance(format, IntegerFormat) and format.rule == "absmax"):
        return False
    if format.per_tensor or any(stop - start > WIDEST_BLOCK for start, stop in blocks):
        return False
    for start, stop in blocks:
        widths = [min(groups[place], stop) - place for place in range(start, stop) if place in groups]
        if any(width != widths[0] for width in widths[:-1]) or (widths and widths[-1] > widths[0]):
            return False
    return True


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One variant of one layer in a stack of columns: which rows are its own, its grid, and its parameters if static.

    static [rows, groups, 2] are parameters of the stored groups; None chooses them on the way.
    """

    rows: slice
    format: IntegerFormat
    static: torch.Tensor | None = None


def solve_on_gpu(
    rest: torch.Tensor,
    factor: torch.Tensor,
    blocks: Sequence[tuple[int, int]],
    groups: Mapping[int, int],
    stacks: Sequence[Stack],
    stored_group: Sequence[int],
) -> torch.Tensor:
    """Return the quantized columns, [columns, rows]; `rest` [columns, rows] float32 is used up.

    blocks (start, stop) follow each other; groups maps the first column of a group to its end, for parameters chosen
    on the way; a block holds whole groups or lies inside one. The stacks cover the rows in order, all static or none;
    `stored_group` tells which stored group each column has.
    """
    from bitlaw.kernels.gptq_block import quantize_block

    counts = torch.tensor([s.rows.stop - s.rows.start for s in stacks])
    highest = torch.tensor([float(s.format.highest_code) for s in stacks]).repeat_interleave(counts).to(rest.device)
    symmetric = torch.tensor([int(s.format.symmetric) for s in stacks], dtype=torch.int8)
    symmetric = symmetric.repeat_interleave(counts).to(rest.device)
    statics = [s.static for s in stacks if s.static is not None]
    static = torch.cat(statics) if statics else None
    done = torch.empty_like(rest)
    inherited = torch.empty(0)
    for start, stop in blocks:
        parameters, width = None, stop - start
        if static is not None:
            parameters, width = static[:, stored_group[start:stop]].permute(1, 2, 0).contiguous(), 1
        elif start not in groups:
            parameters = inherited
        elif groups[start] > stop:
            whole = rest[start : groups[start]]
            chosen = [s.format.parameters(whole[:, s.rows].T).T for s in stacks]
            inherited = torch.cat(chosen, 1)[None].contiguous()
            parameters = inherited
        else:
            width = groups[start] - start
        block = rest[start:stop]
        corner = factor[start:stop, start:stop]
        done[start:stop], errors = quantize_block(block, corner, width, highest, symmetric, parameters)
        rest[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1.0)
    return done
