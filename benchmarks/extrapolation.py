"""Do answers outside the fitted range hold? Fit part of the digitised Pythia points, predict the rest.

    python benchmarks/extrapolation.py

Prints, for each part held out: points, median relative error, share inside the 90 % interval with and without the
widening rule of bitlaw.predict, and how wide the interval is. The rule's own numbers come from the same points, so
this is a check that it works as meant, not an independent trial.
"""

from __future__ import annotations

import numpy as np

from bitlaw.fit import Table, fit
from bitlaw.predict import predict
from bitlaw.predict.evidence import digitised_points

COLUMNS = ("parameters", "tokens", "bits")


def held_out(table: Table, train: np.ndarray, test: np.ndarray) -> str:
    result, rows = fit("ouyang2024-unified", table.take(train)), table.take(test)
    answers = [predict(*(rows[name][i] for name in COLUMNS), law=result) for i in range(len(rows))]
    low, high = result.band({name: rows[name] for name in COLUMNS}, scatter=True)
    measured = rows["qid"]
    inside = np.mean([a.interval.low <= q <= a.interval.high for a, q in zip(answers, measured)])
    plain = np.mean((low <= measured) & (measured <= high))
    error = np.median([abs(a.value / q - 1) for a, q in zip(answers, measured)])
    width = np.median([a.interval.high / a.interval.low for a in answers])
    return f"{len(rows)} | {100 * error:.0f} % | {inside:.2f} | {plain:.2f} | {width:.1f}"


def main() -> None:
    points = digitised_points()
    table = Table(columns={**points, "qid_se": points["read_error"]}, source="digitised points")
    size, step = table["parameters"], table["step"]
    print("| fitted to | predicted | points | median error | covered | without the rule | high / low |")
    print("|---|---|---|---|---|---|---|")
    print("| 160M, 1B | 12B |", held_out(table, size < 5e9, size > 5e9), "|")
    print("| 1B, 12B | 160M |", held_out(table, size > 1e8, size < 1e8), "|")
    print("| steps to 29 000 | steps from 43 000 |", held_out(table, step <= 29_000, step >= 43_000), "|")


if __name__ == "__main__":
    main()
