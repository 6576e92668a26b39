"""Streams in host memory, variants in groups, and memory that runs out: the numbers are those of one walk."""

import dataclasses

import pytest
import torch

from bitlaw.errors import MeasurementError
from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.sweep import Decoder, engine, memory, sweep
from bitlaw.sweep.memory import Fit, plan_memory
from bitlaw.sweep.preparing import make_track
from bitlaw.sweep.streams import HostStream, advance
from tests.sweep.models import gpt_neox, windows

EVALUATION, CALIBRATION = windows(6, 24, seed=1), windows(8, 24, seed=2)
VARIANTS = [
    make_variant("nearest", "int3_g16"),
    make_variant("gptq", "int3_g16"),
    Variant(),
    make_variant("gptq", "int2_g16", {"upstream": "full_precision"}),
    make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    make_variant("gptaq", "int3_g16"),
    make_variant("nearest", "int4_g16", {}),
]


def plainly(**settings):
    return sweep(gpt_neox(), VARIANTS, EVALUATION, CALIBRATION, batch_windows=4, **settings)


def numbers(swept):
    return [dataclasses.asdict(s.seen) for s in swept]


def chunks():
    return [torch.full((2, 3, 4), float(i)) for i in range(3)]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("host", [True, False])
def test_advance_gives_every_chunk_in_order(keep: bool, host: bool) -> None:
    stream = chunks()
    before = [chunk.clone() for chunk in stream]
    behind = advance(stream, lambda hidden: hidden * 2 + 1, keep=keep, host=host)
    assert isinstance(behind, HostStream) is host
    assert len(behind) == 3
    again = advance(behind, lambda hidden: hidden - 1, keep=True)
    for number, chunk in enumerate(again):
        assert torch.equal(chunk, before[number] * 2)
        assert torch.equal(behind[number], before[number] * 2 + 1)
    if keep or host:
        assert all(torch.equal(a, b) for a, b in zip(stream, before, strict=True))


def test_a_host_stream_may_be_written_over() -> None:
    stream = HostStream(chunks(), torch.device("cpu"))
    behind = advance(stream, lambda hidden: hidden + 1, keep=False)
    assert behind is stream
    assert float(stream[2][0, 0, 0]) == 3.0
    assert [float(c[0, 0, 0]) for c in stream[1:]] == [2.0, 3.0]


@pytest.mark.parametrize(("variants", "on_device"), [(6, 0), (6, 3), (4, 4), (1, 0)])
def test_groups_and_host_streams_change_no_number(
    variants: int, on_device: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = plainly()
    monkeypatch.setattr(engine, "plan_memory", lambda *_: Fit(variants=variants, on_device=on_device))
    got = plainly()
    assert numbers(got) == numbers(want)
    assert [s.variant for s in got] == VARIANTS
    assert all(s.notes == "" for s in got)


@pytest.mark.parametrize(("room", "batch"), [(3, 4), (1, 1)])
def test_memory_that_runs_out_halves_the_group_and_then_the_batch(
    room: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine.walk_block

    def cramped(decoder, index, tracks, shared, done):
        if index == 1 and (len(tracks) > room or len(tracks[0].evaluation[0]) > batch):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(decoder, index, tracks, shared, done)

    want = plainly()
    monkeypatch.setattr(engine, "walk_block", cramped)
    got = plainly()
    assert all("did not fit into the device's memory" in s.notes for s in got if not s.variant.is_baseline)
    assert all(s.seen.state == "ok" for s in got)
    for made, wanted in zip(got, want, strict=True):
        assert made.seen.nats == pytest.approx(wanted.seen.nats, rel=1e-5 if batch == 4 else 1e-3)
    if batch == 4:
        assert numbers(got) == numbers(want)


def test_what_failed_before_memory_ran_out_stays_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.walk_block

    def cramped(decoder, index, tracks, shared, done):
        if len(tracks) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(decoder, index, tracks, shared, done)

    def fail_first(decoder, tracks, directions, chunks):
        tracks[0].reason = "its Taylor terms are not finite"

    monkeypatch.setattr(engine, "walk_block", cramped)
    monkeypatch.setattr(engine, "differentiate", fail_first)
    got = plainly()
    assert [(s.seen.state, s.seen.reason) for s in got if s.seen.state != "ok"] == [
        ("failed", "its Taylor terms are not finite")
    ]


def test_too_little_for_one_variant_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "walk_block", never)
    with pytest.raises(MeasurementError, match="one variant and one window a batch do not fit"):
        plainly()


def test_a_budget_decides_how_many_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(gpt_neox())
    tracks = [make_track(v) for v in VARIANTS if not v.is_baseline]
    monkeypatch.setattr(memory, "LOGITS_AT_ONCE", 1000)
    assert plan_memory(decoder, tracks, EVALUATION, CALIBRATION, 0) == Fit(variants=6, on_device=6)
    counts = [plan_memory(decoder, tracks, EVALUATION, CALIBRATION, kib * 1024).variants for kib in (1, 300, 450, 2000)]
    assert counts[0] == 1
    assert counts[-1] == 6
    assert counts == sorted(counts)
    assert len(set(counts)) > 2
    relative, search = (
        plan_memory(decoder, [make_track(v)] * 6, EVALUATION, CALIBRATION, 2000 * 1024).variants
        for v in (make_variant("gptq", "int4_g16", {"damping_rule": rule}) for rule in ("relative", "search"))
    )
    assert search < relative, "a search has its rows once for each damping"
    numbers_of_all = numbers(plainly())
    assert numbers(plainly(memory=300 * 1024)) == numbers_of_all
