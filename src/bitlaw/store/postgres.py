"""Measurements in a PostgreSQL database: for several drivers that write at once.

Two tables: `measurements`, and `bitlaw_schema` with one row, the version. A writer locks that row first, so writers take
turns for the milliseconds of an `add`: rows of one `add` never meet those of another in a deadlock, `position` grows in
the order of commits, and a driver notices when a newer bitlaw migrated the store under it. Readers wait for nobody.

Everything done here may be done twice (an `add` because of the keys), so where the connection is lost, it is made anew
and the work begun again. psycopg (the extra `postgres`) is loaded when a store is opened.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from bitlaw.errors import StoreError
from bitlaw.records import COLUMNS
from bitlaw.store.address import require_plain, shown
from bitlaw.store.rows import Cell
from bitlaw.store.schema import APPLICATION_ID, MIGRATIONS
from bitlaw.store.sql import SQLStore

if TYPE_CHECKING:
    import psycopg

WAIT_SECONDS = 30.0
RECONNECT_SECONDS = 120.0
CONNECT_SECONDS = 10

T = TypeVar("T")

_WORDS = {
    "INTEGER PRIMARY KEY": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "INTEGER": "BIGINT",
    "REAL": "DOUBLE PRECISION",
}

# A text of PostgreSQL holds every character but NUL: \x1a0 stands for it, and \x1a\x1a for \x1a itself.
_ESCAPES = {"\x00": "\x1a0", "\x1a": "\x1a\x1a"}
_UNESCAPES = {written: character for character, written in _ESCAPES.items()}

_SETTINGS = """SELECT
    set_config('lock_timeout', %s, false),
    set_config('idle_in_transaction_session_timeout', %s, false),
    set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"""

_WRITABLE = """SELECT current_setting('transaction_read_only') = 'off',
    has_table_privilege('bitlaw_schema', 'SELECT') AND has_table_privilege('bitlaw_schema', 'UPDATE')
    AND has_table_privilege('measurements', 'SELECT') AND has_table_privilege('measurements', 'INSERT')
    AND has_table_privilege('measurements', 'UPDATE') AND has_table_privilege('measurements', 'DELETE')"""

_CLOCK = "SELECT 1"
"""Starts the server's clock for idle transactions again, which the Flush that ends psycopg's pipeline has stopped."""

_GRANTS = (
    "Let the owner of the tables grant SELECT on measurements and bitlaw_schema for reading, "
    "INSERT, UPDATE and DELETE on the first and UPDATE on the second for writing"
)

_ADVICE = (
    (r'database "[^"]*" does not exist', "Make it with createdb, or correct the name at the end of the address"),
    (r"password|authentication|role \"[^\"]*\" does not exist", "Check user and password; ~/.pgpass or the variable PGPASSWORD may hold it"),
    (r"pg_hba", "The server does not let this user in from this machine: its pg_hba.conf decides"),
    (r"refused|timeout|translate host|resolve|No such file|unreachable|starting up", "Check that the server runs, and host and port in the address"),
    (r"too many (clients|connections)|reserved for", "Close other connections, or raise max_connections"),
)  # fmt: skip
"""What is in a message of a connection that failed, and what to do; the message itself is said too."""


class PostgresStore(SQLStore):
    """A store in the database at a libpq address; see `open_store` for `create`.

    wait: seconds to wait for another writer; reconnect: for a server that went away to come back.
    """

    mark = "%s"

    def __init__(
        self,
        address: str,
        *,
        create: bool = True,
        wait: float = WAIT_SECONDS,
        reconnect: float = RECONNECT_SECONDS,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
    ) -> None:
        self.where = shown(address)
        self._wait = wait
        self._reconnect = reconnect
        self._newest = len(migrations)
        self._connection: psycopg.Connection | None = None
        self._closed = False
        require_plain(address)
        self._parameters = self._read_address(address)
        try:
            with self._explained("open"):
                self._connection = self._connect()
                self._migrate(migrations, create=create)
                if create:
                    self._require_writable()
        except BaseException:
            self.close()
            raise

    def _read_address(self, address: str) -> dict[str, Any]:
        """Return the address as libpq's parameters, with ours where it says nothing."""
        try:
            from psycopg import Error
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            raise StoreError(
                f"Store {self.where!r} needs psycopg, which is missing ({error}). Run: pip install 'bitlaw[postgres]'."
            ) from error
        try:
            given = conninfo_to_dict(address)
        except (Error, UnicodeError):
            # Not its message, nor it as the cause: it may quote a part of the password.
            raise StoreError(
                f"{self.where!r} is not an address that PostgreSQL's library understands. Give "
                "postgresql://USER@HOST:PORT/DATABASE, special characters as %XX."
            ) from None
        ours: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "fallback_application_name": "bitlaw",
            # Ends the waiting for a server that vanished without a word within about a minute.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        }
        return {**ours, **given, "client_encoding": "UTF8"}

    def _connect(self) -> psycopg.Connection:
        import psycopg
        from psycopg.types.numeric import Int8Dumper
        from psycopg.types.string import StrDumper

        connection = psycopg.connect(autocommit=True, **self._parameters)
        try:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise StoreError(
                    f"The database of store {self.where!r} has the encoding {encoding}, which lacks characters. "
                    "Make one with createdb --encoding=UTF8 --template=template0."
                )
            # One type a column, whatever its value, so that one prepared statement serves all rows.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.adapters.register_dumper(str, StrDumper)
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            wait = max(round(self._wait * 1000), 2)
            # A driver that froze in its transaction, or whose machine vanished, is thrown out before the others give up.
            connection.execute(_SETTINGS, (f"{wait}ms", f"{wait // 2}ms"))
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def _db(self) -> psycopg.Connection:
        """The connection, made anew where it was lost."""
        if self._closed:
            raise StoreError(f"Store {self.where!r} is closed. Open it again with open_store.")
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn psycopg's errors into StoreErrors that say what to do."""
        from psycopg import Error

        try:
            yield
        except Error as error:
            raise StoreError(f"Could not {doing} store {self.where!r}: {self._advice(error)}.") from error

    def _advice(self, error: psycopg.Error) -> str:
        text = " ".join((error.diag.message_primary or str(error)).split())
        text = re.sub(r" Is the server running[^?]*\?", "", text).rstrip(".")  # our advice says it
        match error.sqlstate:
            case "55P03":  # lock_not_available
                return f"another process was writing it for {self._wait:g} s. Wait for that run, or try again"
            case "42501":  # insufficient_privilege
                return f"{text}. {_GRANTS}, and CREATE on the schema to make or migrate them"
            case "25006":  # read_only_sql_transaction
                return f"the server takes no writes there ({text}). Give the address of the primary server"
            case "3F000":  # invalid_schema_name
                return f"{text}. Make the schema of the search path with CREATE SCHEMA"
            case "42P01" | "42703":  # undefined_table, undefined_column
                return f"its tables were changed or dropped by another program ({text})"
            case "53100":  # disk_full
                return f"{text}. Make room; everything added before is safe"
            case None:
                for pattern, advice in _ADVICE:
                    if re.search(pattern, text):
                        return f"{text}. {advice}"
        return text

    def _again(self, doing: str, work: Callable[[psycopg.Connection], T]) -> T:
        """Return what the work returns; where the connection is lost, connect anew and begin the work again.

        If it was lost while the server committed, the rows of an `add` are there already and do not count as new.
        """
        from psycopg import Error

        deadline, pause = 0.0, 0.05
        with self._explained(doing):
            while True:
                try:
                    return work(self._db)
                except Error as error:
                    now = time.monotonic()
                    deadline = deadline or now + self._reconnect
                    if not self._lost(error) or now + pause > deadline:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 2.0)

    def _lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is gone, rather than a statement refused."""
        code = error.sqlstate or ""
        if code.startswith(("08", "57P")) or code == "25P03":  # connection, shutdown, idle in a transaction
            if self._connection is not None:
                self._connection.close()
            return True
        return self._connection is None or bool(self._connection.closed)

    def _version(self) -> int:
        """Schema version, 0 where there are no tables; a table of another program is refused."""
        if self._has_table("bitlaw_schema"):
            row = self._db.execute("SELECT version FROM bitlaw_schema").fetchone()
            return int(row[0]) if row else 0
        if self._has_table("measurements"):
            raise StoreError(
                f"{self.where!r} has a table 'measurements' of another program. Give another database, or a schema of "
                "its own: ?options=-csearch_path%3DSCHEMA."
            )
        return 0

    def _has_table(self, name: str) -> bool:
        """Whether the search path leads to a table of that name."""
        # Not to_regclass: in a transaction that waited for another's CREATE TABLE it still says what was there before.
        found = self._db.execute("SELECT 1 FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", (name,))
        return found.fetchone() is not None

    @contextmanager
    def _migration(self) -> Iterator[None]:
        with self._explained("migrate"), self._db.transaction():
            self._db.execute("SELECT pg_advisory_xact_lock(%s)", (APPLICATION_ID,))  # the row to lock may not exist yet
            if not self._has_table("bitlaw_schema"):
                self._version()  # raises where the other table is already there
                self._db.execute("CREATE TABLE bitlaw_schema (version BIGINT NOT NULL)")
            self._db.execute("SELECT version FROM bitlaw_schema FOR UPDATE")
            yield

    def _define(self, statement: str) -> None:
        self._db.execute(re.sub(rf"\b({'|'.join(_WORDS)})\b", lambda word: _WORDS[word[0]], statement))

    def _set_version(self, version: int) -> None:
        # Updated, not replaced: a writer that waits for the row then sees the new version in it.
        if self._db.execute("UPDATE bitlaw_schema SET version = %s", (version,)).rowcount == 0:
            self._db.execute("INSERT INTO bitlaw_schema VALUES (%s)", (version,))

    def _missing(self) -> str:
        return f"No store at {self.where!r}: the database is empty. Check it, or run `bitlaw measure` to make one."

    def _require_writable(self) -> None:
        writable, granted = self._db.execute(_WRITABLE).fetchone() or (False, False)
        if not writable:
            raise StoreError(f"{self.where!r} takes no writes. Give the address of the primary server.")
        if not granted:
            raise StoreError(f"{self.where!r} cannot be written by this user. {_GRANTS}.")

    def _any_of(self, column: str, cells: Sequence[Cell]) -> tuple[str, list[Any]]:
        kind = {str: "text", int: "bigint", float: "double precision"}[COLUMNS[column]]
        return f'"{column}" = ANY(%s::{kind}[])', [[_escaped(cell) for cell in cells]]  # one value, however many cells

    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        def work(connection: psycopg.Connection) -> list[Sequence[Any]]:
            return list(connection.cursor(binary=True).execute(statement, values).fetchall())

        return [[_unescaped(value) for value in row] for row in self._again("read", work)]

    def _write(self, statement: str, rows: Sequence[Sequence[Cell]]) -> int:
        given = [[_escaped(value) for value in row] for row in rows]

        def work(connection: psycopg.Connection) -> int:
            with connection.transaction():
                self._lock(connection)
                cursor = connection.cursor()
                cursor.executemany(statement, given)
                connection.execute(_CLOCK)
                return cursor.rowcount

        return self._again("write", work)

    def _lock(self, connection: psycopg.Connection) -> None:
        """Wait for other writers. Raises StoreError where the schema is no longer the one this store was opened with."""
        row = connection.execute("SELECT version FROM bitlaw_schema FOR UPDATE").fetchone()
        if row is None or row[0] != self._newest:
            raise StoreError(
                f"Store {self.where!r} went to schema {row[0] if row else 'none'} while this bitlaw, which knows schema "
                f"{self._newest}, had it open. Upgrade bitlaw, or open the store again."
            )

    def close(self) -> None:
        """Release the store; closing twice is harmless."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _escaped(value: Cell) -> Cell:
    if isinstance(value, str) and ("\x00" in value or "\x1a" in value):
        return "".join(_ESCAPES.get(character, character) for character in value)
    return value


def _unescaped(value: Any) -> Any:
    if isinstance(value, str) and "\x1a" in value:
        return re.sub("\x1a[0\x1a]", lambda found: _UNESCAPES[found[0]], value)
    return value
