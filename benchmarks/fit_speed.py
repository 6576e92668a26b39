"""How long do fits take? A plain fit, one of 2 040 rows, a thousand bootstrap replicates, five hundred starts.

    python benchmarks/fit_speed.py

Prints a Markdown table: wall seconds, which wait for whoever else uses the machine, and CPU seconds of all threads, which do not. Medians of
five. OpenBLAS waits for its threads by spinning: with OMP_NUM_THREADS=1 the CPU seconds are those of the work. The first line is a new process:
it loads numpy, bitlaw and scipy, then fits.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from bitlaw.fit import Intervals, Noise, Table, compare, fit, public_table
from bitlaw.fit.simulate import Design

RUNS = 5
PYTHIA = {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
KUMAR = {"C_T": 0.0598, "gD": 0.5068, "gN": 0.3439, "g_post": 0.5907, "n_post": 0.0}
CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
SCATTER = {"own": 0.1, "by_checkpoint": 0.1, "by_model": 0.1, "floor": 5e-4, "se": 1e-3}


def table(
    law: str, truth: dict[str, float], sizes: int, tokens: int, bits: tuple[float, ...] = (2.0, 3.0, 4.0)
) -> Table:
    spans = {"sizes": tuple(np.geomspace(1e6, 1e10, sizes)), "tokens": tuple(np.geomspace(1e9, 2e11, tokens))}
    return Design(law=law, truth=truth, bits=bits, **SCATTER, **spans).draw(np.random.default_rng(0))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the medians of (wall, CPU) seconds of five runs."""
    found = []
    for _ in range(RUNS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(float(part) for part in np.median(found, axis=0))


def fresh() -> tuple[float, float]:
    """Return the medians of (wall, CPU) seconds of a new Python that imports bitlaw and fits the digitised points."""
    code = "from bitlaw.fit import fit, public_table; fit('ouyang2024-unified', public_table('pythia-digitised'))"
    found = []
    for _ in range(RUNS):
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((time.perf_counter() - wall, cpu))
    return tuple(float(part) for part in np.median(found, axis=0))


def main() -> None:
    small, large = (table("ouyang2024-unified", PYTHIA, 6, n) for n in (3, 34))
    wide = table("ouyang2024-unified", PYTHIA, 20, 34)
    kumar = table("kumar2024-ptq", KUMAR, 20, 34)
    mini = public_table("mini-pythia").where(method="gptq")
    loss = table("chinchilla2022-loss", CHINCHILLA, 10, 8, (16.0,))
    fit("ouyang2024-unified", small)
    thousand = Intervals(kind="bootstrap-model", replicates=1000)
    rows: list[tuple[str, Callable[[], object]]] = [
        (f"ouyang2024-unified, {len(small)} rows", lambda: fit("ouyang2024-unified", small)),
        (f"ouyang2024-unified, {len(large)} rows", lambda: fit("ouyang2024-unified", large)),
        (f"ouyang2024-unified, {len(wide)} rows", lambda: fit("ouyang2024-unified", wide)),
        (f"bitlaw-sensitivity, {len(mini)} rows", lambda: fit("bitlaw-sensitivity", mini)),
        (f"kumar2024-ptq (a formula as text), {len(kumar)} rows", lambda: fit("kumar2024-ptq", kumar)),
        (
            f"the same with 1 000 bootstrap replicates, {len(wide)} rows",
            lambda: fit("ouyang2024-unified", wide, intervals=thousand),
        ),
        (
            f"kumar2024-ptq with 1 000 bootstrap replicates, {len(kumar)} rows",
            lambda: fit("kumar2024-ptq", kumar, intervals=thousand),
        ),
        (
            f"chinchilla2022-loss, Huber 1e-3, 500 starts, {len(loss)} rows",
            lambda: fit("chinchilla2022-loss", loss, noise=Noise(kind="huber", delta=1e-3), starts=500),
        ),
        (
            f"two laws compared on three holdouts, {len(small)} rows",
            lambda: compare(["ouyang2024-unified", "kumar2024-ptq"], small),
        ),
    ]
    print("| fit | wall, s | CPU, s |\n|---|---|---|")
    print("| a new process, 105 rows | {:.2f} | {:.2f} |".format(*fresh()), flush=True)
    for words, work in rows:
        print("| {} | {:.2f} | {:.2f} |".format(words, *seconds(work)), flush=True)


if __name__ == "__main__":
    main()
