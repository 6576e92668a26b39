"""Measurements that came with bitlaw, as a store that can only be read: `open_store("dataset:mini-pythia", create=False)`.

Each is a Parquet file `data/NAME.parquet` of the package; its rows are read when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from bitlaw.errors import StoreError, UnknownName
from bitlaw.records import Measurement, flatten
from bitlaw.store.contract import Filter, Store, accepted_values
from bitlaw.store.parquet_file import read_parquet

DATASET = "dataset:"
FOLDER = Path(__file__).parent.parent / "data"


def shipped_names() -> tuple[str, ...]:
    """Names of the datasets that came with bitlaw, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.parquet")))


def shipped_file(name: str) -> Path:
    """Return the Parquet file of a shipped dataset. Raises UnknownName with the near matches."""
    if name not in shipped_names():
        raise UnknownName("dataset", name, shipped_names())
    return FOLDER / f"{name}.parquet"


class ShippedStore(Store):
    """The rows of a shipped dataset. `create=True`, adding and deleting raise StoreError that says what to do instead."""

    def __init__(self, name: str, *, create: bool = False) -> None:
        self.where = DATASET + name
        self._file = shipped_file(name)
        if create:
            self._refuse()

    def _refuse(self) -> None:
        raise StoreError(
            f"{self.where!r} came with bitlaw and can only be read. To add to it, copy it to a store of your own: "
            f"`bitlaw records export copy.parquet --store {self.where}`, then `bitlaw records import copy.parquet --store mine.db`."
        )

    @cached_property
    def _rows(self) -> list[Measurement]:
        return read_parquet(self._file)

    def add(self, measurements: Iterable[Measurement]) -> int:
        """Refuse: raises StoreError."""
        self._refuse()
        return 0

    def delete(self, keys: Iterable[str]) -> int:
        """Refuse: raises StoreError."""
        self._refuse()
        return 0

    def keys(self, state: str | None = None) -> set[str]:
        """Content keys held, of measurements in that state or of all."""
        return {m.key for m in (self.read() if state is None else self.read(state=state))}

    def read(self, **filters: Filter) -> list[Measurement]:
        """Measurements that match every filter, in the order of the file."""
        accepted = {column: accepted_values(column, given) for column, given in filters.items()}
        if not accepted:
            return list(self._rows)
        return [m for m in self._rows if _matches(m, accepted)]

    def count(self, **filters: Filter) -> int:
        """How many measurements match every filter."""
        return len(self.read(**filters))

    def close(self) -> None:
        """Release the store: there is nothing to release."""


def _matches(m: Measurement, accepted: dict[str, list[str | int | float | None]]) -> bool:
    row = flatten(m)
    return all(row[column] in values for column, values in accepted.items())
