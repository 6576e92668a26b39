"""Microseconds of one launch of the GPTQ block kernel, by rows and warps a program, and of the product behind it.

python benchmarks/gptq_kernel_gpu.py [FORMAT[:MICRO_BLOCK] ...]        (default int4_g128 mxint4_k16:16 mxfp4_e2m1_k128:128)
"""

import sys
from collections.abc import Callable
from functools import partial

import torch

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.formats import parse_format
from bitlaw.kernels import grids
from bitlaw.kernels.gptq_block import launch, quantize_block

COLUMNS = 128
REPEATS = 20


def one_launch(name: str, rows: int, cell: int) -> Callable[..., torch.Tensor]:
    """Return a call of the kernel on random columns; it takes rows_per_program and warps."""
    generator = torch.Generator("cuda").manual_seed(0)
    factor = torch.triu(0.02 * torch.randn(COLUMNS, COLUMNS, device="cuda", generator=generator), diagonal=1)
    factor += torch.eye(COLUMNS, device="cuda")
    block = torch.randn(COLUMNS, rows, device="cuda", generator=generator)
    format = parse_format(name)
    grid = grids.grid_of(format, block)
    assert grid is not None, f"{name} is a format without a kernel"
    width = format.group_size or COLUMNS
    given, group_of = None, None
    if grid.family.choice == grids.GIVEN:
        width = min(width, COLUMNS)
        chosen = format.prepare(block).parameters(block.T.reshape(rows, -1, width))
        given = grid.pack(chosen).permute(1, 2, 0)[None].contiguous()
        group_of = (torch.arange(COLUMNS, device="cuda") // width).int()
    return partial(
        quantize_block,
        block[None],
        factor[None],
        width,
        grids.row_grids([grid], [rows], block.device),
        torch.empty_like(block)[None],
        cell=cell,
        given=given,
        group_of=group_of,
    )


def microseconds(work: Callable[..., torch.Tensor], repeats: int = REPEATS) -> float:
    """Return the time of one call, the first not counted."""
    work()
    return shapes.seconds(lambda: [work() for _ in range(repeats)]) / repeats * 1e6


def launches(name: str, rows: int, cell: int) -> list[tuple[float, int, int]]:
    """Return (microseconds, rows a program, warps) of every way to launch, best first."""
    work = one_launch(name, rows, cell)
    ways = [(per_program, warps) for per_program in (1, 2, 4, 8, 16) for warps in (1, 2, 4)]
    return sorted((microseconds(partial(work, rows_per_program=way[0], warps=way[1])), *way) for way in ways)


def product(rows: int) -> float:
    """Return the microseconds of one update of 4096 later columns."""
    rest = torch.randn(4096, rows, device="cuda")
    errors = torch.randn(COLUMNS, rows, device="cuda")
    later = torch.randn(COLUMNS, len(rest), device="cuda")
    return microseconds(lambda: rest.addmm_(later.T, errors, alpha=-1.0), 5)


def main() -> None:
    print(shapes.environment())
    for asked in sys.argv[1:] or ["int4_g128", "mxint4_k16:16", "mxfp4_e2m1_k128:128"]:
        name, _, micro_block = asked.partition(":")
        cell = int(micro_block or 1)
        for rows in (2048, 6144, 24576, 114688):
            best = launches(name, rows, cell)
            told = ", ".join(
                f"{took:.0f} us ({per_program} rows, {warps} warps)" for took, per_program, warps in best[:4]
            )
            default = next(took for took, *way in best if tuple(way) == launch(rows, cell))
            print(f"{rows} rows of {name}, {cell} at once: {told}; as chosen {default:.0f} us", flush=True)
    for rows in (2048, 6144, 24576, 114688):
        print(f"{rows} rows: product of 4096 later columns {product(rows):.0f} us", flush=True)


if __name__ == "__main__":
    main()
