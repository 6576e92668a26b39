"""How validate_laws.py writes comparisons: a table of every law, and a scoreboard of ours against the published ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitlaw.fit import Comparison, Difference, difference
from bitlaw.fit.baselines import BASELINES
from bitlaw.fit.comparing import HeldOut

SCOREBOARD = """Ours against the published form with the least median error in each holdout, both picked after the fact. Difference: ours
minus theirs in points of median error, 90 % interval of a paired bootstrap over the checkpoints left out (`bitlaw.fit.difference`); a tie where it
holds 0. Factor: median of how many times too large or too small, for ours and for the published form with the least: an error of 90 % may be 1.9 times
too much or ten times too little, which the median error does not tell apart.
"""


def text(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table; bold: least median error of each holdout, a dagger: highest log-R2."""
    names = list(comparison.holdouts)
    labels = list(dict.fromkeys(row.name for row in comparison.held_out))
    best = {name: comparison.best(name).name for name in names}
    closest = {name: comparison.closest(name).name for name in names}
    inside = {row.name: row for row in comparison.in_sample}
    lines = [f"| law | {' | '.join(names)} | in sample | BIC |", "|---" * (len(names) + 3) + "|"]
    for label in labels:
        cells = []
        for name in names:
            row = comparison.of(label, name)
            dagger = "†" if closest[name] == label else ""
            cell = (
                "-"
                if row.failed
                else f"{percent(row.median_relative_error)} ({row.log_r2:.2f}{dagger}; {row.covered:.2f})"
            )
            cells.append(f"**{cell}**" if best[name] == label else cell)
        own = inside.get(label)
        cells += [f"{percent(own.median_relative_error)} ({own.log_r2:.2f})", f"{own.bic:.0f}"] if own else ["", ""]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    words = "; ".join(f"{name}: {what}" for name, what in comparison.holdouts.items())
    return "\n".join([*lines, "", f"Held out: {words}."])


def scoreboard(parts: Mapping[str, Comparison]) -> str:
    """Return how the best of our laws stands against the best published form (baselines apart) on every holdout."""
    lines = [
        "| rows | holdout | ours | published | difference | by median error | factor | by log-R2 | ours covers |",
        "|---" * 9 + "|",
    ]
    for label, comparison in parts.items():
        for name in comparison.holdouts:
            rows = [r for r in comparison.held_out if r.holdout == name and np.isfinite(r.log_error)]
            mine = [r for r in rows if r.name.startswith("bitlaw")]
            others = [r for r in rows if not r.name.startswith("bitlaw") and r.name not in BASELINES]
            if mine and others:
                lines.append(f"| {label} | {name} | {' | '.join(standing(mine, others))} |")
    return "\n".join(lines)


def standing(mine: list[HeldOut], others: list[HeldOut]) -> list[str]:
    """Return the cells of one holdout: ours, published, difference, verdicts, factors, coverage."""
    ours, theirs = (min(side, key=lambda r: r.median_relative_error) for side in (mine, others))
    near, far = (min(side, key=lambda r: r.log_error) for side in (mine, others))
    between = difference(ours, theirs)
    verdict = ("won" if between.value < 0 else "lost") if not between.tie else "tie"
    verdict += (", ahead" if between.value < 0 else ", behind") if between.tie else ""
    factors = " : ".join(f"{min(factor(r) for r in side):.2f}" for side in (mine, others))
    return [
        f"{percent(ours.median_relative_error)} ({short(ours.name)})",
        f"{percent(theirs.median_relative_error)} ({short(theirs.name)})",
        points(between),
        verdict,
        factors,
        f"{'won' if near.log_error < far.log_error else 'lost'}, {near.log_r2:.2f} : {far.log_r2:.2f}",
        f"{ours.covered:.2f}",
    ]


def points(between: Difference) -> str:
    """Return a difference of median errors in points, with its interval."""
    return f"{100 * between.value:+.0f} ({100 * between.low:+.0f} to {100 * between.high:+.0f})"


def factor(row: HeldOut) -> float:
    """Return the median of how many times too large or too small the predictions are."""
    return float(np.exp(np.nanmedian(np.abs(row.away))))


def short(name: str) -> str:
    return name.split(",")[0].removeprefix("bitlaw-").removesuffix("-ptq")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 10 else f"x{1 + share:.0f}"
