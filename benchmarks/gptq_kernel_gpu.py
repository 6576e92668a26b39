"""Microseconds of one launch of the GPTQ block kernel, by rows and warps a program, and of the product behind it.

python benchmarks/gptq_kernel_gpu.py
"""

from functools import partial

import torch

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.kernels.gptq_block import launch, quantize_block

COLUMNS = 128


def launches(rows: int, width: int) -> list[tuple[float, int, int]]:
    """Return (microseconds, rows a program, warps) of every way to launch, best first."""
    generator = torch.Generator("cuda").manual_seed(0)
    factor = torch.triu(0.02 * torch.randn(COLUMNS, COLUMNS, device="cuda", generator=generator), diagonal=1)
    factor += torch.eye(COLUMNS, device="cuda")
    block = torch.randn(COLUMNS, rows, device="cuda", generator=generator)
    highest = torch.full((rows,), 15.0, device="cuda")
    symmetric = torch.zeros(rows, dtype=torch.int8, device="cuda")

    def work(per_program: int, warps: int) -> None:
        for _ in range(20):
            quantize_block(block, factor, width, highest, symmetric, rows_per_program=per_program, warps=warps)

    ways = [(per_program, warps) for per_program in (1, 2, 4, 8, 16, 32) for warps in (1, 2, 4)]
    for way in ways:
        work(*way)
    return sorted((shapes.seconds(partial(work, *way)) / 20 * 1e6, *way) for way in ways)


def product(rows: int) -> float:
    """Return the microseconds of one update of 4096 later columns."""
    rest = torch.randn(4096, rows, device="cuda")
    errors = torch.randn(COLUMNS, rows, device="cuda")
    later = torch.randn(COLUMNS, len(rest), device="cuda")
    rest.addmm_(later.T, errors, alpha=-1.0)
    return shapes.seconds(lambda: [rest.addmm_(later.T, errors, alpha=-1.0) for _ in range(5)]) / 5 * 1e6


def main() -> None:
    print(shapes.environment())
    for rows in (2048, 6144, 12288, 24576, 114688):
        for width in (32, 128):
            best = launches(rows, width)
            told = ", ".join(
                f"{took:.0f} us ({per_program} rows, {warps} warps)" for took, per_program, warps in best[:4]
            )
            default = next(took for took, *way in best if way == list(launch(rows)))
            print(f"{rows} rows, groups of {width}: {told}; as chosen {default:.0f} us", flush=True)
        print(f"{rows} rows: product of 4096 later columns {product(rows):.0f} us", flush=True)


if __name__ == "__main__":
    main()
