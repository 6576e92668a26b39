"""How much rows far from the law count: fully (normal), less (Student t), or with a bounded pull (Huber)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlaw.laws.law import Array

WINDOW = 0.4  # standard deviations around 0 in which the density of residuals is measured for a narrow Huber loss


@dataclass(frozen=True, kw_only=True)
class Robust:
    """kind `normal`, `student` (with `freedom`) or `huber` (residuals beyond `cut` standard deviations pull no more)."""

    kind: str = "normal"
    freedom: float = np.inf
    cut: float = np.inf

    def weights(self, squared: Array) -> Array:
        """Return how much rows count, by their squared residual over variance: 1 for normal noise, less far out."""
        if self.kind == "student":
            return np.asarray((self.freedom + 1.0) / (self.freedom + squared))
        if self.kind == "huber":
            return np.asarray(np.minimum(1.0, self.cut / np.sqrt(np.maximum(squared, 1e-300))))
        return np.ones_like(squared)

    def growth(self, squared: Array) -> float:
        """Return the factor by which weighting rows down makes the usual standard errors too small: 1 for normal noise.

        The weights w act in the fit as psi(r) = w r, whose slope, not w itself, says how fast the optimum moves:
        sum w / sum psi' (Huber 1981, section 7.6).
        """
        if self.kind == "student":
            slopes = (self.freedom + 1.0) * (self.freedom - squared) / (self.freedom + squared) ** 2
            total = float(np.sum(slopes))
        elif self.kind == "huber":
            window = max(self.cut, WINDOW)
            total = float(np.sum(squared < window**2)) * self.cut / window
        else:
            return 1.0
        return float(np.sum(self.weights(squared)) / max(total, 1e-3 * len(squared)))
