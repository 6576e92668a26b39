"""The column loop of GPTQ: columns in order, each rounded, its error moved to the columns after it.

With U upper triangular, U^T U = H^-1, columns quantized in order j = 0, 1, ...:

    one column      q_j = round(w_j)    e_j = (w_j - q_j) / U_jj         w_k -= e_j U_jk   for every k > j
    a micro-block   Q_J = round(W_J)    E_J = (W_J - Q_J) inv(U_JJ)      W_k -= E_J U_Jk   for every k after J

A micro-block of K columns is rounded at once, without compensation inside (arXiv 2410.12119, and the authors'
dmx-compressor): then a block format's shared scale sees the very weights it scales. K = 1 is GPTQ as published.
Rows never meet, so all are done at once; updates beyond a block of columns are one matrix product (lazy batches).
"""

from __future__ import annotations

import torch

from bitlaw.formats import Format
from bitlaw.quantize.arrangement import Arrangement, ColumnSettings, blocks, units
from bitlaw.quantize.stacked import solve_stacked, stackable


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
    settings: ColumnSettings = {"micro_block": micro_block, "block_size": block_size, "by_block": by_block}
    if drift is None and stackable(weight, format, arrangement, static=static is not None, **settings):
        return solve_stacked([weight], [format], factor[None], arrangement, statics=[static], **settings)[0]
    # Columns as rows: a column is contiguous, and the update of later columns is one rank-1 product.
    rest = arrangement.placed(weight).clone(memory_format=torch.contiguous_format)
    group_stop = dict(arrangement.groups)
    if by_block:
        batches = [
            [(column, column + 1) for column in range(start, min(start + block_size, len(rest)))]
            for start in range(0, len(rest), block_size)
        ]
    else:
        batches = blocks(units(arrangement.groups, micro_block), block_size)
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
    return arrangement.stored(done)


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
