"""Speed of rounding to nearest on one core: million weights a second for every format, or for the names given.

Run with OMP_NUM_THREADS=1; the best of some repeats on a 2048 x 2048 float32 weight, parameters included. The last two
columns are for GPTQ: microseconds to round one column of 2048 rows, and to choose the parameters of one group. Times are
CPU time of this process, so other work on the machine counts only where it shares caches and memory.
"""

import sys
import time
from collections.abc import Callable

import torch

from bitlaw import catalog
from bitlaw.formats import group_width, parse_format, quantize_groups

ROWS = COLUMNS = 2048
REPEATS = 15


def best_seconds(run: Callable[..., object], *given: object) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        run(*given)
        seconds.append(time.process_time() - start)
    return min(seconds)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    weight = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    print(f"{'format':32}{'M weights/s':>12}{'us a column':>13}{'us a group':>12}")
    for name in names or dict.fromkeys(n for e in catalog.FORMATS.values() for n in e.load().examples()):
        grid = parse_format(name)
        quantize_groups(weight[:64], grid)
        whole = best_seconds(quantize_groups, weight, grid)
        bound = grid.prepare(weight)
        group = weight[:, : group_width(COLUMNS, grid)]
        parameters, one = bound.parameters(group), weight[:, :1].contiguous()
        column = best_seconds(bound.round, one, parameters)
        chosen = best_seconds(bound.parameters, group)
        print(f"{name:32}{weight.numel() / whole / 1e6:12.0f}{column * 1e6:13.0f}{chosen * 1e6:12.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
