"""Is one law better than another on rows that neither has seen, or is it a tie? A paired bootstrap over checkpoints.

    between = difference(comparison.of("bitlaw-growth", "bits"), comparison.of("kumar2024-ptq", "bits"))
    between.value, between.low, between.high, between.tie

Both laws are judged on the same rows. Checkpoints are drawn with replacement, each with all of its rows, since the rows of a
checkpoint are off together; the difference of the two medians is taken in every draw. Where one model is left out, its
checkpoints are all there is: how another model would have come out, the interval does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.comparing import LEVEL, Comparison, HeldOut

REPLICATES = 1000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Median relative error of one law minus that of the other, over `rows` rows that both predict, and its interval."""

    value: float
    low: float
    high: float
    level: float
    rows: int

    @property
    def tie(self) -> bool:
        """True if the interval holds 0: these rows do not say which law is better."""
        return self.low <= 0.0 <= self.high


def difference(
    one: HeldOut, other: HeldOut, *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> Difference:
    """Return how much larger the median relative error of `one` is than that of `other` on the same holdout.

    Raises InputError if they are of different rows, or there are none that both predict.
    """
    if one.holdout != other.holdout or not np.array_equal(one.checkpoints, other.checkpoints):
        raise InputError(f"{one.name!r} and {other.name!r} were not judged on the same rows of one holdout.")
    both = np.isfinite(one.away) & np.isfinite(other.away)
    if not both.any():
        raise InputError(f"No row of holdout {one.holdout!r} has scores of both {one.name!r} and {other.name!r}.")
    _, groups = np.unique(one.checkpoints[both], return_inverse=True)
    errors = np.abs(np.expm1(np.stack([one.away[both], other.away[both]])))
    generator = np.random.default_rng(seed)
    count = groups.max() + 1
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    medians = np.stack([_weighted_medians(error, drawn[:, groups]) for error in errors])
    low, high = np.quantile(medians[0] - medians[1], [(1 - level) / 2, (1 + level) / 2])
    found = np.median(errors, axis=1)
    return Difference(
        value=float(found[0] - found[1]), low=float(low), high=float(high), level=level, rows=int(both.sum())
    )


def behind_best(comparison: Comparison, **options: Any) -> dict[tuple[str, str], Difference]:
    """Return (law, holdout) -> how far that law is behind the best of the holdout; laws without scores are left out."""
    found: dict[tuple[str, str], Difference] = {}
    for name in comparison.holdouts:
        scored = [row for row in comparison.held_out if row.holdout == name and row.scored]
        best = comparison.best(name) if scored else None
        found |= {(row.name, name): difference(row, best, **options) for row in scored if best is not None}
    return found


def _weighted_medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median of values [n] under each row of weights [B, n], the lower of two middle ones: [B]."""
    order = np.argsort(values)
    below = np.cumsum(weights[:, order], axis=1)
    middle = np.argmax(2 * below >= below[:, -1:], axis=1)
    return np.asarray(values[order][middle])
