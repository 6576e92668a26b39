"""CSV and Parquet: exact round trips, the derived columns, and bad files that name row and column."""

from __future__ import annotations

import csv
import dataclasses
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, LATER_COLUMNS
from bitlaw.store import DERIVED, export_csv, export_parquet, import_csv, import_parquet, open_store
from tests.store.store_samples import measurements, sample

KINDS = {"csv": (export_csv, import_csv), "parquet": (export_parquet, import_parquet)}

kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


@kind
def test_a_store_goes_out_and_comes_back_equal(store, kind, tmp_path):
    write, read = KINDS[kind]
    store.add([sample(1), sample(2, state="failed"), sample(3)])
    assert write(store, tmp_path / f"out.{kind}") == 3
    with open_store(tmp_path / "again.db") as again:
        assert read(again, tmp_path / f"out.{kind}") == 3
        assert again.read() == store.read()
        assert again.digest() == store.digest()
        assert read(again, tmp_path / f"out.{kind}") == 0


@kind
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(measurements, max_size=3, unique_by=lambda m: m.key))
def test_anything_comes_back_exactly(kind, rows):
    write, read = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder, "runs.db")) as store:
        write(rows, Path(folder, "out"))
        read(store, Path(folder, "out"))
        assert store.read() == rows


@kind
def test_no_text_and_the_empty_text_differ(store, kind, tmp_path):
    write, read = KINDS[kind]
    schedules = [None, "", "\\N", "\\", "\\\\N", '"', "a,b\r\nc", "NULL"]
    rows = []
    for number, schedule in enumerate(schedules):
        m = sample(number)
        checkpoint = dataclasses.replace(m.asked.checkpoint, schedule=schedule)
        rows.append(dataclasses.replace(m, asked=dataclasses.replace(m.asked, checkpoint=checkpoint)))
    write(rows, tmp_path / "out")
    read(store, tmp_path / "out")
    assert [m.asked.checkpoint.schedule for m in store] == schedules


@kind
def test_columns_are_those_of_records_then_the_derived(store, kind, tmp_path):
    ok, failed = sample(1), sample(2, state="failed")
    KINDS[kind][0]([ok, failed], tmp_path / "out")
    table = pd.read_csv(tmp_path / "out") if kind == "csv" else pd.read_parquet(tmp_path / "out")
    assert list(table.columns) == [*COLUMNS, *DERIVED]
    for name in DERIVED:
        assert table[name][0] == pytest.approx(getattr(ok, name), rel=1e-15)
        assert math.isnan(table[name][1])
    assert table["key"].tolist() == [ok.key, failed.key]


def test_parquet_has_the_types_of_records(tmp_path):
    export_parquet([], tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out")
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    assert {c: schema.field(c).type for c in COLUMNS} == {c: kinds[k] for c, k in COLUMNS.items()}


def edited(tmp_path, change) -> Path:
    """A CSV export of three measurements after `change(lines)`, lines being lists of fields."""
    export_csv([sample(n) for n in range(3)], tmp_path / "good.csv")
    with (tmp_path / "good.csv").open(newline="") as stream:
        lines = list(csv.reader(stream))
    change(lines)
    with (tmp_path / "bad.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return tmp_path / "bad.csv"


def set_field(row: int, column: str, value: str):
    return lambda lines: lines[row].__setitem__(lines[0].index(column), value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_field(2, "tokens_scored", "eight"), r"bad\.csv, row 2: column 'tokens_scored' holds 'eight', which is not a whole"),
        (set_field(3, "nats", "1,5"), r"row 3: column 'nats' holds '1,5', which is not a number"),
        (set_field(1, "nats", "nan"), r"row 1: column 'nats' holds NaN"),
        (set_field(2, "model", "\\N"), r"row 2: column 'model' is empty and must not be"),
        (set_field(2, "group_size", ""), r"row 2: column 'group_size' is empty and must not be"),
        (set_field(1, "options", "{damping"), r"row 1: .*'options' holds '{damping', which is not a JSON object"),
        (set_field(1, "options", "3"), r"row 1: .*'options'"),
        (set_field(2, "bits", "2.0"), r"row 2: .*was changed: its content hashes to"),
        (lambda lines: lines[2].pop(), r"row 2: \d+ fields where the header has \d+. Is it cut off"),
        (lambda lines: lines[0].__setitem__(1, "sweet"), r"missing: suite; unknown: sweet"),
        (lambda lines: lines[0].__setitem__(1, "key"), r"missing: suite; twice: key"),
        (lambda lines: lines.clear(), r"missing: key, suite, model, step, commit \.\.\."),
    ],
)  # fmt: skip
def test_a_bad_csv_names_row_and_column_and_adds_nothing(store, tmp_path, change, message):
    path = edited(tmp_path, change)
    with pytest.raises(InputError, match=message):
        import_csv(store, path)
    assert store.count() == 0


def test_columns_may_come_in_another_order_and_derived_ones_are_ignored(store, tmp_path):
    def change(lines):
        for line in lines:
            line.reverse()
        set_field(1, "qid", "my own idea")(lines)

    assert import_csv(store, edited(tmp_path, change)) == 3
    assert {m.key: m for m in store} == {sample(n).key: sample(n) for n in range(3)}


def test_a_bad_parquet_names_row_and_column(store, tmp_path):
    export_parquet([sample(1), sample(2)], tmp_path / "good")
    table = pq.read_table(tmp_path / "good")
    place = table.schema.get_field_index("nats")
    pq.write_table(table.set_column(place, "nats", pa.array(["12", "x"])), tmp_path / "bad")
    with pytest.raises(InputError, match=r"bad, row 1: column 'nats' holds '12', which is not a number"):
        import_parquet(store, tmp_path / "bad")
    pq.write_table(table.drop_columns(["nats"]), tmp_path / "bad")
    with pytest.raises(InputError, match=r"missing: nats"):
        import_parquet(store, tmp_path / "bad")
    assert store.count() == 0


@kind
def test_files_that_cannot_be_read_or_written(store, kind, tmp_path):
    write, read = KINDS[kind]
    with pytest.raises(InputError, match=r"Cannot read .*nothing"):
        read(store, tmp_path / "nothing")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(InputError, match=r"Cannot read .*noise"):
        read(store, tmp_path / "noise")
    with pytest.raises(InputError, match="Cannot write"):
        write([sample(1)], tmp_path / "noise" / "out")
    with pytest.raises(InputError, match="Cannot write"):
        write([sample(1)], tmp_path / "no folder" / "out")


@kind
def test_an_export_that_fails_leaves_the_old_file(kind, tmp_path):
    write = KINDS[kind][0]
    write([sample(1)], tmp_path / "out")
    before = (tmp_path / "out").read_bytes()
    bad = dataclasses.replace(sample(2), seen=dataclasses.replace(sample(2).seen, nats=math.nan))
    with pytest.raises(InputError, match="NaN"):
        write([sample(1), bad], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_store_loads_neither_torch_nor_pyarrow():
    code = (
        "import sys, bitlaw.store\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'pandas', 'scipy', 'numpy', 'matplotlib', 'psycopg'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@kind
def test_a_file_written_before_a_column_existed_means_its_absence(store, kind, tmp_path):
    write, read = KINDS[kind]
    store.add([sample(1), sample(2)])
    path = tmp_path / f"old.{kind}"
    write(store, path)
    if kind == "csv":
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        kept = [c for c in rows[0] if c not in LATER_COLUMNS]
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, kept, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    else:
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(list(LATER_COLUMNS)), path)
    with open_store(tmp_path / "again.db") as again:
        assert read(again, path) == 2
        assert again.read() == store.read()
        assert again.read()[0].asked.variant.activations == "none"
