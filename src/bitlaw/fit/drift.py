"""How much wider an interval gets beyond the fitted range: by how far the law went astray when its own ends were left out.

`ends.py` measures the drift; here it is kept, and applied to bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bitlaw.laws.law import Array

BEFOREHAND, WORTH = 0.24, 3.0  # spread of the drift known beforehand, and how many turns it counts as
TINY = 1e-3  # lower ends below this share of the value are taken as they are
FARTHEST = 300.0  # logarithm of the largest factor a band may reach


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Spread of the drift per unit of ln r below and beyond the fitted range, and the turns each was judged by."""

    below: float
    beyond: float
    below_turns: int
    beyond_turns: int

    def reach(self, value: Array, low: float, high: float, level: float) -> Array:
        """Return the half-width of ln law that distance from the fitted range [low, high] adds, 0 inside it."""
        from scipy.special import stdtrit

        value = np.asarray(value, dtype=float)
        sure = [stdtrit(WORTH + turns, (1 + level) / 2) for turns in (self.below_turns, self.beyond_turns)]
        under = sure[0] * self.below * np.log(np.maximum(low / value, 1.0))
        over = sure[1] * self.beyond * np.log(np.maximum(value / high, 1.0))
        return np.asarray(under + over)


def far_reach(
    drifts: Mapping[str, Drift], fitted: Mapping[str, tuple[float, float]], columns: Mapping[str, Array], level: float
) -> Array | float:
    """Return the half-width of ln law that distance from the fitted range adds over all judged variables, [n]."""
    total: Array | float = 0.0
    for name, drift in drifts.items():
        total = total + drift.reach(columns[name], *fitted[name], level) ** 2
    return np.sqrt(total)


def widened(mean: Array, low: Array, high: Array, far: Array | float) -> tuple[Array, Array]:
    """Return a band with a half-width of the logarithm added in quadrature; rows where it is 0 keep theirs.

    A scatter floor may take the lower end below zero, where a logarithm cannot follow: it is left as it is.
    """
    far = np.broadcast_to(far, np.shape(mean))
    positive = (mean > 0) & (far > 0)
    safe = np.where(positive, mean, 1.0)
    above = np.hypot(np.log(np.where(positive, high, 1.0) / safe), far)
    down = np.where(positive & (low > TINY * safe), low, safe)
    below = np.hypot(np.log(safe / down), far)
    return (
        np.where(positive & (low > TINY * safe), safe * np.exp(-below), low),
        np.where(positive, safe * np.exp(np.minimum(above, FARTHEST)), high),
    )
