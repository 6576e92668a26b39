"""GPTQ of several weights and dampings in one walk over the columns, on a GPU: all of them are rows of one table.

Same arithmetic as `columns.solve_columns`, in the kernel of `kernels.gptq_block`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from bitlaw.formats import Format
from bitlaw.kernels import grids
from bitlaw.kernels.gptq_columns import WIDEST_BLOCK, Stack, chosen_inside, family, solve_on_gpu
from bitlaw.quantize.arrangement import Arrangement, blocks, units


def stackable(
    weight: torch.Tensor,
    format: Format,
    arrangement: Arrangement,
    *,
    static: bool = False,
    micro_block: int = 1,
    block_size: int = 128,
    by_block: bool = False,
) -> grids.Family | None:
    """Return the family whose members `solve_stacked` takes together, None where torch does the work.

    weight [out, in]; the format's groups are the arrangement's; static: parameters are those of the stored groups.
    """
    found = family(format, weight)
    if found is None:
        return None
    at_hand = static or found.choice != grids.GIVEN
    ranges = _ranges(len(arrangement.order), tuple(arrangement.groups), at_hand, micro_block, block_size, by_block)
    return None if any(stop - start > WIDEST_BLOCK for start, stop in ranges) else found


def solve_stacked(
    weights: Sequence[torch.Tensor],
    formats: Sequence[Format],
    factors: torch.Tensor,
    arrangement: Arrangement,
    *,
    statics: Sequence[torch.Tensor | None],
    micro_block: int = 1,
    block_size: int = 128,
    by_block: bool = False,
) -> torch.Tensor:
    """Return the weights, one below the other, quantized column by column with each factor, [factors, sum of out_i, in].

    weights [out_i, in] float32 read the same input; factors [factors, in, in] are those of different dampings. Layers
    and formats may be mixed, as long as all are `stackable` in this arrangement, of one family, and all are static or none is.
    statics [out_i, groups, p]: parameters of the stored groups.
    """
    stacks, first = [], 0
    for weight, format, static in zip(weights, formats, statics, strict=True):
        grid = grids.grid_of(format, weight)
        assert grid is not None, f"{format.name} is not stackable"
        rows = slice(first, first + len(weight))
        stacks.append(Stack(rows=rows, format=format.prepare(weight), grid=grid, static=static))
        first = rows.stop
    at_hand = stacks[0].static is not None or stacks[0].grid.family.choice != grids.GIVEN
    rest = torch.cat([arrangement.placed(weight) for weight in weights], 1)
    done = solve_on_gpu(
        rest.expand(len(factors), -1, -1).contiguous(),
        factors,
        _ranges(len(arrangement.order), tuple(arrangement.groups), at_hand, micro_block, block_size, by_block),
        dict(arrangement.groups),
        stacks,
        arrangement.stored_group,
        micro_block=micro_block,
        by_block=by_block,
    )
    return arrangement.stored(done)


@lru_cache(maxsize=256)
def _ranges(
    columns: int,
    groups: tuple[tuple[int, int], ...],
    at_hand: bool,
    micro_block: int,
    block_size: int,
    by_block: bool,
) -> list[tuple[int, int]]:
    """Return the (start, stop) of the blocks that a launch takes; the same for every layer of that shape, so kept.

    Where parameters are not `at_hand` within a launch (torch chooses them on the way), or groups or micro-blocks in a block
    are not alike, a block is what must be updated together and no more, so that all is chosen before the launch.
    """
    if by_block:
        return [(start, min(start + block_size, columns)) for start in range(0, columns, block_size)]
    cells = units(list(groups), micro_block)
    batches = blocks(cells, block_size)
    ranges = [(batch[0][0], batch[-1][1]) for batch in batches]
    even = all(stop - start == micro_block for batch in batches for start, stop in batch[:-1])
    if at_hand and even and chosen_inside(ranges, dict(groups)):
        return ranges
    widest = max(unit[-1][1] - unit[0][0] for unit in cells)
    return [(batch[0][0], batch[-1][1]) for batch in blocks(cells, min(block_size, widest))]
