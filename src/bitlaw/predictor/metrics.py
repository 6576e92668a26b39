"""How good predictions are: R2, mean absolute error, rank correlation, and how often intervals hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.predictor.curve import Array


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of n predictions. mae in nats per token; `covered` and `width` (median, nats) of intervals, NaN without.

    worst_r2: the lowest R2 among groups (families), each around its own mean.
    """

    n: int
    r2: float
    mae: float
    rank: float
    worst_r2: float = math.nan
    covered: float = math.nan
    width: float = math.nan


def r2(measured: Array, predicted: Array) -> float:
    """Return 1 - sum (y - p)^2 / sum (y - mean y)^2; NaN where y is constant."""
    total = float(np.sum((measured - measured.mean()) ** 2))
    return 1.0 - float(np.sum((measured - predicted) ** 2)) / total if total > 0 else math.nan


def ceiling(measured: Array, error: Array) -> float:
    """Return the R2 that the truth itself would reach: 1 - mean squared error of measurement / variance; NaN where y is constant."""
    total = float(np.var(measured))
    return 1.0 - float(np.mean(np.nan_to_num(error) ** 2)) / total if total > 0 else math.nan


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's correlation, ties at their mean rank; NaN where either is constant."""
    from scipy.stats import rankdata

    x, y = rankdata(a), rankdata(b)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else math.nan


def scores(
    measured: Array,
    predicted: Array,
    low: Array | None = None,
    high: Array | None = None,
    groups: NDArray[Any] | None = None,
) -> Scores:
    """Return the scores of predictions [n], with intervals [n] where given; groups [n] for `worst_r2`."""
    covered = width = math.nan
    if low is not None and high is not None:
        covered = float(np.mean((measured >= low) & (measured <= high)))
        width = float(np.median(high - low))
    each = [] if groups is None else [r2(measured[groups == g], predicted[groups == g]) for g in np.unique(groups)]
    return Scores(
        n=len(measured),
        r2=r2(measured, predicted),
        mae=float(np.mean(np.abs(measured - predicted))),
        rank=rank_correlation(measured, predicted),
        worst_r2=min(each, default=math.nan),
        covered=covered,
        width=width,
    )
