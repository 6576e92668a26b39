"""What every store of measurements does; the contract tests run on each backend.

- A measurement is kept under its content key. An ok measurement is never overwritten; a failed one is replaced by a
  later ok one and by nothing else. So adding the same again is harmless, and so is running a job twice.
- `add` is one transaction: when it returns, all of it survives a crash of the process or the machine; if it raises,
  none of it was written.
- Rows come back in the order in which their keys were first added.
- Several processes may read. Several may write too, where the backend says so; a writer waits for another's transaction.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields
from types import TracebackType
from typing import Self

from bitlaw.errors import UnknownName
from bitlaw.records import COLUMNS, LATER_COLUMNS, Made, Measurement
from bitlaw.store.rows import Cell, checked_cell, to_row

Filter = Cell | Collection[Cell]

_MADE = frozenset(f.name for f in fields(Made))
REPEATABLE: tuple[str, ...] = tuple(c for c in COLUMNS if c not in _MADE and c not in LATER_COLUMNS)
"""The columns of what was asked and seen: the same on every run, unlike dates and seconds. Those of LATER_COLUMNS enter a
digest only where they are set, so digests of older stores stay."""


class Store(ABC):
    """A place that keeps measurements. Open one with `open_store`; it is a context manager and iterates in order.

    Filters name columns of `records.COLUMNS`, each with one value or a collection of values of which any may match:
    `store.read(suite="tiny", bits=[2, 3], state="ok")`. An unknown column raises UnknownName.
    """

    where: str
    """What the user opened, for messages."""

    @abstractmethod
    def add(self, measurements: Iterable[Measurement]) -> int:
        """Keep the measurements durably, all or none -> how many were new or replaced a failed one."""

    @abstractmethod
    def keys(self, state: str | None = None) -> set[str]:
        """Content keys held, of measurements in that state (`ok`, `failed`) or of all."""

    @abstractmethod
    def read(self, **filters: Filter) -> list[Measurement]:
        """Measurements that match every filter, in the order in which they were first added."""

    @abstractmethod
    def count(self, **filters: Filter) -> int:
        """How many measurements match every filter."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> int:
        """Forget the measurements with these keys -> how many there were. Nothing else ever deletes."""

    @abstractmethod
    def close(self) -> None:
        """Release the store; closing twice is harmless."""

    def digest(self) -> str:
        """SHA-256 of what was asked and seen in all rows, sorted by key; how and when they were made is left out.

        Two runs that measured the same numbers have equal digests, whatever the order, the machine or the backend.
        """
        digest = hashlib.sha256(json.dumps(REPEATABLE).encode())
        for m in sorted(self.read(), key=lambda m: m.key):
            row = to_row(m)
            later = {c: row[c] for c in LATER_COLUMNS if c not in _MADE and row[c] != LATER_COLUMNS[c]}
            digest.update(b"\n" + json.dumps([*(row[c] for c in REPEATABLE), *([later] if later else [])]).encode())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def accepted_values(column: str, given: Filter) -> list[Cell]:
    """Return a filter as the list of cells that match it, checked against the column's type."""
    if column not in COLUMNS:
        raise UnknownName("column", column, COLUMNS)
    values: list[Cell] = [given] if isinstance(given, str) or not isinstance(given, Collection) else list(given)
    return [None if value is None else checked_cell(column, value) for value in values]
