"""Measurements in one SQLite file: no server, one transaction an `add`, on disk when `add` returns.

The journal is SQLite's rollback journal, not the write-ahead log: the store stays a single file that may be copied
between two runs and may lie on a network disk. `synchronous=EXTRA` is FULL plus a sync of the folder, so that a
commit holds even if power fails just after it. A commit costs milliseconds, a measurement seconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bitlaw.errors import InputError, StoreError
from bitlaw.records import COLUMNS, Measurement
from bitlaw.store.contract import Filter, Store, accepted_values
from bitlaw.store.rows import from_row, to_row

APPLICATION_ID = 0x6269746C  # "bitl": tells our files from other programs'
WAIT_SECONDS = 30.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE measurements (
            position INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            suite TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL, "commit" TEXT NOT NULL,
            family TEXT NOT NULL, parameters INTEGER NOT NULL, parameters_total INTEGER, tokens INTEGER,
            learning_rate REAL, peak_learning_rate REAL, schedule TEXT, training_seed INTEGER,
            method TEXT NOT NULL, format TEXT NOT NULL, bits REAL NOT NULL, group_size INTEGER NOT NULL,
            options TEXT NOT NULL,
            calibration_name TEXT NOT NULL, calibration_token_hash TEXT NOT NULL,
            calibration_windows INTEGER NOT NULL, calibration_window_tokens INTEGER NOT NULL,
            calibration_beginning_of_sequence TEXT NOT NULL,
            evaluation_name TEXT NOT NULL, evaluation_token_hash TEXT NOT NULL,
            evaluation_windows INTEGER NOT NULL, evaluation_window_tokens INTEGER NOT NULL,
            evaluation_beginning_of_sequence TEXT NOT NULL,
            state TEXT NOT NULL, reason TEXT NOT NULL, windows INTEGER, tokens_scored INTEGER, tokens_squared REAL,
            nats REAL, nats_squared REAL, nats_tokens REAL, baseline_nats REAL, difference_squared REAL,
            difference_tokens REAL, kl_nats REAL, agreements INTEGER, non_finite_tokens INTEGER NOT NULL,
            bytes_scored INTEGER, quantized_layers INTEGER NOT NULL, quantized_parameters INTEGER NOT NULL,
            bits_per_weight REAL, sqnr_db REAL, fallback_layers INTEGER NOT NULL, fallbacks TEXT NOT NULL,
            bitlaw_version TEXT NOT NULL, torch_version TEXT NOT NULL, transformers_version TEXT NOT NULL,
            device TEXT NOT NULL, dtype TEXT NOT NULL, kernel TEXT NOT NULL, seconds REAL NOT NULL, date TEXT NOT NULL
        )""",
        "CREATE INDEX measurements_checkpoint ON measurements (suite, model, step)",
    ),
    (
        "ALTER TABLE measurements ADD COLUMN activations TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE measurements ADD COLUMN kv_cache TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE measurements ADD COLUMN activation_kernel REAL",
    ),
    (
        "ALTER TABLE measurements ADD COLUMN weight_kernel REAL",
        "ALTER TABLE measurements ADD COLUMN weight_norm REAL",
        "ALTER TABLE measurements ADD COLUMN gradient_along REAL",
        "ALTER TABLE measurements ADD COLUMN curvature_along REAL",
    ),
    ("ALTER TABLE measurements ADD COLUMN least_expert_tokens INTEGER",),
    ("ALTER TABLE measurements ADD COLUMN notes TEXT NOT NULL DEFAULT ''",),
)
"""Step i takes a store from schema i to i + 1. Steps are appended and never edited; `PRAGMA user_version` counts them."""


class SQLiteStore(Store):
    """A store in the SQLite file `path`; see `open_store` for `create`. Waits `wait` seconds for another writer."""

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
            self._connection.row_factory = sqlite3.Row
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
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._explained(doing):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
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

    def _migrate(self, migrations: Sequence[Sequence[str]], *, create: bool) -> None:
        newest = len(migrations)
        version = self._version()
        if version > newest:
            raise StoreError(
                f"Store {self.where!r} has schema {version}; this bitlaw knows schemas up to {newest}. "
                "Upgrade bitlaw to the version that wrote it, or export it to CSV there and import that here."
            )
        if version == 0 and not create:
            raise StoreError(f"{self.where!r} is empty: no measurement was ever stored. Run `bitlaw measure` first.")
        if version == newest:
            return
        with self._transaction("migrate") as db:
            version = self._version()  # again under the lock: another process may have been first
            for step in migrations[version:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {max(version, newest)}")

    def add(self, measurements: Iterable[Measurement]) -> int:
        """Keep the measurements durably, all or none -> how many were new or replaced a failed one."""
        rows = [to_row(m) for m in measurements]
        if not rows:
            return 0
        with self._transaction("write") as db:
            return sum(db.execute(_UPSERT, row).rowcount for row in rows)

    def keys(self, state: str | None = None) -> set[str]:
        """Content keys held, of measurements in that state or of all."""
        condition, values = _where({} if state is None else {"state": state})
        with self._explained("read"):
            return {row[0] for row in self._db.execute(f"SELECT key FROM measurements{condition}", values)}

    def read(self, **filters: Filter) -> list[Measurement]:
        """Measurements that match every filter, in the order in which they were first added."""
        condition, values = _where(filters)
        with self._explained("read"):
            rows = self._db.execute(f"SELECT * FROM measurements{condition} ORDER BY position", values).fetchall()
        try:
            return [from_row(dict(row)) for row in rows]
        except InputError as error:
            raise StoreError(f"Store {self.where!r} holds a row that bitlaw did not write: {error}") from error

    def count(self, **filters: Filter) -> int:
        """How many measurements match every filter."""
        condition, values = _where(filters)
        with self._explained("read"):
            return int(self._db.execute(f"SELECT count(*) FROM measurements{condition}", values).fetchone()[0])

    def delete(self, keys: Iterable[str]) -> int:
        """Forget the measurements with these keys -> how many there were."""
        chosen = [(key,) for key in keys]
        with self._transaction("write") as db:
            return max(db.executemany("DELETE FROM measurements WHERE key = ?", chosen).rowcount, 0)

    def close(self) -> None:
        """Release the store; closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _upsert() -> str:
    names = ", ".join(f'"{c}"' for c in COLUMNS)
    values = ", ".join(f":{c}" for c in COLUMNS)
    changes = ", ".join(f'"{c}" = excluded."{c}"' for c in COLUMNS if c != "key")
    return (
        f"INSERT INTO measurements ({names}) VALUES ({values}) ON CONFLICT (key) DO UPDATE SET {changes} "
        "WHERE measurements.state <> 'ok' AND excluded.state = 'ok'"
    )


_UPSERT = _upsert()


def _where(filters: dict[str, Filter]) -> tuple[str, list[object]]:
    """Return filters as an SQL condition (column names are checked, values are bound) and its values."""
    conditions: list[str] = []
    values: list[object] = []
    for column, given in filters.items():
        cells = accepted_values(column, given)
        known = [cell for cell in cells if cell is not None]
        condition = f'"{column}" IN ({", ".join("?" * len(known))})'
        conditions.append(f'({condition} OR "{column}" IS NULL)' if None in cells else condition)
        values.extend(known)
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


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
