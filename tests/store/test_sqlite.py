"""What is particular to the SQLite backend: files that are not stores, schemas, locks, permissions, kill -9."""

from __future__ import annotations

import os
import sqlite3

import pytest

from bitlaw.errors import InputError, StoreError
from bitlaw.records import COLUMNS, LATER_COLUMNS
from bitlaw.store import open_store
from bitlaw.store.rows import to_row
from bitlaw.store.schema import APPLICATION_ID, MIGRATIONS
from bitlaw.store.sqlite import SQLiteStore
from tests.store.killed_writer import acknowledged, whole_adds
from tests.store.store_samples import sample


def test_the_newest_schema_has_the_columns_of_records(tmp_path):
    open_store(tmp_path / "runs.db").close()
    database = sqlite3.connect(tmp_path / "runs.db")
    table = {row[1]: row[2] for row in database.execute("PRAGMA table_info(measurements)") if row[1] != "position"}
    database.close()
    assert table == {c: {str: "TEXT", int: "INTEGER", float: "REAL"}[kind] for c, kind in COLUMNS.items()}


def test_folders_are_made_and_a_store_is_one_file(tmp_path):
    with open_store(tmp_path / "new" / "er" / "runs ?#%.db") as store:
        store.add([sample(1)])
    assert [p.name for p in (tmp_path / "new" / "er").iterdir()] == ["runs ?#%.db"]


def test_missing_store_for_reading(tmp_path):
    with pytest.raises(StoreError, match=r"No store at .*nothing\.db"):
        open_store(tmp_path / "nothing.db", create=False)
    assert not (tmp_path / "nothing.db").exists()


def test_a_file_cut_off_before_the_first_commit_starts_anew(tmp_path):
    (tmp_path / "runs.db").touch()
    with pytest.raises(StoreError, match="is empty"):
        open_store(tmp_path / "runs.db", create=False)
    with open_store(tmp_path / "runs.db") as store:
        assert store.add([sample(1)]) == 1


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_not_sqlite(tmp_path, create):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, only some text that is long enough for a header\n" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an SQLite file"):
        open_store(path, create=create)
    assert path.read_bytes() == before


def test_the_database_of_another_program(tmp_path):
    database = sqlite3.connect(tmp_path / "photos.db")
    database.execute("CREATE TABLE photos (name TEXT)")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="of another program"):
        open_store(tmp_path / "photos.db")


def test_a_store_from_a_newer_schema(tmp_path):
    path = tmp_path / "runs.db"
    newer = [*MIGRATIONS, ("ALTER TABLE measurements ADD COLUMN watts REAL",)]
    with SQLiteStore(path, migrations=newer) as store:
        store.add([sample(1)])
    with pytest.raises(
        StoreError, match=rf"schema {len(newer)}; this bitlaw knows schemas up to {len(MIGRATIONS)}. Upgrade bitlaw"
    ):
        open_store(path)


def test_an_older_store_is_migrated_and_keeps_its_rows(tmp_path):
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.add([sample(n) for n in range(3)])
        digest = store.digest()
    newer = [
        *MIGRATIONS,
        ("ALTER TABLE measurements ADD COLUMN watts REAL", "CREATE INDEX by_watts ON measurements (watts)"),
    ]
    with SQLiteStore(path, create=False, migrations=newer) as store:
        assert store.digest() == digest
        store.add([sample(9)])
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (len(newer),)
    assert "watts" in [row[1] for row in database.execute("PRAGMA table_info(measurements)")]
    database.close()


def test_a_store_of_the_first_schema_gains_activations_and_kv_cache(tmp_path):
    path = tmp_path / "runs.db"
    row = to_row(sample(1))
    old = [c for c in row if c not in LATER_COLUMNS]
    database = sqlite3.connect(path)  # as the first bitlaw made it
    for statement in MIGRATIONS[0]:
        database.execute(statement)
    names = ", ".join(f'"{c}"' for c in old)
    database.execute(f"INSERT INTO measurements ({names}) VALUES ({', '.join('?' * len(old))})", [row[c] for c in old])
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    with open_store(path, create=False) as store:
        assert store.read() == [sample(1)]
        assert store.count(activations="none", kv_cache="none", activation_kernel=None) == 1


def test_a_migration_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.add([sample(1)])
    broken = [*MIGRATIONS, ("ALTER TABLE measurements ADD COLUMN watts REAL", "ALTER TABLE nowhere ADD COLUMN x REAL")]
    with pytest.raises(StoreError, match=r"Could not migrate .* no such table"):
        SQLiteStore(path, migrations=broken)
    with open_store(path) as store:
        assert store.read() == [sample(1)]


@pytest.mark.parametrize("place", ["file.txt/runs.db", "file.txt/deeper/runs.db"])
def test_a_path_under_a_file(tmp_path, place):
    (tmp_path / "file.txt").touch()
    with pytest.raises(StoreError, match="Cannot make the folder"):
        open_store(tmp_path / place)


def test_a_folder_is_not_a_store(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        open_store(tmp_path)


def test_a_folder_the_system_does_not_let_anyone_write():
    with pytest.raises(StoreError, match=r"Choose another path|cannot be written"):
        open_store("/proc/bitlaw/runs.db")
    with pytest.raises(StoreError, match="cannot be written"):
        open_store("/proc/runs.db")


def test_a_read_only_folder_is_refused_before_measuring_but_can_be_read(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.add([sample(1)])
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and real(p, mode))  # root may write anything
    with pytest.raises(StoreError, match="read-only"):
        open_store(path)
    with open_store(path, create=False) as store:
        assert store.count() == 1


def test_a_scheme_without_a_backend():
    with pytest.raises(StoreError, match=r"No store of kind 'mysql'.*Known: a path"):
        open_store("mysql://localhost/bitlaw")


def test_a_writer_waits_for_another_and_then_says_so(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteStore(path, wait=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"another process was writing it for 0.05 s"):
            store.add([sample(1)])
        assert store.count() == 0  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert store.add([sample(1)]) == 1


def test_a_changed_row_is_noticed(tmp_path):
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.add([sample(1)])
    database = sqlite3.connect(path)
    database.execute("UPDATE measurements SET bits = 3.0")
    database.commit()
    database.close()
    with open_store(path) as store, pytest.raises(StoreError, match=r"a row that bitlaw did not write.*was changed"):
        store.read()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "runs.db"
    begin = 0
    for lines in (1, 7, 20):
        last = acknowledged(path, begin, lines)
        with open_store(path) as store:
            begin = whole_adds(store.read(), last)


def test_errors_of_the_store_are_input_errors():
    assert issubclass(StoreError, InputError)
