"""Intervals from predictions of families that were left out (cross-conformal, Vovk 2015; normalised by difficulty).

    residual r_i = measured - predicted by a predictor that never saw the family of row i
    difficulty s_i = a rising function of the predicted degradation, fitted to |r|, with a floor; beyond the largest it grows in proportion
    distance d_i = how far row i's model lies outside the other families' inputs, in widths of their range (ranges.py)
    interval = prediction +- q s (1 + k d)        q: quantile of |r| / (s (1 + k d)) over all rows, every family counting the same

A family left out stands for the user's model, which is of no training family; families count the same because the next is as likely like any of
them. Rows of a network err together, so n networks are what the quantile is known from: it is taken at level (1 + 1/n), as among n+1 exchangeable
ones (below 1 / (1 - level) networks it is the largest). Families err together too, but a quantile over families' own quantiles (two layers, Dunn
et al. 2022) promises the level in most families, which is more than the level over all, and covered more than was promised. k is the least of PER_RANGE with which families that lie outside the others are covered as often as promised; its
smallest value is a half, since nothing in training is far outside. `unseen`: q when the row's element type (mxint3, mxfp4_e2m1, ...) was left
out too: the interval for a format nobody trained on, wider by 1.25 at least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Array
from bitlaw.predictor.isotonic import isotonic
from bitlaw.predictor.kinds import fit_kind, predict_kind
from bitlaw.predictor.ranges import distance, range_values, ranges_of
from bitlaw.predictor.rows import Rows

FLOOR = 3e-4  # nats: no interval promises more
KNOTS = 25
WIDEN = 1.25  # the least an interval widens for a kind of format nobody trained on
PER_RANGE = (0.5, 1.0, 2.0, 4.0)  # how much wider an interval is one width of the training range outside it
OUTSIDE = 0.05  # widths; nearer counts as inside
CHOSEN_AT = 0.9  # the level at which PER_RANGE is chosen
Fitter = Callable[..., dict[str, Any]]
"""What fits a kind to rows: `fit_kind`."""


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Sorted normalised residuals of each family, when it was left out, and when the row's element type was too.

    networks: how many they are of. `difficulty`: knots (degradation, typical |residual|). per_range: k of the module's formula.
    """

    known: tuple[tuple[float, ...], ...]
    unseen: tuple[tuple[float, ...], ...]
    degradation: tuple[float, ...]
    typical: tuple[float, ...]
    per_range: float
    networks: int

    def half_width(
        self,
        degradation: Array,
        level: float,
        *,
        distance: Array | float = 0.0,
        unseen: bool | NDArray[np.bool_] = False,
    ) -> Array:
        """Return half the width of the interval at each predicted degradation (nats per token) and distance (widths), [n]."""
        factor = quantile(self.known, level, self.networks)
        wide = max(quantile(self.unseen, level, self.networks), WIDEN * factor)
        typical = _typical(degradation, self.degradation, self.typical) * (1.0 + self.per_range * np.asarray(distance))
        return np.asarray(np.where(unseen, wide, factor) * typical, dtype=float)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        named = ("degradation", "typical")
        sizes = {name: [list(one) for one in getattr(self, name)] for name in ("known", "unseen")}
        return {
            **sizes,
            **{name: list(getattr(self, name)) for name in named},
            "per_range": self.per_range,
            "networks": self.networks,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Conformal:
        """Return the intervals of `to_dict`."""
        by_family = {n: tuple(tuple(map(float, one)) for one in content[n]) for n in ("known", "unseen")}
        knots = {n: tuple(map(float, content[n])) for n in ("degradation", "typical")}
        return cls(
            known=by_family["known"], unseen=by_family["unseen"], degradation=knots["degradation"], typical=knots["typical"],
            per_range=float(content["per_range"]), networks=int(content["networks"]),
        )  # fmt: skip


def quantile(families: Sequence[tuple[float, ...]], level: float, networks: int) -> float:
    """Return the smallest size that rows up to a share `level` (1 + 1/networks) do not exceed, each family counting the same; at most the largest."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level={level} must lie between 0 and 1, for example 0.9.")
    sizes = np.concatenate([np.asarray(one, dtype=float) for one in families])
    shares = np.concatenate([np.full(len(one), 1.0 / len(one)) for one in families]) / len(families)
    order = np.argsort(sizes, kind="stable")
    place = np.searchsorted(np.cumsum(shares[order]), level * (1.0 + 1.0 / networks) - 1e-12)
    return float(sizes[order][min(int(place), len(sizes) - 1)])


def calibrate(
    name: str,
    rows: Rows,
    target: str,
    *,
    seed: int = 0,
    unseen: bool = True,
    like: Mapping[str, Any] | None = None,
    fitted: Fitter = fit_kind,
) -> Conformal:
    """Return intervals for a predictor, from refitting it without each family (and without each element type as well).

    like: the predictor's state, whose choices of inputs the refits take. fitted: `fit_kind`, or what remembers its results.
    Raises InputError with fewer than two families.
    """
    families = np.unique(rows.family)
    if len(families) < 2:
        raise InputError(
            f"Intervals come from families left out in turn; these {len(rows)} rows are of one family ({families[0]}). Add "
            "models of a second family."
        )
    predicted, far = _left_out(name, rows, target, seed, like, fitted)
    loss = rows.target(target) + rows.reference(target)
    residual = np.abs(loss - predicted)
    degradation = predicted - rows["baseline_loss"]
    knots, typical = _difficulty(degradation, residual)
    sizes = residual / _typical(degradation, knots, typical)
    per_range = _per_range(sizes, far)
    other = sizes
    if unseen and len(np.unique(rows.element)) > 2:
        held = _left_out_twice(name, rows, target, seed, like)
        if held is not None:
            other = np.abs(loss - held) / _typical(held - rows["baseline_loss"], knots, typical)

    def by_family(values: Array) -> tuple[tuple[float, ...], ...]:
        scaled = values / (1.0 + per_range * far)
        return tuple(tuple(np.sort(scaled[rows.family == family]).tolist()) for family in families)

    return Conformal(
        known=by_family(sizes),
        unseen=by_family(other),
        degradation=tuple(knots.tolist()),
        typical=tuple(typical.tolist()),
        per_range=per_range,
        networks=len({name.rsplit("@", 1)[0] for name in rows.models}),  # checkpoints of one network err together
    )


def _typical(degradation: Array, knots: Sequence[float] | Array, typical: Sequence[float] | Array) -> Array:
    """Return the typical |residual| at each degradation; beyond the largest knot it grows in proportion."""
    beyond = np.maximum(degradation / max(float(knots[-1]), FLOOR), 1.0)
    return np.asarray(np.interp(degradation, knots, typical) * beyond, dtype=float)


def _per_range(sizes: Array, far: Array) -> float:
    """Return the least of PER_RANGE with which rows outside the other families' range are covered as those inside are."""
    out = far > OUTSIDE
    if not out.any() or out.all():
        return PER_RANGE[0]
    inside = float(np.quantile(sizes[~out], CHOSEN_AT))
    enough = [k for k in PER_RANGE if np.mean(sizes[out] <= inside * (1.0 + k * far[out])) >= CHOSEN_AT]
    return min(enough, default=PER_RANGE[-1])


def _left_out(
    name: str, rows: Rows, target: str, seed: int, like: Mapping[str, Any] | None, fitted: Fitter
) -> tuple[Array, Array]:
    """Return the loss that was predicted of each row when its family was left out, and how far it lay outside the others, [n]."""
    predicted, far = np.full(len(rows), np.nan), np.zeros(len(rows))
    values = range_values(rows, name)
    for family in np.unique(rows.family):
        held = rows.family == family
        state = fitted(name, rows.take(~held), target, seed=seed, like=like)
        predicted[held] = predict_kind(name, state, rows.take(held), target)
        others = ranges_of({key: value[~held] for key, value in values.items()})
        far[held] = distance(others, {key: value[held] for key, value in values.items()})
    return predicted, far


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
