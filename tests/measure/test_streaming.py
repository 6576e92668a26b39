"""`measure` with a model read block by block: the same store; and when `auto` chooses it."""

from pathlib import Path

import pytest

from bitlaw.errors import CheckpointError, InputError
from bitlaw.measure import measure, streaming
from bitlaw.measure.streaming import free_bytes, read_by_blocks, weight_bytes
from bitlaw.store import open_store
from bitlaw.suites import open_suite
from bitlaw.suites.checkpoint import SuiteCheckpoint
from bitlaw.suites.weights import folder_shapes
from tests.measure.test_measure import plan_for


def checkpoint_of(suite_folder: Path) -> SuiteCheckpoint:
    return next(c for c in open_suite(suite_folder).checkpoints if c.described.model == "llama")


def test_block_by_block_gives_the_same_store(suite_folder: Path, tmp_path: Path) -> None:
    plan = plan_for(suite_folder)
    for how in ("yes", "no"):
        measure(suite_folder, plan, tmp_path / f"{how}.db", workers=1, models=["llama"], stream=how)
    with open_store(tmp_path / "yes.db") as a, open_store(tmp_path / "no.db") as b:
        assert a.digest() == b.digest()
        assert len(a.read()) == len(plan.variants)


def test_auto_streams_what_takes_over_half_of_the_free_memory(
    suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoint_of(suite_folder)
    bytes_taken = weight_bytes(checkpoint, "float32")
    total = checkpoint.described.parameters_total
    assert total is not None
    assert bytes_taken == 4 * total == 2 * weight_bytes(checkpoint, "bfloat16")
    assert sum(len(shape) > 0 for shape in folder_shapes(checkpoint.path).values()) > 10
    monkeypatch.setattr(streaming, "free_bytes", lambda device: 2 * bytes_taken)
    assert not read_by_blocks("auto", checkpoint, "cpu", "float32")
    monkeypatch.setattr(streaming, "free_bytes", lambda device: 2 * bytes_taken - 2)
    assert read_by_blocks("auto", checkpoint, "cpu", "float32")
    assert not read_by_blocks("auto", checkpoint, "cpu", "bfloat16")
    assert not read_by_blocks("no", checkpoint, "cpu", "float32")
    assert read_by_blocks("yes", checkpoint, "cpu", "bfloat16")


def test_free_memory_of_this_machine() -> None:
    assert 2**20 < free_bytes("cpu") < 2**50


def test_bad_input(suite_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stream='maybe' is not known. Accepted: auto, yes, no"):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", stream="maybe")
    checkpoint = checkpoint_of(suite_folder)
    changed = SuiteCheckpoint(**{**vars(checkpoint), "expected_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="have changed"):
        changed.stream()
