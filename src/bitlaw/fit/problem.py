"""A law, a table and a noise model as arrays: values and slopes of every row for one or many parameter sets.

A point is the vector of the free parameters on their fitting scale (logarithm where the law says `log`):

    point  [p] or [B, p]      mean  [n] or [B, n]      slopes  [n, p] or [B, n, p]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.laws import Law
from bitlaw.laws.law import Array

if TYPE_CHECKING:
    from bitlaw.fit.table import Table


def to_point(law: Law, free: tuple[str, ...], values: Mapping[str, Any]) -> Array:
    """Return parameter values (scalars or [B]) as a point on the fitting scale: [p] or [B, p]."""
    parts = [np.log(values[name]) if law.parameter(name).log else np.asarray(values[name], float) for name in free]
    return np.stack(parts, axis=-1)


def from_point(law: Law, free: tuple[str, ...], fixed: Mapping[str, float], point: Array) -> dict[str, Any]:
    """Return the parameter values of a point; of points [B, p], arrays [B, 1] that broadcast over rows."""
    columns = point[..., None, :] if point.ndim > 1 else point
    values: dict[str, Any] = dict(fixed)
    for index, name in enumerate(free):
        value = columns[..., index]
        values[name] = np.exp(value) if law.parameter(name).log else value
    return values


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The arrays of one fit. `weights` counts how often a row is there: [n], or [B, n] in a bootstrap."""

    law: Law
    columns: Mapping[str, Array]
    y: Array
    se: Array
    free: tuple[str, ...]
    fixed: Mapping[str, float]
    lower: Array
    upper: Array

    @classmethod
    def of(cls, law: Law, table: Table, fixed: Mapping[str, float]) -> Problem:
        """Return the problem of fitting the free parameters of a law to its target in a table."""
        for name in fixed:
            law.parameter(name)
        free = tuple(name for name in law.names if name not in fixed)
        if not free:
            raise InputError(f"Every parameter of {law.name!r} is fixed. Leave at least one free.")
        bounds = [(law.parameter(name).lower, law.parameter(name).upper) for name in free]
        scale = [np.log if law.parameter(name).log else float for name in free]
        se = table["qid_se"] if law.target == "qid" and "qid_se" in table else np.zeros(len(table))
        return cls(
            law=law,
            columns={name: table[name] for name in law.variables},
            y=table[law.target],
            se=np.nan_to_num(se, nan=0.0),
            free=free,
            fixed=dict(fixed),
            lower=np.array([to(low) for to, (low, _) in zip(scale, bounds)]),
            upper=np.array([to(high) for to, (_, high) in zip(scale, bounds)]),
        )

    def values(self, point: Array) -> dict[str, Any]:
        """Return every parameter's value at a point."""
        return from_point(self.law, self.free, self.fixed, point)

    def mean(self, point: Array) -> Array:
        """Return the law's value for every row."""
        return np.broadcast_to(
            self.law.evaluate(self.values(point), self.columns), (*point.shape[:-1], len(self.y))
        ).astype(float)

    def slopes(self, point: Array) -> Array:
        """Return d mean / d point."""
        values = self.values(point)
        gradient = self.law.derivatives(values, self.columns)
        shape = (*point.shape[:-1], len(self.y))
        parts = [
            np.broadcast_to(gradient[name] * (values[name] if self.law.parameter(name).log else 1.0), shape)
            for name in self.free
        ]
        return np.stack(parts, axis=-1)

    def with_y(self, y: Array) -> Problem:
        """Return the same problem with other measured values."""
        return replace(self, y=y)
