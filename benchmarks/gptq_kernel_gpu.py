"""Microseconds of one launch of the GPTQ block kernel, by rows and warps a program, and of the product behind it.

python benchmarks/gptq_kernel_gpu.py
"""

import torch

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.kernels.gptq_block import quantize_block

COLUMNS = 128


def main() -> None:
    print(shapes.environment())
    torch.manual_seed(0)
    factor = torch.triu(0.02 * torch.randn(COLUMNS, COLUMNS, device="cuda")) + torch.eye(COLUMNS, device="cuda")
    for rows in (2048, 24576, 114688):
        block = torch.randn(COLUMNS, rows, device="cuda")
        highest = torch.full((rows,), 15.0, device="cuda")
        symmetric = torch.zeros(rows, dtype=torch.int8, device="cuda")
        for width in (32, 128):
            line = []
            for per_program in (1, 2, 4, 8, 16):
                for warps in (1, 2, 4):

                    def work(per_program: int = per_program, warps: int = warps) -> None:
                        for _ in range(20):
                            quantize_block(
                                block, factor, width, highest, symmetric, rows_per_program=per_program, warps=warps
                            )

                    work()
                    line.append((shapes.seconds(work) / 20 * 1e6, per_program, warps))
            best = sorted(line)[:4]
            told = ", ".join(f"{took:.0f} us ({r} rows, {w} warps)" for took, r, w in best)
            old = next(took for took, r, w in line if (r, w) == (16, 4))
            print(f"{rows} rows, groups of {width}: {told}; 16 rows, 4 warps: {old:.0f} us", flush=True)
        rest = torch.randn(4 * COLUMNS * 8, rows, device="cuda")
        errors = torch.randn(COLUMNS, rows, device="cuda")
        later = torch.randn(COLUMNS, len(rest), device="cuda")
        rest.addmm_(later.T, errors, alpha=-1.0)
        took = shapes.seconds(lambda: [rest.addmm_(later.T, errors, alpha=-1.0) for _ in range(5)]) / 5
        print(f"{rows} rows: product of 4096 later columns {took * 1e6:.0f} us")


if __name__ == "__main__":
    main()
