"""Intervals from predictions of families that were left out (cross-conformal, Vovk 2015; normalised by difficulty).

    residual r_i = measured - predicted by a predictor that never saw the family of row i
    difficulty s_i = a rising function of the predicted degradation, fitted to |r|, with a floor
    interval = prediction +- q s        q: the (1-alpha)(n+1)/n quantile of |r|/s

A family left out stands for the user's model, which is of no training family. `unseen`: q when the row's element type
(mxint3, mxfp4_e2m1, ...) was left out too: the interval for a format nobody trained on, wider by 1.25 at least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Array
from bitlaw.predictor.isotonic import isotonic
from bitlaw.predictor.kinds import fit_kind, predict_kind
from bitlaw.predictor.rows import Rows

FLOOR = 3e-4  # nats: no interval promises more
KNOTS = 25
WIDEN = 1.25  # the least an interval widens for a kind of format nobody trained on


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Sorted normalised residuals [n] of rows whose family was left out, and of rows whose element type was too.

    `difficulty`: knots (degradation, typical |residual|).
    """

    known: tuple[float, ...]
    unseen: tuple[float, ...]
    degradation: tuple[float, ...]
    typical: tuple[float, ...]

    def half_width(self, degradation: Array, level: float, *, unseen: bool | NDArray[np.bool_] = False) -> Array:
        """Return half the width of the interval at each predicted degradation (nats per token), [n]."""
        factor = quantile(self.known, level)
        wide = max(quantile(self.unseen, level), WIDEN * factor)
        typical = np.interp(degradation, self.degradation, self.typical)
        return np.asarray(np.where(unseen, wide, factor) * typical, dtype=float)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: list(getattr(self, name)) for name in ("known", "unseen", "degradation", "typical")}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Conformal:
        """Return the intervals of `to_dict`."""
        return cls(**{name: tuple(map(float, content[name])) for name in ("known", "unseen", "degradation", "typical")})


def quantile(sizes: tuple[float, ...], level: float) -> float:
    """Return the smallest size that at least a share `level` of n+1 exchangeable ones does not exceed; the largest if n is too few."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level={level} must lie between 0 and 1, for example 0.9.")
    place = math.ceil(level * (len(sizes) + 1)) - 1
    return sizes[min(place, len(sizes) - 1)]


def calibrate(
    name: str, rows: Rows, target: str, *, seed: int = 0, unseen: bool = True, like: Mapping[str, Any] | None = None
) -> Conformal:
    """Return intervals for a predictor, from refitting it without each family (and without each element type as well).

    like: the predictor's state, whose choices of inputs the refits take.
    Raises InputError with fewer than two families.
    """
    families = np.unique(rows.family)
    if len(families) < 2:
        raise InputError(
            f"Intervals come from families left out in turn; these {len(rows)} rows are of one family ({families[0]}). Add "
            "models of a second family."
        )
    predicted = _left_out(name, rows, target, rows.family, seed, like)
    loss = rows.target(target) + rows.reference(target)
    residual = np.abs(loss - predicted)
    degradation = predicted - rows["baseline_loss"]
    knots, typical = _difficulty(degradation, residual)
    sizes = residual / np.interp(degradation, knots, typical)
    other = sizes
    if unseen and len(np.unique(rows.element)) > 2:
        held = _left_out_twice(name, rows, target, seed, like)
        if held is not None:
            other = np.abs(loss - held) / np.interp(held - rows["baseline_loss"], knots, typical)
    return Conformal(
        known=tuple(np.sort(sizes).tolist()),
        unseen=tuple(np.sort(other).tolist()),
        degradation=tuple(knots.tolist()),
        typical=tuple(typical.tolist()),
    )


def _left_out(
    name: str, rows: Rows, target: str, groups: NDArray[Any], seed: int, like: Mapping[str, Any] | None
) -> Array:
    predicted = np.full(len(rows), np.nan)
    for group in np.unique(groups):
        held = groups == group
        state = fit_kind(name, rows.take(~held), target, seed=seed, like=like)
        predicted[held] = predict_kind(name, state, rows.take(held), target)
    return predicted


def _left_out_twice(name: str, rows: Rows, target: str, seed: int, like: Mapping[str, Any] | None) -> Array | None:
    """Return predictions by predictors that saw neither the family nor the element type; None where it cannot have it."""
    predicted = np.full(len(rows), np.nan)
    try:
        for family in np.unique(rows.family):
            for element in np.unique(rows.element):
                held = (rows.family == family) & (rows.element == element)
                seen = (rows.family != family) & (rows.element != element)
                if held.any() and seen.any():
                    state = fit_kind(name, rows.take(seen), target, seed=seed, like=like)
                    predicted[held] = predict_kind(name, state, rows.take(held), target)
    except InputError:  # such as the mean of a format that was left out
        return None
    return predicted if np.all(np.isfinite(predicted)) else None


def _difficulty(degradation: Array, residual: Array) -> tuple[Array, Array]:
    """Return knots: a rising function of the predicted degradation through the mean |residual| of equal shares of rows."""
    order = np.argsort(degradation, kind="stable")
    shares = [part for part in np.array_split(order, max(2, min(KNOTS, len(order) // 8))) if len(part)]
    x = np.array([float(np.median(degradation[part])) for part in shares])
    y = np.array([float(np.mean(residual[part])) for part in shares])
    places, typical = isotonic(x, y)
    return places, np.maximum(typical, FLOOR)
