"""Which rows a law must predict without having seen them.

largest-size     the rows of the largest model
later-tokens     the rows beyond 0.4 of the largest token count: later checkpoints, the hard one
bits, family, method, format, suite, model      every value of the column in turn, the scores of all turns together
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit.table import Table

LATER = 0.4  # of the largest token count
EACH = ("bits", "family", "method", "format", "suite", "model")
HOLDOUTS = ("largest-size", "later-tokens", *EACH)


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """A name, what is left out in words, and the rows of each turn: masks [n], True where a row is left out."""

    name: str
    words: str
    turns: tuple[NDArray[np.bool_], ...]


def holdout(table: Table, name: str) -> Holdout:
    """Return the holdout of that name. Raises UnknownName, or InputError where the table has nothing to leave out."""
    if name == "largest-size":
        largest = float(np.max(table["parameters"]))
        turns, words = [table["parameters"] == largest], f"the largest model ({largest:.3g} parameters)"
    elif name == "later-tokens":
        edge = LATER * float(np.max(table["tokens"]))
        turns, words = [table["tokens"] > edge], f"checkpoints beyond {edge:.3g} tokens"
    elif name in EACH:
        values = np.unique(table[name])
        turns, words = [table[name] == value for value in values], f"each {name} in turn ({len(values)})"
    else:
        raise UnknownName("holdout", name, HOLDOUTS)
    if any(turn.all() for turn in turns):
        raise InputError(f"Leaving out {words} of {table.source} leaves no rows to fit.")
    return Holdout(name=name, words=words, turns=tuple(turns))


def possible(table: Table, names: Iterable[str] = HOLDOUTS) -> tuple[str, ...]:
    """Return which of the holdouts this table allows."""
    needs = {"largest-size": "parameters", "later-tokens": "tokens"}
    found = []
    for name in names:
        column = needs.get(name, name)
        if column in table and len(np.unique(table[column])) > 1:
            found.append(name)
    return tuple(found)
