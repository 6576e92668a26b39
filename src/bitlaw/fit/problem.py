"""A law, a table and a noise model as arrays: values and slopes of every row for one or many parameter sets.

A point is the vector of the free parameters on their fitting scale (logarithm where the law says `log`):

    point  [p] or [B, p]      mean  [n] or [B, n]      slopes  [n, p] or [B, n, p]

Means and measured values are in nats, or logarithms of nats in a problem in log space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.laws import Law
from bitlaw.laws.law import Array

if TYPE_CHECKING:
    from bitlaw.fit.table import Table

Beforehand = bool | Mapping[str, tuple[float, float]]
"""What is known of parameters beforehand: what the law says (True), nothing (False), or name -> (centre, standard deviation)."""

SMALLEST = 1e-300  # what the logarithm of a law that is not positive is taken of


def to_point(law: Law, free: tuple[str, ...], values: Mapping[str, Any]) -> Array:
    """Return parameter values (scalars or [B]) as a point on the fitting scale: [p] or [B, p]."""
    parts = [np.log(values[name]) if law.parameter(name).log else np.asarray(values[name], float) for name in free]
    return np.stack(parts, axis=-1)


def from_point(
    law: Law,
    free: tuple[str, ...],
    fixed: Mapping[str, float],
    point: Array,
    tied: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the parameter values of a point; of points [B, p], arrays [B, 1] that broadcast over rows."""
    columns = point[..., None, :] if point.ndim > 1 else point
    values: dict[str, Any] = dict(fixed)
    for index, name in enumerate(free):
        value = columns[..., index]
        values[name] = np.exp(value) if law.parameter(name).log else value
    for name, other in (tied or {}).items():
        values[name] = values[other]
    return values


def point_slopes(
    law: Law, free: tuple[str, ...], tied: Mapping[str, str], values: Mapping[str, Any], columns: Mapping[str, Any]
) -> list[Array]:
    """Return d nats / d point for each free parameter; a parameter carries those tied to it."""
    gradient = law.derivatives(values, columns)
    found = []
    for name in free:
        slope = gradient[name]
        for follower, leader in tied.items():
            if leader == name:
                slope = slope + gradient[follower]
        found.append(slope * values[name] if law.parameter(name).log else slope)
    return found


def split(
    law: Law, fixed: Mapping[str, float], tied: Mapping[str, str], free: Iterable[str]
) -> tuple[tuple[str, ...], dict[str, float], dict[str, str]]:
    """Return (free names, held values, ties): what the caller says, else what the law holds and ties by itself."""
    freed = set(free)
    for name in (*fixed, *tied, *tied.values(), *freed):
        law.parameter(name)
    if both := sorted((set(fixed) | set(tied)) & freed):
        raise InputError(f"{', '.join(both)} cannot be free and fixed or tied at once.")
    if both := sorted(set(fixed) & set(tied)):
        raise InputError(f"{', '.join(both)} cannot be fixed and tied at once.")
    held = {p.name: p.held for p in law.parameters if p.held is not None} | dict(fixed)
    ties = {p.name: p.tied for p in law.parameters if p.tied} | dict(tied)
    held = {name: float(value) for name, value in held.items() if name not in freed and name not in tied}
    ties = {name: leader for name, leader in ties.items() if name not in freed and name not in held}
    for name, leader in list(ties.items()):
        if leader in ties:
            raise InputError(f"{name} is tied to {leader}, which is tied to {ties[leader]}: tie both to the last.")
        if leader in held:
            held[name] = held[leader]
            del ties[name]
    names = tuple(name for name in law.names if name not in held and name not in ties)
    if not names:
        raise InputError(f"Every parameter of {law.name!r} is fixed. Leave at least one free.")
    return names, held, ties


def known_beforehand(law: Law, priors: Beforehand) -> dict[str, tuple[float, float]]:
    """Return parameter -> (centre, standard deviation) on the fitting scale. Raises for names or widths that cannot be."""
    if isinstance(priors, bool):
        return {p.name: p.prior for p in law.parameters if priors and p.prior is not None}
    found = {}
    for name, (centre, spread) in priors.items():
        law.parameter(name)
        if not (np.isfinite(centre) and spread > 0):
            raise InputError(
                f"priors[{name!r}] = ({centre}, {spread}) needs a number and a standard deviation above 0."
            )
        found[name] = (float(centre), float(spread))
    return found


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The arrays of one fit.

    weights [n]: how much each row counts (its variance is divided by it). censored [n]: rows of which only is known
    that the truth is at least y. centre, prior [p]: centre and standard deviation of what is known of a parameter
    beforehand (infinite: nothing); offsets are shrunk towards 0 that way.
    """

    law: Law
    columns: Mapping[str, Array]
    y: Array
    se: Array
    free: tuple[str, ...]
    fixed: Mapping[str, float]
    lower: Array
    upper: Array
    weights: Array
    censored: NDArray[np.bool_]
    centre: Array
    prior: Array
    tied: Mapping[str, str] = field(default_factory=dict)
    log: bool = False

    @classmethod
    def of(
        cls,
        law: Law,
        table: Table,
        fixed: Mapping[str, float],
        tied: Mapping[str, str] | None = None,
        free: Iterable[str] = (),
        *,
        weights: Array | None = None,
        censored: NDArray[np.bool_] | None = None,
        log: bool = False,
        priors: Beforehand = True,
    ) -> Problem:
        """Return the problem of fitting the free parameters of a law to its target in a table."""
        names, held, ties = split(law, fixed, tied or {}, free)
        bounds = [(law.parameter(name).lower, law.parameter(name).upper) for name in names]
        scale = [np.log if law.parameter(name).log else float for name in names]
        known = known_beforehand(law, priors)
        beforehand = [known.get(name, (0.0, np.inf)) for name in names]
        se = table["qid_se"] if law.target == "qid" and "qid_se" in table else np.zeros(len(table))
        y = table[law.target]
        return cls(
            law=law,
            columns={name: table[name] for name in law.variables},
            y=np.log(y) if log else y,
            se=np.nan_to_num(se / y if log else se, nan=0.0),
            free=names,
            fixed=held,
            lower=np.array([to(low) for to, (low, _) in zip(scale, bounds)]),
            upper=np.array([to(high) for to, (_, high) in zip(scale, bounds)]),
            weights=np.ones(len(table)) if weights is None else weights,
            censored=np.zeros(len(table), dtype=bool) if censored is None else censored,
            centre=np.array([known[0] for known in beforehand]),
            prior=np.array([known[1] for known in beforehand]),
            tied=ties,
            log=log,
        )

    def values(self, point: Array) -> dict[str, Any]:
        """Return every parameter's value at a point."""
        return from_point(self.law, self.free, self.fixed, point, self.tied)

    def nats(self, point: Array) -> Array:
        """Return the law's value for every row, in nats."""
        return np.broadcast_to(
            self.law.evaluate(self.values(point), self.columns), (*point.shape[:-1], len(self.y))
        ).astype(float)

    def mean(self, point: Array) -> Array:
        """Return the law's value for every row, on the scale of y."""
        nats = self.nats(point)
        return np.asarray(np.log(np.maximum(nats, SMALLEST))) if self.log else nats

    def slopes(self, point: Array) -> Array:
        """Return d mean / d point."""
        values = self.values(point)
        shape = (*point.shape[:-1], len(self.y))
        parts = point_slopes(self.law, self.free, self.tied, values, self.columns)
        slopes = np.stack([np.broadcast_to(part, shape) for part in parts], axis=-1)
        return slopes / np.maximum(self.nats(point), SMALLEST)[..., None] if self.log else slopes

    def complete(self, mean: Array, spread: Array, y: Array | None = None) -> Array:
        """Return y with censored rows replaced by what they are expected to be, given that they are at least y.

        mean + spread h((y - mean)/spread) with h the normal density over its upper tail: the weighted residual is then
        the slope of the censored likelihood (Tobin 1958).
        """
        y = self.y if y is None else y
        if not self.censored.any():
            return y
        expected = mean + spread * hazard((y - mean) / spread)
        return np.where(self.censored, expected, y)

    def beyond(self, point: Array) -> Array:
        """Return the residuals of what is known beforehand, [q]: distance from the centre in standard deviations."""
        kept = np.isfinite(self.prior)
        return np.asarray((point[kept] - self.centre[kept]) / self.prior[kept])

    def beyond_slopes(self) -> Array:
        """Return their slopes, [q, p]."""
        return np.asarray(np.diag(1.0 / self.prior)[np.isfinite(self.prior)])

    def with_y(self, y: Array) -> Problem:
        """Return the same problem with other measured values."""
        return replace(self, y=y)


def hazard(z: Array) -> Array:
    """Return the normal density at z over the probability above z."""
    from scipy.special import log_ndtr

    return np.asarray(np.exp(-0.5 * z**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-z)))
