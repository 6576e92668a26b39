"""What the stores in SQL share: the statements, and the way from an older schema to the newest. A backend adds its
connection, its transactions, its errors and what its dialect says otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from bitlaw.errors import InputError, StoreError
from bitlaw.records import COLUMNS, Measurement
from bitlaw.store.contract import Filter, Store, accepted_values
from bitlaw.store.rows import Cell, from_row, to_row

_NAMES = ", ".join(f'"{c}"' for c in COLUMNS)


class SQLStore(Store):
    """A store whose measurements are the rows of the table `measurements`, at the newest version of schema.py."""

    mark: ClassVar[str]
    """How the driver writes the place of a value."""

    @abstractmethod
    def _version(self) -> int:
        """Version of the schema, 0 where there is none yet; what belongs to another program raises StoreError."""

    @abstractmethod
    def _migration(self) -> AbstractContextManager[None]:
        """One transaction that keeps every other writer and migration out."""

    @abstractmethod
    def _define(self, statement: str) -> None:
        """Run a statement of schema.py."""

    @abstractmethod
    def _set_version(self, version: int) -> None:
        """Note the version of the schema."""

    @abstractmethod
    def _missing(self) -> str:
        """Say that nothing was ever stored here, and what to do."""

    @abstractmethod
    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Return the rows of a query."""

    @abstractmethod
    def _write(self, statement: str, rows: Sequence[Sequence[Cell]]) -> int:
        """Run the statement once a row, all in one durable transaction -> how many rows of the table it changed."""

    def _migrate(self, migrations: Sequence[Sequence[str]], *, create: bool) -> None:
        """Take the store to the newest schema, from nothing only with `create`. A newer one raises StoreError."""
        newest = len(migrations)
        version = self._version()
        if version > newest:
            raise StoreError(
                f"Store {self.where!r} has schema {version}; this bitlaw knows schemas up to {newest}. "
                "Upgrade bitlaw to the version that wrote it, or export it to CSV there and import that here."
            )
        if version == 0 and not create:
            raise StoreError(self._missing())
        if version == newest:
            return
        with self._migration():
            version = self._version()  # again under the lock: another process may have been first
            for step in migrations[version:]:
                for statement in step:
                    self._define(statement)
            self._set_version(max(version, newest))

    def add(self, measurements: Iterable[Measurement]) -> int:
        """Keep the measurements durably, all or none -> how many were new or replaced a failed one."""
        rows = [tuple(to_row(m).values()) for m in measurements]
        return self._write(self._upsert(), rows) if rows else 0

    def keys(self, state: str | None = None) -> set[str]:
        """Content keys held, of measurements in that state or of all."""
        condition, values = self._condition({} if state is None else {"state": state})
        return {row[0] for row in self._fetch(f"SELECT key FROM measurements{condition}", values)}

    def read(self, **filters: Filter) -> list[Measurement]:
        """Measurements that match every filter, in the order in which they were first added."""
        condition, values = self._condition(filters)
        rows = self._fetch(f"SELECT {_NAMES} FROM measurements{condition} ORDER BY position", values)
        try:
            return [from_row(dict(zip(COLUMNS, row))) for row in rows]
        except InputError as error:
            raise StoreError(f"Store {self.where!r} holds a row that bitlaw did not write: {error}") from error

    def count(self, **filters: Filter) -> int:
        """How many measurements match every filter."""
        condition, values = self._condition(filters)
        return int(self._fetch(f"SELECT count(*) FROM measurements{condition}", values)[0][0])

    def delete(self, keys: Iterable[str]) -> int:
        """Forget the measurements with these keys -> how many there were."""
        rows = [(key,) for key in keys]
        return self._write(f"DELETE FROM measurements WHERE key = {self.mark}", rows) if rows else 0

    def _upsert(self) -> str:
        changes = ", ".join(f'"{c}" = excluded."{c}"' for c in COLUMNS if c != "key")
        return (
            f"INSERT INTO measurements ({_NAMES}) VALUES ({', '.join([self.mark] * len(COLUMNS))}) "
            f"ON CONFLICT (key) DO UPDATE SET {changes} WHERE measurements.state <> 'ok' AND excluded.state = 'ok'"
        )

    def _any_of(self, column: str, cells: Sequence[Cell]) -> tuple[str, list[Any]]:
        """Return the condition that a column holds one of the cells, and the values to bind."""
        return f'"{column}" IN ({", ".join([self.mark] * len(cells))})', list(cells)

    def _condition(self, filters: dict[str, Filter]) -> tuple[str, list[Any]]:
        """Return filters as an SQL condition (column names are checked, values are bound) and its values."""
        conditions: list[str] = []
        values: list[Any] = []
        for column, given in filters.items():
            cells = accepted_values(column, given)
            known = [cell for cell in cells if cell is not None]
            condition, bound = self._any_of(column, known)
            conditions.append(f'({condition} OR "{column}" IS NULL)' if None in cells else condition)
            values.extend(bound)
        return (" WHERE " + " AND ".join(conditions) if conditions else ""), values
