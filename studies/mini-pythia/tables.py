"""Fits and holdouts of the page, as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rows import GROUPS, Row, group

from bitlaw.catalog import LAWS
from bitlaw.fit import Comparison, Contender, Fit, Table, compare, fit
from bitlaw.laws import load_law

VOCABULARY = 4096
PER_BIT = {2.0: "ouyang2024-2bit", 3.0: "ouyang2024-3bit", 4.0: "ouyang2024-4bit"}
NAMES = {"largest-size": "largest N", "later-tokens": "later D", "bits": "a bit width"}


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*rows, *("| " + " | ".join(line) + " |" for line in lines)])


def table_of(rows: Iterable[Row], source: str) -> Table:
    """Return the rows as a table to fit."""
    return Table.from_measurements([r.measurement for r in rows], source=source)


def fits_by_width(rows: Sequence[Row]) -> dict[str, dict[float, Fit]]:
    """Way of quantizing -> bits -> fit of k D^beta / N^alpha, for every variant of the study."""
    found: dict[str, dict[float, Fit]] = {}
    for way in dict.fromkeys(r.way for r in sorted(rows, key=lambda r: (r.method, r.bits, r.way))):
        mine = [r for r in rows if r.way == way]
        found[way] = {mine[0].bits: fit(PER_BIT.get(mine[0].bits, "ouyang2024-4bit"), table_of(mine, way))}
    return found


def interval(found: Fit, name: str, digits: int = 2) -> str:
    """Return `value (low to high)` of a parameter."""
    low, high = found.intervals[name]
    return f"{found.values[name]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def exponent_table(fits: Mapping[str, Mapping[float, Fit]]) -> str:
    """Exponents of every method and width beside the published ones of that width."""
    lines = []
    for way, by_bits in fits.items():
        for bits, found in by_bits.items():
            known = load_law(PER_BIT[bits]).published[0].values if bits in PER_BIT else {}
            cells = [f"{known[name]:.2f}" if known else "" for name in ("beta", "alpha")]
            r2 = found.scores.log_r2
            score = f"{r2:.2f}, " if r2 == r2 else "too few, "
            score += f"{100 * found.scores.median_relative_error:.0f} %"
            lines.append(
                [way, f"{bits:g}", interval(found, "beta"), cells[0], interval(found, "alpha"), cells[1], score,
                 str(found.data.rows)]
            )  # fmt: skip
    header = ("variant", "bits", "beta", "published", "alpha", "published", "log-R2, median error", "rows")
    return markdown(header, lines)


def unified_fits(rows: Sequence[Row]) -> dict[str, tuple[Fit, Fit]]:
    """Group -> the unified law and Kumar's exponential in bits, fitted to it."""
    found = {}
    for name in GROUPS:
        table = table_of(group(rows, name), name)
        found[name] = fit("ouyang2024-unified", table), fit("kumar2024-ptq", table)
    return found


def unified_table(fits: Mapping[str, tuple[Fit, Fit]]) -> str:
    """Exponents of the unified law by group, and how a power and an exponential in bits compare."""
    lines = [
        [
            name,
            interval(power, "beta"),
            interval(power, "alpha"),
            interval(power, "gamma"),
            f"{power.scores.log_r2:.2f}, {100 * power.scores.median_relative_error:.0f} %",
            f"{exponential.scores.log_r2:.2f}, {100 * exponential.scores.median_relative_error:.0f} %",
            f"{power.scores.bic - exponential.scores.bic:+.0f}",
        ]
        for name, (power, exponential) in fits.items()
    ]
    lines.insert(0, ["published (Pythia, gptq)", "0.5251", "0.2261", "5.4967", "", "", ""])
    header = (
        "group (bits)",
        "beta",
        "alpha",
        "gamma",
        "power: log-R2, error",
        "exponential: log-R2, error",
        "BIC gain",
    )
    return markdown(header, lines)


def contenders() -> list[str | Contender]:
    """The published forms and this project's own laws of QiD, without what they know of this very suite beforehand."""
    names = [name for name in LAWS if name.startswith("bitlaw-") and load_law(name).target == "qid"]
    untold = {"priors": False, "fixed": {"lnV": math.log(VOCABULARY)}}
    own = [Contender(law=name, options=untold) for name in names]
    return ["ouyang2024-unified", "kumar2024-ptq", *own]


def comparisons(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Comparison]:
    """Group -> every contender judged on the largest size, on later tokens and on each bit width left out."""
    return {name: compare(contenders(), table_of(group(rows, name), name), NAMES) for name in names}


def holdout_table(found: Mapping[str, Comparison]) -> str:
    """Scores of every contender on every holdout: median relative error (log-R2; 90 % intervals' coverage)."""
    lines = []
    for name, comparison in found.items():
        for law in dict.fromkeys(row.name for row in comparison.held_out):
            cells = []
            for part in NAMES:
                score = comparison.of(law, part)
                error = 100 * score.median_relative_error
                cells.append("-" if score.failed else f"{error:.0f} % ({score.log_r2:.2f}; {score.covered:.2f})")
            inside = [r for r in comparison.in_sample if r.name == law]
            own = f"{100 * inside[0].median_relative_error:.0f} % ({inside[0].log_r2:.2f})" if inside else ""
            lines.append([name, law, own, *cells])
    return markdown(("rows", "law", "in sample", *NAMES.values()), lines)
