"""The contract of a store, run on every backend of conftest.py; the oracle for sequences of operations is a plain dict."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlaw.errors import InputError, StoreError, UnknownName
from bitlaw.records import Measurement
from bitlaw.store import open_store, records
from tests.store.store_samples import measurements, sample


@pytest.fixture
def store(place, tmp_path):
    with open_store(place(tmp_path)) as opened:
        yield opened


def test_adding_twice_keeps_one(store):
    assert store.add([sample(1), sample(2)]) == 2
    assert store.add([sample(2), sample(3)]) == 1
    assert store.add([]) == 0
    assert store.count() == 3
    assert store.keys() == {sample(n).key for n in (1, 2, 3)}


def test_same_key_twice_in_one_call_keeps_the_first(store):
    first, second = sample(1, date="2026-01-01"), sample(1, date="2026-02-02")
    assert store.add([first, second]) == 1
    assert store.read() == [first]


def test_failed_is_replaced_by_ok_in_its_place_and_by_nothing_else(store):
    failed, ok = sample(1, state="failed"), sample(1)
    later = dataclasses.replace(failed, seen=dataclasses.replace(failed.seen, reason="another"))
    store.add([failed, sample(2)])
    assert store.add([later]) == 0
    assert store.read() == [failed, sample(2)]
    assert store.add([ok]) == 1
    assert store.read() == [ok, sample(2)]
    assert store.add([failed]) == 0
    assert store.add([sample(1, date="later")]) == 0
    assert store.read() == [ok, sample(2)]


def test_rows_survive_closing(store, place, tmp_path):
    store.add([sample(n) for n in (5, 3, 4)])
    digest = store.digest()
    store.close()
    store.close()
    with open_store(place(tmp_path)) as again:
        assert again.read() == [sample(n) for n in (5, 3, 4)]
        assert list(again) == again.read()
        assert again.digest() == digest
    with pytest.raises(StoreError, match="is closed"):
        again.count()


def test_filters_equal_a_plain_loop(store):
    rows = [
        sample(n, bits=b, state=s) for n, b, s in ((1, 2.0, "ok"), (2, 3.0, "ok"), (3, 3.0, "failed"), (4, 4.0, "ok"))
    ]
    store.add(rows)
    assert store.read(bits=3) == [rows[1], rows[2]]
    assert store.read(bits=[2, 3.0], state="ok") == [rows[0], rows[1]]
    assert store.read(model="a", state=("ok", "failed")) == [rows[1], rows[3]]
    assert store.read(step=np.int64(4)) == [rows[3]]
    assert store.read(step=np.array([1, 2])) == [rows[0], rows[1]]
    assert store.read(nats=None) == [rows[2]]
    assert store.read(schedule="cosine") == store.read(bits=[]) == []
    assert store.count(state="ok") == 3
    assert store.keys("failed") == {rows[2].key}
    assert store.keys("ok") | store.keys("failed") == store.keys()


def test_records_reads_an_open_store_and_its_name(store, place, tmp_path):
    store.add([sample(1), sample(2, bits=2.0)])
    assert records(store, bits=2) == [sample(2, bits=2.0)]
    assert records(place(tmp_path)) == [sample(1), sample(2, bits=2.0)]
    with pytest.raises(StoreError, match="No store at"):
        records(place(tmp_path / "none"))


def test_unknown_filter_offers_a_near_name(store):
    with pytest.raises(UnknownName, match=r"Unknown column 'metod'. Did you mean 'method'"):
        store.read(metod="gptq")
    with pytest.raises(InputError, match="'bits' holds 'four', which is not a number"):
        store.count(bits="four")


def test_delete_is_explicit_and_counted(store):
    store.add([sample(n) for n in range(3)])
    assert store.delete([sample(1).key, "no such key"]) == 1
    assert store.delete([]) == 0
    assert store.read() == [sample(0), sample(2)]


def test_one_bad_measurement_and_none_is_added(store):
    bad = sample(2)
    bad = dataclasses.replace(bad, seen=dataclasses.replace(bad.seen, nats=math.nan))
    with pytest.raises(InputError, match=r"cannot be stored: column 'nats' holds NaN"):
        store.add([sample(1), bad])
    assert store.count() == 0


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("seen", {"tokens_scored": 1.5}, "'tokens_scored' holds 1.5, which is not a whole number"),
        ("seen", {"tokens_scored": 2**63}, "does not fit 64 bits"),
        ("seen", {"reason": None}, "'reason' is empty and must not be"),
        ("seen", {"reason": "\ud800"}, "is not text"),
        ("seen", {"nats": "12"}, "'nats' holds '12', which is not a number"),
        ("seen", {"nats": True}, "'nats' holds True, which is not a number"),
        ("made", {"device": 3}, "'device' holds 3, which is not text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(store, part, change, message):
    m = sample(1)
    bad = dataclasses.replace(m, **{part: dataclasses.replace(getattr(m, part), **change)})
    with pytest.raises(InputError, match=message):
        store.add([bad])
    assert store.count() == 0


def test_numpy_scalars_are_kept_as_plain_numbers(store):
    m = sample(1)
    seen = dataclasses.replace(m.seen, nats=np.float64(m.seen.nats), windows=np.int64(8), kl_nats=np.float32(0.5))
    store.add([dataclasses.replace(m, seen=seen)])
    (back,) = store.read()
    assert type(back.seen.nats) is float
    assert type(back.seen.windows) is int
    assert back == dataclasses.replace(m, seen=dataclasses.replace(m.seen, kl_nats=0.5))


def test_digest_sees_asked_and_seen_and_not_made(store, place, tmp_path_factory):
    def digest(*rows: Measurement) -> str:
        with open_store(place(tmp_path_factory.mktemp("digest"))) as other:
            other.add(rows)
            return other.digest()

    reference = digest(sample(1), sample(2))
    assert digest(sample(2), sample(1, date="another day")) == reference
    moved = sample(1)
    moved = dataclasses.replace(moved, seen=dataclasses.replace(moved.seen, nats=math.nextafter(moved.seen.nats, 9e9)))
    assert digest(moved, sample(2)) != reference
    renamed = sample(1)
    checkpoint = dataclasses.replace(renamed.asked.checkpoint, tokens=7)
    renamed = dataclasses.replace(renamed, asked=dataclasses.replace(renamed.asked, checkpoint=checkpoint))
    assert digest(renamed, sample(2)) != reference
    assert len({digest(), digest(sample(1)), reference}) == 3


def test_every_text_is_kept_and_found(store):
    texts = [
        "\x00",
        "\x1a",
        "\x1a0",
        "\x1a\x1a",
        "\x1a\x00\x1a0",
        "",
        "\\0",
        "\x7f\U0010ffff",
        "null",
        "{}",
        "%s ? %%",
        "'\"",
    ]
    rows = [sample(n, suite=text) for n, text in enumerate(texts)]
    store.add(rows)
    assert store.read() == rows
    assert [store.read(suite=text) for text in texts] == [[row] for row in rows]
    assert store.read(suite=texts[:5]) == rows[:5]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(measurements, max_size=4))
def test_anything_comes_back_exactly(place, rows):
    with tempfile.TemporaryDirectory() as folder, open_store(place(Path(folder))) as opened:
        expected: dict[str, Measurement] = {}
        for m in rows:
            expected.setdefault(m.key, m)
        for m in rows:
            opened.add([m])
        if all(m.seen.state == "ok" for m in rows):
            assert opened.read() == list(expected.values())
        assert opened.keys() == set(expected)


operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["ok", "failed"])), max_size=4)
        ),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 5), max_size=3)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=50, deadline=None)
@given(operations=operations)
def test_any_sequence_of_operations_equals_a_dict(place, operations):
    with tempfile.TemporaryDirectory() as folder:
        opened = open_store(place(Path(folder)))
        model: dict[str, Measurement] = {}
        for what, given_rows in operations:
            if what == "add":
                new = 0
                for m in (rows := [sample(n, state=s) for n, s in given_rows]):
                    held = model.get(m.key)
                    if held is None or (held.seen.state == "failed" and m.seen.state == "ok"):
                        model[m.key] = m
                        new += 1
                assert opened.add(rows) == new
            elif what == "delete":
                keys = {sample(n).key for n in given_rows}
                assert opened.delete(keys) == sum(model.pop(k, None) is not None for k in keys)
            else:
                opened.close()
                opened = open_store(place(Path(folder)))
            assert opened.read() == list(model.values())
        opened.close()
