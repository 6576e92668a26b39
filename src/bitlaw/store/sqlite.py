"""Measurements in one SQLite file: no server, one transaction an `add`, on disk when `add` returns.

The journal is SQLite's rollback journal, not the write-ahead log: the store stays a single file that may be copied
between two runs and may lie on a network disk. `synchronous=EXTRA` is FULL plus a sync of the folder, so that a
commit holds even if power fails just after it. A commit costs milliseconds, a measurement seconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bitlaw.errors import StoreError
from bitlaw.store.rows import Cell
from bitlaw.store.schema import APPLICATION_ID, MIGRATIONS
from bitlaw.store.sql import SQLStore

WAIT_SECONDS = 30.0


class SQLiteStore(SQLStore):
    """A store in the SQLite file `path`; see `open_store` for `create`. Waits `wait` seconds for another writer."""

    mark = "?"

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        wait: float = WAIT_SECONDS,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
    ) -> None:
        self.where = str(path)
        self._wait = wait
        self._connection: sqlite3.Connection | None = None
        if create:
            _require_writable(path)
        elif not path.is_file():
            raise StoreError(f"No store at {self.where!r}. Check the path, or run `bitlaw measure` to make one.")
        with self._explained("open"):
            uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
            self._connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)
        try:
            with self._explained("open"):
                self._db.execute("PRAGMA synchronous = EXTRA")
                self._migrate(migrations, create=create)
        except BaseException:
            self.close()
            raise

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"Store {self.where!r} is closed. Open it again with open_store.")
        return self._connection

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into StoreErrors that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if "locked" in text:
                advice = f"another process was writing it for {self._wait:g} s. Wait for that run, or use another store"
            elif "not a database" in text or "malformed" in text:
                advice = f"it is not an SQLite file or is damaged ({text}). Give another path, or restore a copy"
            elif "readonly" in text or "unable to open" in text:
                advice = f"it cannot be written ({text}). Choose a path in a folder where you may write"
            elif "full" in text:
                advice = f"{text}. Make room; everything added before is safe"
            else:
                advice = text
            raise StoreError(f"Could not {doing} store {self.where!r}: {advice}.") from error

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        with self._explained(doing):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _version(self) -> int:
        """Schema version, 0 for an empty file; a file of another program is refused."""
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and (tables or version):
            raise StoreError(f"{self.where!r} is an SQLite file of another program. Give another path for the store.")
        return int(version)

    def _migration(self) -> AbstractContextManager[None]:
        return self._transaction("migrate")

    def _define(self, statement: str) -> None:
        self._db.execute(statement)

    def _set_version(self, version: int) -> None:
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {version}")

    def _missing(self) -> str:
        return f"{self.where!r} is empty: no measurement was ever stored. Run `bitlaw measure` first."

    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        with self._explained("read"):
            return self._db.execute(statement, values).fetchall()

    def _write(self, statement: str, rows: Sequence[Sequence[Cell]]) -> int:
        with self._transaction("write"):
            return sum(self._db.execute(statement, row).rowcount for row in rows)

    def close(self) -> None:
        """Release the store; closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _require_writable(path: Path) -> None:
    """Make the folder of a store and refuse a path that cannot be written, before anything is measured."""
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot make the folder {str(folder)!r} for a store: {error.strerror}. Choose another path."
        ) from error
    if path.is_dir():
        raise StoreError(f"{str(path)!r} is a folder. Give the path of a file, such as {str(path / 'runs.db')!r}.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise StoreError(f"{str(path)!r} cannot be written: it is read-only. Choose a path where you may write.")
