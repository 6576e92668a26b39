"""A search over dampings side by side: the loop of columns.py with a leading dimension of dampings, and the choice among them.

A search solves the same layer for eight factors. Rows of different dampings never meet, so the eight walk over the columns
together, in batched products: an eighth of the launches, which is what a small layer on a GPU waits for. Where the column
kernel serves (`stacked`), it takes the dampings too and this loop is its oracle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from bitlaw.formats import Format
from bitlaw.quantize.arrangement import Arrangement, blocks, units
from bitlaw.quantize.error import row_errors

NUMBERS_AT_ONCE = 1 << 30
"""Numbers in a table of weights of all dampings: above it (4 GiB) they go one after the other."""


def small(weight: torch.Tensor, dampings: int) -> bool:
    """Whether the weights of so many dampings are few enough to be there at once."""
    return dampings * weight.numel() <= NUMBERS_AT_ONCE


def serves(weight: torch.Tensor, micro_block: int) -> bool:
    """Whether `solve_dampings` is the way: on a GPU, for micro-blocks (whose scales are chosen on the way)."""
    return weight.is_cuda and micro_block > 1


def best_of(tried: torch.Tensor, weights: Sequence[torch.Tensor], hessian: torch.Tensor) -> list[torch.Tensor]:
    """Return of each weight [out_i, in] the try with the least output error, the first where equal.

    tried [dampings, sum of out_i, in]: the weights one below the other; hessian [in, in], the mean of x^T x.
    """
    sizes = [len(weight) for weight in weights]
    whole = torch.cat(list(weights))
    of_rows = torch.stack([row_errors(one - whole, hessian) for one in tried]).double()
    errors = torch.stack(
        [part.sum(-1) for part in torch.split(of_rows, sizes, -1)]
    ).tolist()  # the host waits once for all
    best = []
    for made, of_made in zip(torch.split(tried, sizes, 1), errors, strict=True):
        finite = [error if math.isfinite(error) else math.inf for error in of_made]
        best.append(made[finite.index(min(finite))].clone())
    return best


def solve_dampings(
    weight: torch.Tensor,
    factor: torch.Tensor,
    arrangement: Arrangement,
    format: Format,
    *,
    micro_block: int,
    block_size: int = 128,
) -> torch.Tensor:
    """Return the weight quantized with each factor. weight [out, in] float32, factor [dampings, in, in] -> [dampings, out, in].

    Each is what `solve_columns` gives with that factor; format is bound to the weight (`prepare`).
    """
    rest = arrangement.placed(weight).expand(len(factor), -1, -1).clone(memory_format=torch.contiguous_format)
    done = torch.empty_like(rest)
    group_stop = dict(arrangement.groups)
    parameters = torch.empty(0)
    for cells in blocks(units(arrangement.groups, micro_block), block_size):
        start, stop = cells[0][0], cells[-1][1]
        errors = torch.empty_like(rest[:, start:stop])
        for first, last in cells:
            parameters = _round(rest, done, first, last, group_stop, parameters, format)
            corner = factor[:, first:last, first:last]
            difference = rest[:, first:last] - done[:, first:last]
            moved = torch.linalg.solve_triangular(corner.transpose(1, 2), difference, upper=False)
            errors[:, first - start : last - start] = moved
            rest[:, last:stop].baddbmm_(factor[:, first:last, last:stop].transpose(1, 2), moved, alpha=-1.0)
        rest[:, stop:].baddbmm_(factor[:, start:stop, stop:].transpose(1, 2), errors, alpha=-1.0)
    return arrangement.stored(done)


def _round(
    rest: torch.Tensor,
    done: torch.Tensor,
    first: int,
    last: int,
    group_stop: dict[int, int],
    parameters: torch.Tensor,
    format: Format,
) -> torch.Tensor:
    """Round places first .. last of `rest` into `done`, [dampings, in, out]; return the parameters in force behind them."""
    place = first
    while place < last:
        if place in group_stop:
            parameters = format.parameters(rest[:, place : group_stop[place]].transpose(1, 2).contiguous())
        end = next((p for p in range(place + 1, last) if p in group_stop), last)
        done[:, place:end] = format.round(rest[:, place:end].transpose(1, 2), parameters).transpose(1, 2)
        place = end
    return parameters
