"""Offsets of families, methods or sources: each multiplies the law by a factor of its own, shrunk towards 1.

    law'(row) = law(row) * exp(sum over factors of offset[factor = the row's level])

Offsets of one factor are normal around 0 with a spread that is fitted too, so a level with few rows borrows from the
others and a new level is predicted with that spread. Rows carry a column `is:method=gptq` of 0 and 1 for each level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.table import TEXTS, Table
from bitlaw.laws import Law, Parameter
from bitlaw.laws.law import INDICATOR, Array, Columns, Values

PREFIX = "offset:"
FARTHEST = 12.0  # e^12: more than any two methods differ
Levels = Mapping[str, tuple[str, ...]]


def levels_of(table: Table, factors: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the values of each factor, a text column with at least two of them. Raises InputError."""
    found = {}
    for factor in factors:
        if factor not in TEXTS:
            raise InputError(f"Offsets are by a text column ({', '.join(TEXTS)}), not {factor!r}.")
        values = tuple(str(value) for value in np.unique(table[factor]))
        if len(values) < 2:
            raise InputError(
                f"All rows have {factor} = {values[0]!r}: an offset cannot be told from the scale. Leave it out."
            )
        found[factor] = values
    return found


def with_offsets(law: Law, levels: Levels) -> Law:
    """Return the law times the exponential of an offset for each level; the law itself without levels."""
    if not levels:
        return law
    pairs = [(f"{PREFIX}{f}={level}", f"{INDICATOR}{f}={level}") for f, values in levels.items() for level in values]

    def factor(values: Values, columns: Columns) -> Any:
        return np.exp(sum(np.asarray(values[name]) * np.asarray(columns[column]) for name, column in pairs))

    def formula(values: Values, columns: Columns) -> Array:
        return np.asarray(law.formula(values, columns) * factor(values, columns))

    def gradient(values: Values, columns: Columns) -> dict[str, Array]:
        times = factor(values, columns)
        value = law.formula(values, columns) * times
        slopes = {name: slope * times for name, slope in law.derivatives(values, columns).items()}
        return slopes | {name: value * np.asarray(columns[column]) for name, column in pairs}

    offsets = tuple(
        Parameter(
            name=name,
            meaning=f"logarithm of the factor of {name.removeprefix(PREFIX)}",
            unit="1",
            lower=-FARTHEST,
            upper=FARTHEST,
            starts=(0.0,),
        )
        for name, _ in pairs
    )
    return replace(
        law,
        text=f"{law.text} * exp(offsets of {', '.join(levels)})",
        parameters=law.parameters + offsets,
        variables=law.variables + tuple(column for _, column in pairs),
        formula=formula,
        gradient=gradient,
    )


def indicators(columns: Mapping[str, Any], levels: Levels) -> dict[str, Array]:
    """Return the 0-and-1 columns of every level; all 0 where the factor is not among the columns."""
    found = {}
    for factor, values in levels.items():
        given = np.asarray(columns[factor], dtype=str) if factor in columns else np.asarray("")
        for value in values:
            found[f"{INDICATOR}{factor}={value}"] = np.asarray(given == value, dtype=float)
    return found


def indices(free: tuple[str, ...], levels: Levels) -> dict[str, Any]:
    """Return for each factor where its offsets stand among the free parameters."""
    return {
        factor: np.array([i for i, name in enumerate(free) if name.startswith(f"{PREFIX}{factor}=")])
        for factor in levels
    }
