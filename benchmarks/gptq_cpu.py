"""Seconds of GPTQ on one CPU weight: plain per-column code, ours with and without the factorisation, and the ratio.

python benchmarks/gptq_cpu.py --size 2048 --bits 4 --threads 2

Seconds by the clock, best of the repeats; beside them CPU seconds, which other work on the machine lengthens less: with
one thread they are about what the clock would show on a machine left alone.
"""

import argparse
import time
from collections.abc import Callable

import torch

from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics
from bitlaw.quantize.gptq import GptqOptions, gptq


def plain(weight: torch.Tensor, hessian: torch.Tensor, bits: int, group: int, damping: float) -> torch.Tensor:
    """Algorithm 1 of arXiv 2210.17323 as it reads, without lazy batches: one column, one update of all later columns."""
    w, n = weight.clone(), weight.shape[1]
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(n)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    top = 2**bits - 1
    for j in range(n):
        if j % group == 0:
            part = w[:, j : j + group]
            hi, lo = part.amax(1).clamp_min(0), part.amin(1).clamp_max(0)
            scale = (hi - lo) / top
            zero = torch.round(-lo / scale)
        q = (torch.clamp(torch.round(w[:, j] / scale) + zero, 0, top) - zero) * scale
        error = (w[:, j] - q) / upper[j, j]
        w[:, j:] -= torch.outer(error, upper[j, j:])
        w[:, j] = q
    return w


def seconds(work: Callable[[], torch.Tensor], repeats: int) -> tuple[float, float, torch.Tensor]:
    """Best seconds by the clock and of CPU time, and what the work returned."""
    best, least, result = float("inf"), float("inf"), torch.empty(0)
    for _ in range(repeats):
        started, spent = time.perf_counter(), time.process_time()
        result = work()
        best, least = min(best, time.perf_counter() - started), min(least, time.process_time() - spent)
    return best, least, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    n = given.size
    weight = torch.randn(n, n, generator=generator)
    inputs = torch.randn(4 * n, n, generator=generator) * torch.logspace(-1, 1, n)
    statistics = InputStatistics(n)
    statistics.add(inputs)
    grid = parse_format(f"int{given.bits}_g{given.group}")
    print(f"{n} x {n}, int{given.bits}_g{given.group}, {given.threads} threads, best of {given.repeats}")
    slow, spent, want = seconds(lambda: plain(weight, statistics.hessian, given.bits, given.group, 0.01), 1)
    print(f"{'':29}{'clock':>10} {'CPU':>10}")
    print(f"plain per column, once       {slow:8.3f} s {spent:8.3f} s")

    def whole() -> torch.Tensor:
        fresh = InputStatistics.from_hessian(statistics.hessian)
        return gptq(weight, fresh, grid, GptqOptions())

    fast, spent, got = seconds(whole, given.repeats)
    print(f"ours                         {fast:8.3f} s {spent:8.3f} s   {slow / fast:5.1f} times as fast")
    fast, spent, _ = seconds(lambda: gptq(weight, statistics, grid, GptqOptions()), given.repeats)
    print(f"ours, factor already there   {fast:8.3f} s {spent:8.3f} s   {slow / fast:5.1f} times as fast")
    for name in ("mxint4_k32", "nf4_g64", "kmeans3_row"):
        fast, spent, _ = seconds(lambda name=name: gptq(weight, statistics, parse_format(name), GptqOptions()), 1)
        print(f"ours, {name:22} {fast:8.3f} s {spent:8.3f} s   (factor already there, once)")
    print(
        f"same values: {float(((got - want).abs() < 1e-3).double().mean()):.2%} (a tie rounded otherwise moves its row)"
    )


if __name__ == "__main__":
    main()
