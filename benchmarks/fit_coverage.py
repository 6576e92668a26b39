"""How often do the intervals of a fit contain the truth, and how wide are they? The study behind docs/laws.md.

    python benchmarks/fit_coverage.py [--tables 500] [--designs three-models,twelve-models] [--kinds auto,...]

Prints a Markdown table: for each design, noise and kind of interval, coverage and median width by parameter.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from bitlaw.fit import Intervals, fit
from bitlaw.fit.simulate import Design

PARAMETERS = ("k", "beta", "alpha", "gamma")
DESIGNS = {
    "three-models": Design(
        truth={"k": 0.12 * 2**5 * 25e3**0.31 / 2.5e6, "beta": 1.0, "alpha": 0.31, "gamma": 5.0},
        sizes=(25e3, 100e3, 397e3),
        tokens=tuple(float(d) for d in np.geomspace(4e4, 2.5e6, 6)),
        floor=3e-4,
        se=5e-4,
    ),
    "twelve-models": Design(
        truth={"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967},
        sizes=tuple(float(n) for n in np.geomspace(1e6, 1e9, 12)),
        tokens=tuple(float(d) for d in np.geomspace(1e9, 2e11, 6)),
        floor=5e-4,
        se=1e-3,
    ),
}
NOISES = {
    "rows only (.2)": {"own": 0.2},
    "rows .1, checkpoints .2": {"own": 0.1, "by_checkpoint": 0.2},
    "rows .1, checkpoints .1, models .1": {"own": 0.1, "by_checkpoint": 0.1, "by_model": 0.1},
    "rows .1, checkpoints .1, models .2": {"own": 0.1, "by_checkpoint": 0.1, "by_model": 0.2},
}


def study(design: Design, kind: str, tables: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Return coverage, median width (ratio of the ends for k) and seconds a fit."""
    generator = np.random.default_rng(2024)
    hits = dict.fromkeys(PARAMETERS, 0)
    widths: dict[str, list[float]] = {name: [] for name in PARAMETERS}
    begun = time.perf_counter()
    for index in range(tables):
        settings = Intervals(kind=kind, replicates=200)
        result = fit(design.law, design.draw(generator), starts=2, seed=index, intervals=settings)
        for name in PARAMETERS:
            low, high = result.intervals[name]
            hits[name] += low <= design.truth[name] <= high
            widths[name].append(high / low if name == "k" else high - low)
    seconds = (time.perf_counter() - begun) / tables
    covered = {name: count / tables for name, count in hits.items()}
    return covered, {name: float(np.median(found)) for name, found in widths.items()}, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--designs", default=",".join(DESIGNS))
    parser.add_argument("--kinds", default="auto,clustered-checkpoint,bootstrap-model,bootstrap-checkpoint,parametric")
    given = parser.parse_args()
    print(f"{given.tables} tables each, 90 % intervals\n")
    print(
        "| design | scatter | intervals | covered k / beta / alpha / gamma | median width of beta, alpha, gamma | ms |"
    )
    print("|---|---|---|---|---|---|")
    for name in given.designs.split(","):
        for words, noise in NOISES.items():
            for kind in given.kinds.split(","):
                covered, width, seconds = study(replace(DESIGNS[name], **noise), kind, given.tables)
                shares = " / ".join(f"{covered[p]:.3f}" for p in PARAMETERS)
                wide = ", ".join(f"{width[p]:.2f}" for p in PARAMETERS[1:])
                print(f"| {name} | {words} | {kind} | {shares} | {wide} | {1e3 * seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
