"""What is particular to the PostgreSQL backend: several writers, lost connections, addresses and passwords, schemas, rights."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bitlaw.cli.main import main
from bitlaw.errors import StoreError
from bitlaw.records import COLUMNS, LATER_COLUMNS
from bitlaw.store import Store, open_store, shipped_names
from bitlaw.store.postgres import PostgresStore
from bitlaw.store.rows import to_row
from bitlaw.store.schema import MIGRATIONS
from tests.measure.conftest import suite_folder  # noqa: F401 - a fixture
from tests.store.killed_writer import ROOT, acknowledged, whole_adds
from tests.store.postgres_server import OWNER, PASSWORD, Server
from tests.store.store_samples import sample


@pytest.fixture
def place(server: Server, tmp_path: Path) -> str:
    return server.place(tmp_path)


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    with open_store(place) as opened:
        yield opened


def open_postgres(address: str, **settings: Any) -> PostgresStore:
    return PostgresStore(address, **settings)


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs the code; it sees `tests` and `bitlaw`."""
    begin = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# Columns


def test_the_newest_schema_has_the_columns_of_records(server, store, tmp_path):
    rows = server.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
        f"WHERE table_schema = '{server.schema(tmp_path)}' AND table_name = 'measurements' AND column_name <> 'position'"
    )
    kinds = {str: "text", int: "bigint", float: "double precision"}
    assert {name: kind for name, kind, _ in rows} == {c: kinds[kind] for c, kind in COLUMNS.items()}


@pytest.mark.parametrize("name", sorted({"native", "mini-pythia"} & set(shipped_names())))
def test_a_shipped_dataset_has_the_same_digest_in_both_backends(store, tmp_path, name):
    shipped = open_store(f"dataset:{name}", create=False).read()
    with open_store(tmp_path / "runs.db") as other:
        assert store.add(shipped) == other.add(shipped) == len(shipped) > 100
        assert store.digest() == other.digest() == open_store(f"dataset:{name}", create=False).digest()
        assert store.read() == other.read() == shipped
        chosen = {"method": "gptq", "bits": [2, 3]}
        assert 0 < store.count(**chosen) == other.count(**chosen) < len(shipped)
        assert store.add(shipped) == 0


def test_more_filter_values_than_the_protocol_has_parameters(store):
    store.add([sample(n) for n in range(3)])
    assert store.count(step=range(1, 100_000)) == 2


# Several writers

WRITER = """
from tests.store.store_samples import sample
from bitlaw.store import open_store
address, numbers, state, date = sys.argv[1], eval(sys.argv[2]), sys.argv[3], sys.argv[4]
with open_store(address) as store:
    print("open", flush=True)
    sys.stdin.readline()
    print(sum(store.add([sample(n, state=state, date=date) for n in numbers[i : i + 20]]) for i in range(0, len(numbers), 20)))
"""


def written_at_once(place: str, *jobs: tuple[Sequence[int], str, str]) -> list[int]:
    """How many each job added: a process a job, all let go when all have the store open."""
    with ExitStack() as ending:
        writers = [ending.enter_context(started(WRITER, place, list(numbers), *rest)) for numbers, *rest in jobs]
        assert [writer.stdout.readline() for writer in writers] == ["open\n"] * len(jobs)
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        added = [int(writer.stdout.read()) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * len(jobs)
    return added


def turned(numbers: Sequence[int]) -> list[int]:
    """The numbers, each 20 of one `add` backwards: without turns, two such writers would deadlock."""
    return [n for i in range(0, len(numbers), 20) for n in reversed(numbers[i : i + 20])]


def test_two_processes_write_the_same_keys_at_once(store, place):
    numbers = range(400)
    added = written_at_once(place, (numbers, "ok", "one"), (turned(numbers), "ok", "two"))
    assert sum(added) == len(numbers) == store.count()
    kept = {m.asked.checkpoint.step: m for m in store.read()}
    assert sorted(kept) == list(numbers)
    assert all(m == sample(n, date=m.made.date) for n, m in kept.items())
    dates = [m.made.date for m in kept.values()]
    assert [dates.count("one"), dates.count("two")] == added  # every count that was said is a row that is there


def test_what_worked_is_kept_whoever_writes_first(store, place):
    numbers = range(200)
    failed, ok = written_at_once(place, (numbers, "failed", "one"), (turned(numbers), "ok", "two"))
    assert ok == len(numbers)
    assert 0 <= failed <= len(numbers)
    assert {m.key: m for m in store.read()} == {sample(n).key: sample(n, date="two") for n in numbers}


def test_processes_that_open_a_new_store_at_once_all_find_it_whole(server, tmp_path):
    place = server.place(tmp_path / "new")
    added = written_at_once(place, *(([n], "ok", "one") for n in range(4)))
    assert added == [1, 1, 1, 1]
    with open_store(place, create=False) as store:
        assert store.count() == 4


def test_a_reader_does_not_wait_for_a_writer_and_a_writer_says_that_it_waited(server, tmp_path, place):
    with open_postgres(place, wait=0.2) as store:
        store.add([sample(1)])
        with server.connect(schema=server.schema(tmp_path)) as other, other.transaction():
            other.execute("SELECT version FROM bitlaw_schema FOR UPDATE")
            assert store.count() == 1
            with pytest.raises(StoreError, match=r"another process was writing it for 0\.2 s"):
                store.add([sample(2)])
        assert store.add([sample(2)]) == 1


# Killed writers

HALTED = """
import psycopg
from tests.store.store_samples import sample
from bitlaw.store.postgres import PostgresStore
execute = psycopg.Connection.execute
def halted(self, statement, *arguments, **settings):
    found = execute(self, statement, *arguments, **settings)
    if sys.argv[3] in statement:
        print("halted", flush=True)
        sys.stdin.readline()
    return found
with PostgresStore(sys.argv[1], wait=float(sys.argv[2])) as store:
    psycopg.Connection.execute = halted
    print(store.add([sample(n, date="halted") for n in range(50)]), flush=True)
"""
LOCKED, WRITTEN = (
    "FOR UPDATE",
    "SELECT 1",
)  # the statements after which a writer halts: rows not yet sent; sent, not committed


def test_a_writer_killed_in_its_transaction_leaves_nothing_and_holds_nobody_up(store, place):
    with started(HALTED, place, 60, WRITTEN) as writer:
        said = writer.stdout.readline()
        seen = store.count()
        writer.send_signal(signal.SIGKILL)
    assert said == "halted\n"
    assert seen == 0
    assert store.add([sample(1, date="after")]) == 1
    assert store.read() == [sample(1, date="after")]


@pytest.mark.parametrize("after", [LOCKED, WRITTEN])
def test_a_writer_that_froze_in_its_transaction_holds_nobody_up_and_begins_again(store, place, after):
    with started(HALTED, place, 1, after) as writer:
        assert writer.stdout.readline() == "halted\n"
        began = time.monotonic()
        assert store.add([sample(0, date="meanwhile")]) == 1
        assert time.monotonic() - began < 20  # well before the 30 s after which this store would have given up
        rest, _ = writer.communicate("go on\n" * 2, timeout=60)
    assert rest.split() == ["halted", "49"]  # once more, now beside the row that is there
    assert [m.made.date for m in store.read()] == ["meanwhile"] + ["halted"] * 49


def test_kill_9_loses_nothing_that_was_acknowledged(store, place):
    begin = 0
    for lines in (1, 20):
        last = acknowledged(place, begin, lines)
        store.delete(["no such key"])  # waits for the killed one's last transaction to end
        begin = whole_adds(store.read(), last)


# Lost connections


@pytest.mark.parametrize("crash", [False, True], ids=["restarted", "crashed"])
def test_a_server_restarted_between_two_calls_is_not_noticed(server, store, crash):
    assert store.add([sample(1)]) == 1
    server.restart(crash=crash)
    assert store.add([sample(1), sample(2)]) == 1
    server.restart(crash=crash)
    assert store.read() == [sample(1), sample(2)]
    server.restart(crash=crash)
    assert store.delete([sample(1).key]) == 1
    server.restart(crash=crash)
    assert store.keys() == {sample(2).key}
    assert store.count() == 1


def test_a_session_ended_by_the_server_in_an_add_is_begun_again(server, store, monkeypatch):
    import psycopg

    write, ended_once = psycopg.Cursor.executemany, []

    def cut(self, statement, rows):
        write(self, statement, rows)
        if not ended_once:
            ended_once.append(True)
            server.execute(f"SELECT pg_terminate_backend({self.connection.info.backend_pid})")

    monkeypatch.setattr(psycopg.Cursor, "executemany", cut)
    assert store.add([sample(1), sample(2)]) == 2
    assert ended_once
    assert store.read() == [sample(1), sample(2)]


def test_an_add_waits_for_a_server_that_comes_back(server, place):
    with open_postgres(place, reconnect=60.0) as store:
        server.stop()
        starter = threading.Timer(1.0, server.start)
        starter.start()
        try:
            assert store.add([sample(1)]) == 1
        finally:
            starter.join()
        assert store.read() == [sample(1)]


def test_a_server_that_stays_away_is_said_and_the_store_goes_on_when_it_is_back(server, place):
    with open_postgres(place, reconnect=0.3) as store:
        store.add([sample(1)])
        server.stop()
        try:
            began = time.monotonic()
            with pytest.raises(StoreError, match=r"Could not write store .*(refused|lost).*Check that the server runs"):
                store.add([sample(2)])
            assert time.monotonic() - began < 20
        finally:
            server.start()
        assert store.add([sample(2)]) == 1
        assert store.count() == 2


# Addresses


def refusal(address: str, *secrets: str) -> str:
    """What opening says; neither it nor its traceback holds a secret."""
    with pytest.raises(StoreError) as caught:
        open_store(address)
    whole = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in (PASSWORD, *secrets) if secret in whole]
    return str(caught.value)


def test_unknown_database_user_and_password(server):
    assert re.search(
        r"Could not open store 'postgresql://keeper@127\.0\.0\.1:\d+/nothing': .*database \"nothing\" does not exist.*createdb",
        refusal(server.address("nothing")),
    )
    wrong = refusal(server.address(password="wr0ng"), "wr0ng")
    assert re.search(r"password authentication failed for user \"keeper\".*PGPASSWORD", wrong)
    assert "Check user and password" in refusal(server.address(user="nobody-known"))
    assert "Check user and password" in refusal(f"postgresql://{OWNER}@127.0.0.1:{server.port}/bitlaw")


def test_a_server_that_is_not_there(server):
    with_nobody = server.address(port=1)
    began = time.monotonic()
    assert re.search("refused.*Check that the server runs, and host and port", refusal(with_nobody))
    assert time.monotonic() - began < 10  # the first opening does not wait for it


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://me:s3cret@wr0ng@host/db", "Write '@' as %40"),
        ("postgresql://me:s3cret/wr0ng@host/db", "Write '@' as %40 and '/' as %2F"),
        ("postgres://me/x:wr0ng@host/db", "Write '@' as %40"),
        ("postgresql://me:s3cret%zz@host/db", "not an address that PostgreSQL's library understands"),
        ("postgresql://me@host/db?password=s3cret&colour=red", "not an address that PostgreSQL's library understands"),
        ("postgresql://me@host/db?sslp%61ssword=s3cret&colour=red", "not an address that PostgreSQL's library"),
        ("postgresql://me:s3cret@127.0.0.1:many/db", r"postgresql://me@127\.0\.0\.1:many/db': .*\"many\""),
        ("mysql://me:s3cret@host/db", r"No store of kind 'mysql' \(given 'mysql://me@host/db'\)"),
    ],
)
def test_addresses_that_cannot_be_used_say_no_password(address, message):
    pytest.importorskip("psycopg")
    assert re.search(message, refusal(address, "s3cret", "wr0ng"))


def test_either_scheme_and_a_password_with_any_character(server, tmp_path):
    odd = "p@ss/w:rd?#% é"
    with server.connect() as connection:
        connection.execute(f"DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN PASSWORD '{odd}' SUPERUSER")
    quoted = "p%40ss%2Fw%3Ard%3F%23%25%20%C3%A9"
    place = server.address(user="odd", password=quoted, schema=server.schema(tmp_path), scheme="postgres")
    with open_store(place) as store:
        assert store.add([sample(1)]) == 1
        assert store.where == place.replace(f":{quoted}", "")


def test_a_path_object_would_lose_a_slash():
    with pytest.raises(StoreError, match="Give it as a str"):
        open_store(Path("postgresql://me@host/db"))
    assert not Path("postgresql:").exists()


def test_without_the_extra_it_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from bitlaw.errors import StoreError\n"
        "from bitlaw.store import open_store\n"
        "try: open_store('postgresql://me:s3cret@host/db')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'bitlaw[postgres]'" in done.stdout
    assert "s3cret" not in done.stdout


# Schemas and rights


def test_missing_store_for_reading(server, tmp_path, place):
    with pytest.raises(StoreError, match=r"No store at 'postgresql://keeper@.*Run|run `bitlaw measure`"):
        open_store(place, create=False)
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = '{}'"
    assert server.execute(tables.format(server.schema(tmp_path))) == [(0,)]


def test_the_table_of_another_program_is_left_alone(server, tmp_path, place):
    server.execute("CREATE TABLE measurements (metres REAL)", schema=server.schema(tmp_path))
    for create in (True, False):
        with pytest.raises(StoreError, match=r"'measurements' of another program.*search_path%3DSCHEMA"):
            open_store(place, create=create)
    assert server.execute("SELECT * FROM measurements", schema=server.schema(tmp_path)) == []


def test_a_search_path_without_a_schema(server):
    with pytest.raises(StoreError, match=r"no schema has been selected to create in.*CREATE SCHEMA"):
        open_store(server.address(schema="nowhere"))


NEWER = (
    *MIGRATIONS,
    ("ALTER TABLE measurements ADD COLUMN watts REAL", "CREATE INDEX by_watts ON measurements (watts)"),
)


def test_an_older_store_is_migrated_keeps_its_rows_and_is_then_too_new(server, tmp_path, place):
    with open_store(place) as store:
        store.add([sample(n) for n in range(3)])
        digest = store.digest()
    with open_postgres(place, create=False, migrations=NEWER) as store:
        assert store.digest() == digest
        assert store.add([sample(9)]) == 1
    schema = server.schema(tmp_path)
    assert server.execute("SELECT version FROM bitlaw_schema", schema=schema) == [(len(NEWER),)]
    assert server.execute("SELECT watts FROM measurements", schema=schema) == [(None,)] * 4
    with pytest.raises(
        StoreError, match=rf"schema {len(NEWER)}; this bitlaw knows schemas up to {len(MIGRATIONS)}. Upgrade bitlaw"
    ):
        open_store(place)


def test_a_store_of_the_first_schema_gains_the_later_columns(server, tmp_path, place):
    with open_postgres(place, migrations=MIGRATIONS[:1]):
        pass
    row = {c: v for c, v in to_row(sample(1)).items() if c not in LATER_COLUMNS}
    names, marks = ", ".join(f'"{c}"' for c in row), ", ".join(["%s"] * len(row))
    with server.connect(schema=server.schema(tmp_path)) as connection:
        connection.execute(f"INSERT INTO measurements ({names}) VALUES ({marks})", list(row.values()))
    with open_store(place, create=False) as store:
        assert store.read() == [sample(1)]
        assert store.count(activations="none", kv_cache="none", activation_kernel=None) == 1


def test_a_driver_notices_that_a_newer_bitlaw_migrated_its_store(store, place):
    store.add([sample(1)])
    open_postgres(place, migrations=NEWER).close()
    assert store.read() == [sample(1)]  # reading goes on
    with pytest.raises(StoreError, match=rf"went to schema {len(NEWER)} while this bitlaw.*Upgrade"):
        store.add([sample(2)])
    assert store.count() == 1


def test_a_migration_that_fails_changes_nothing(place):
    with open_store(place) as store:
        store.add([sample(1)])
    broken = (*MIGRATIONS, ("ALTER TABLE measurements ADD COLUMN watts REAL", "ALTER TABLE nowhere ADD COLUMN x REAL"))
    with pytest.raises(StoreError, match="Could not migrate"):
        open_postgres(place, migrations=broken)
    with open_store(place) as store:
        assert store.read() == [sample(1)]


def test_a_user_who_may_only_read_is_refused_before_measuring_and_can_read(server, tmp_path, store):
    store.add([sample(1)])
    schema = server.schema(tmp_path)
    server.execute("DROP ROLE IF EXISTS guest")
    server.execute("CREATE ROLE guest LOGIN PASSWORD 'guests'")
    server.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest")
    guest = server.address(user="guest", password="guests", schema=schema)
    try:
        with pytest.raises(StoreError, match=r"permission denied.*grant SELECT on measurements and bitlaw_schema"):
            open_store(guest, create=False)
        server.execute("GRANT SELECT ON measurements, bitlaw_schema TO guest", schema=schema)
        with open_store(guest, create=False) as reader:
            assert reader.read() == [sample(1)]
            with pytest.raises(StoreError, match="permission denied"):
                reader.add([sample(2)])
        with pytest.raises(StoreError, match=r"cannot be written by this user.*INSERT, UPDATE and DELETE"):
            open_store(guest)
        server.execute("GRANT INSERT, UPDATE, DELETE ON measurements TO guest", schema=schema)
        server.execute("GRANT UPDATE ON bitlaw_schema TO guest", schema=schema)
        with open_store(guest) as writer:
            assert writer.add([sample(2)]) == 1
        with pytest.raises(StoreError, match="takes no writes"):
            open_store(guest + "%20-cdefault_transaction_read_only%3Don")
    finally:
        server.execute("DROP OWNED BY guest")
        server.execute("DROP ROLE guest")


def test_a_database_that_lacks_characters_is_refused(server):
    server.execute("CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0", database="postgres")
    with pytest.raises(StoreError, match=r"has the encoding LATIN1.*--encoding=UTF8"):
        open_store(server.address("narrow"))


def test_tables_dropped_under_an_open_store(server, tmp_path, store):
    server.execute("DROP TABLE measurements", schema=server.schema(tmp_path))
    with pytest.raises(StoreError, match="changed or dropped by another program"):
        store.count()


def test_a_changed_row_is_noticed(server, tmp_path, store):
    store.add([sample(1)])
    server.execute("UPDATE measurements SET bits = 3.0", schema=server.schema(tmp_path))
    with pytest.raises(StoreError, match=r"a row that bitlaw did not write.*was changed"):
        store.read()


def test_a_server_that_promises_less_is_asked_for_durable_commits(server, place, tmp_path):
    lax = place + "%20-csynchronous_commit%3Doff"
    with open_postgres(lax) as store:
        (value,) = store._fetch("SELECT current_setting('synchronous_commit')")
    assert list(value) == ["on"]


# The command line


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err
    return code, said.out + said.err


def test_measure_resumes_and_records_go_out_and_in(
    suite_folder,  # noqa: F811
    place,
    tmp_path,
    capsys,
):
    texts = ["--evaluation", str(suite_folder / "evaluation.txt"), "--calibration", str(suite_folder / "train.txt")]
    sizes = ["--evaluation-windows", "6", "--calibration-windows", "8", "--workers", "1", "--progress", "none"]
    asked = ["--methods", "gptq", "nearest", "--bits", "4", "--group-size", "32", *texts, *sizes]
    for shard, there in (("0/2", 0), ("1/2", 0), ("0/1", 9)):  # two drivers of one store, then all of it again
        code, said = run(capsys, "measure", str(suite_folder), "--store", place, "--shard", shard, *asked, "--json")
        assert code == 0, said
        assert f'"skipped": {there}' in said
        assert f'"store": "{place.replace(f":{PASSWORD}", "")}"' in said
    assert run(capsys, "measure", str(suite_folder), "--store", str(tmp_path / "s.db"), *asked)[0] == 0
    digests = {run(capsys, "records", "digest", "--store", s)[1] for s in (place, str(tmp_path / "s.db"))}
    assert len(digests) == 1
    assert "measurements 9" in digests.pop()
    assert run(capsys, "records", "export", str(tmp_path / "x.parquet"), "--store", place)[0] == 0
    assert '"added": 0' in run(capsys, "records", "import", str(tmp_path / "x.parquet"), "--store", place, "--json")[1]
    assert "3 measurements" in run(capsys, "records", "list", "--store", place, "--where", "method=gptq")[1]
    code, said = run(capsys, "report", "--store", place, "--out", str(tmp_path / "report.html"))
    assert code == 0, said
    assert PASSWORD not in (tmp_path / "report.html").read_text()


def test_a_wrong_password_is_one_line_and_exit_code_2(server, capsys):
    code, said = run(capsys, "records", "digest", "--store", server.address(password="wr0ng"))
    assert code == 2
    assert "password authentication failed" in said
    assert "wr0ng" not in said
    assert said.count("\n") == 1
