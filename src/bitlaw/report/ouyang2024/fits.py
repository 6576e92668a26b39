"""Fits of the first paper's laws to measurements, and how they are told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bitlaw.fit import Fit, Table, fit
from bitlaw.records import Measurement

ONE_BIT = {2.0: "ouyang2024-2bit", 3.0: "ouyang2024-3bit", 4.0: "ouyang2024-4bit"}
THRESHOLD = 5e-4  # nats: below it QiD is of the size of its noise, and takes no part in slopes


def table_of(rows: Sequence[Measurement], source: str) -> Table:
    """Return measurements as a table to fit."""
    return Table.from_measurements(rows, source=source)


def fits_by_width(rows: Sequence[Measurement]) -> dict[float, Fit]:
    """Return bits -> fit of k D^beta / N^alpha."""
    widths = sorted({m.asked.variant.bits for m in rows})
    return {
        bits: fit(
            ONE_BIT.get(bits, "ouyang2024-4bit"),
            table_of([m for m in rows if m.asked.variant.bits == bits], f"{bits:g} bits"),
        )
        for bits in widths
    }


def told(found: Fit, *names: str) -> str:
    """Return `beta 1.2 [1.1, 1.3]` of the named parameters."""
    parts = []
    for name in names:
        low, high = found.intervals.get(name, (math.nan, math.nan))
        ends = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) else ""
        parts.append(f"{name} {found.values[name]:.3g}{ends}")
    return ", ".join(parts)


def above_noise(rows: Sequence[Measurement]) -> list[Measurement]:
    """Return the measurements with a QiD above `THRESHOLD`."""
    return [m for m in rows if m.qid > THRESHOLD]


def held_out_scores(found: Fit, rows: Sequence[Measurement]) -> list[str]:
    """Return R2 of log QiD, median relative error and rows of a fit on rows it has not seen, as text."""
    table = table_of(rows, "held out")
    said = found.predict({name: table[name] for name in found.formula().variables})
    miss = np.log(np.maximum(said, 1e-12)) - np.log(table["qid"])
    spread = np.log(table["qid"]) - np.log(table["qid"]).mean()
    r2 = 1 - float(miss @ miss) / float(spread @ spread) if len(rows) > 2 else math.nan
    return [f"{r2:.2f}", f"{100 * float(np.median(np.abs(np.expm1(miss)))):.0f} %", str(len(rows))]
