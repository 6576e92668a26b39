"""Exponents within groups: the common slope of ln y in ln x where every group has a factor of its own.

Unlike a fit of a law this asks nothing of what makes the groups differ: of tokens alone, size alone or bits alone, everything
else is held still. The interval is over clusters (models): each cluster's pull on the slope is one number, and the sum of
their squares is its variance (cluster-robust, with the factor C / (C - 1) and Student's t of C - 1 degrees of freedom).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A slope, its interval at `LEVEL` (NaN ends where fewer than two clusters tell it), and what it was made from."""

    value: float
    low: float
    high: float
    rows: int
    groups: int

    @property
    def words(self) -> str:
        """The slope as `1.23 [1.10, 1.36]`."""
        if not np.isfinite(self.value):
            return "unknown"
        ends = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite(self.low) else ""
        return f"{self.value:.2f}{ends}"


def common_slope(
    x: Sequence[float] | NDArray[np.float64],
    y: Sequence[float] | NDArray[np.float64],
    groups: Sequence[Hashable],
    clusters: Sequence[Hashable],
) -> Slope:
    """Return the slope of ln y in ln x with a free factor for each group; x, y [n], above 0; groups, clusters [n].

    Rows with y <= 0 have no logarithm and are left out; a group with one row says nothing.
    """
    from scipy.stats import t as student

    values = np.asarray(y, dtype=float)
    usable = [int(i) for i in np.flatnonzero(values > 0)]
    log_x, log_y = np.log(np.asarray(x, dtype=float)[usable]), np.log(values[usable])
    group = _numbers([groups[i] for i in usable])
    cluster = _numbers([clusters[i] for i in usable])
    if not usable:
        return Slope(value=np.nan, low=np.nan, high=np.nan, rows=0, groups=0)
    count = np.bincount(group)
    dx = log_x - (np.bincount(group, log_x) / count)[group]
    dy = log_y - (np.bincount(group, log_y) / count)[group]
    spread = float(dx @ dx)
    if spread == 0.0:
        return Slope(value=np.nan, low=np.nan, high=np.nan, rows=len(usable), groups=len(count))
    slope = float(dx @ dy) / spread
    pulls = np.bincount(cluster, dx * (dy - slope * dx))
    number = len(pulls)
    half = np.nan
    if number > 1:
        variance = number / (number - 1) * float(pulls @ pulls) / spread**2
        half = float(student.ppf(0.5 + LEVEL / 2, number - 1)) * variance**0.5
    informative = int((np.bincount(group, dx**2) > 0).sum())
    return Slope(value=slope, low=slope - half, high=slope + half, rows=len(usable), groups=informative)


def _numbers(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    order = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([order[label] for label in labels], dtype=np.int64)
