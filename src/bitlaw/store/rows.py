"""One measurement as one row of checked scalars, and back; every backend and every file format goes through here.

A row holds exactly the columns of `records.COLUMNS`, each a str, an int or a finite float (infinity is allowed, NaN is
not: a number that does not exist is None or a failed measurement). Files carry the DERIVED columns behind them for
readers without bitlaw; they are computed on the way out and ignored on the way in.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, LATER_COLUMNS, NULLABLE, Measurement, flatten, unflatten

Cell = str | int | float | None

DERIVED: tuple[str, ...] = ("loss", "loss_se", "qid", "qid_se", "kl", "agreement")
"""Read-only columns of exported files, in nats per token (`agreement`: share of tokens); empty where not measured."""

_NAMES: Mapping[type, str] = {str: "text", int: "a whole number", float: "a number"}


def to_row(m: Measurement) -> dict[str, Cell]:
    """Return the measurement as column -> scalar, in the order of COLUMNS.

    Whole numbers in float columns become floats, NumPy scalars become Python's. Raises InputError naming the column
    for NaN, a missing value that is required, a value of another type or an integer beyond 64 bits.
    """
    flat = flatten(m)
    row: dict[str, Cell] = {}
    for column in COLUMNS:
        try:
            row[column] = checked_cell(column, flat[column])
        except InputError as error:
            raise InputError(f"Measurement {m.key} cannot be stored: {error}") from None
    return row


def from_row(row: Mapping[str, Any]) -> Measurement:
    """Return the measurement of a row; columns beyond COLUMNS are ignored, and those of LATER_COLUMNS may be missing.

    Raises InputError for a cell of the wrong type, and for a row whose key does not match its content.
    """
    given = {**LATER_COLUMNS, **row}
    cells = {column: checked_cell(column, given[column]) for column in COLUMNS}
    try:
        return unflatten(cells)
    except (ValueError, TypeError, AttributeError) as error:  # InputError is a ValueError: its text is kept
        if isinstance(error, InputError):
            raise
        raise InputError(f"Column 'options' holds {cells['options']!r}, which is not a JSON object.") from None


def derived_cells(m: Measurement) -> dict[str, float | None]:
    """Return the DERIVED values of a measurement; None where a failure or a missing sum leaves none."""
    return {name: _derived(m, name) for name in DERIVED}


def _derived(m: Measurement, name: str) -> float | None:
    try:
        value = float(getattr(m, name))
    except (ValueError, ArithmeticError):  # not measured (InputError), no token scored, or sums beyond floats
        return None
    return None if math.isnan(value) else value


def checked_cell(column: str, value: Any) -> Cell:
    """Return the value as the plain scalar its column stores, or raise InputError naming the column."""
    if value is None:
        if column in NULLABLE:
            return None
        raise InputError(f"column {column!r} is empty and must not be. Give {_NAMES[COLUMNS[column]]}.")
    kind = COLUMNS[column]
    try:
        cell = _as_kind(kind, value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"column {column!r} holds {value!r}, which is not {_NAMES[kind]}.") from None
    if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
        raise InputError(f"column {column!r} holds {cell}, which does not fit 64 bits.")
    if isinstance(cell, float) and math.isnan(cell):
        raise InputError(f"column {column!r} holds NaN. Store None, or a failed measurement with a reason.")
    return cell


def _as_kind(kind: type, value: Any) -> str | int | float:
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        return operator.index(value)
    if kind is float:
        if isinstance(value, str):
            raise TypeError
        return float(value) + 0.0  # SQLite has no negative zero: -0.0 + 0.0 is 0.0
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # lone surrogates cannot be stored: UnicodeEncodeError is a ValueError
    return str(value)
