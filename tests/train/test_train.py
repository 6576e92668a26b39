import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitlaw.errors import BitlawError, InputError
from bitlaw.progress import Progress
from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows
from bitlaw.train import train
from bitlaw.train.plan import ModelPlan
from bitlaw.train.pool import cost, find_devices
from tests.train.conftest import LLAMA, NEOX, small_plan

STEPS = {"tokens": 64 * 300, "first_checkpoint_tokens": 64 * 3}  # checkpoints at 3, 30 and 300


class Kept(Progress):
    def __init__(self) -> None:
        self.updates: list[tuple[str, float, float, str]] = []
        self.lines: list[str] = []

    def update(self, task: str, *, done: float, total: float, note: str = "") -> None:
        self.updates.append((task, done, total, note))

    def log(self, line: str) -> None:
        self.lines.append(line)


def commits(folder: Path) -> dict[tuple[str, int], str]:
    return {(c.described.model, c.described.step): c.checkpoint.commit for c in open_suite(folder).checkpoints}


@pytest.fixture(scope="module")
def trained(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kept]:
    """The undisturbed run of a plan of 300 steps, two workers."""
    folder = tmp_path_factory.mktemp("trained")
    progress = Kept()
    train(small_plan(text_file, **STEPS), folder, device="cpu", workers=2, progress=progress)
    return folder, progress


def test_a_suite_is_trained_and_can_be_loaded(text_file: Path, trained: tuple[Path, Kept]) -> None:
    folder, progress = trained
    suite = open_suite(folder)
    assert [(c.described.model, c.described.step) for c in suite.checkpoints] == [
        (model, step) for model in ("neox", "llama") for step in (3, 30, 300)
    ]
    assert [c.described.tokens for c in suite.checkpoints[:3]] == [192, 1920, 19_200]
    assert suite.checkpoints[-1].described.learning_rate == pytest.approx(1e-3)
    assert suite.training_text["source"] == str(text_file)
    model, tokenizer = suite.checkpoints[0].load()
    assert (model.config.model_type, len(tokenizer)) == ("gpt_neox", 280)
    final = {task: (done, total) for task, done, total, _ in progress.updates}
    assert final == {"train neox": (19_200, 19_200), "train llama": (19_200, 19_200)}
    assert "tokens/s, loss" in progress.updates[0][3]
    assert [p.name for p in (folder / "work").iterdir()] == ["lock"]


def test_a_finished_suite_is_left_as_it_is(text_file: Path, trained: tuple[Path, Kept]) -> None:
    folder, _ = trained
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    train(small_plan(text_file, **STEPS), folder, device="cpu")
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_text_that_was_trained_on_is_refused_for_evaluation(text_file: Path, trained: tuple[Path, Kept]) -> None:
    suite = open_suite(trained[0])
    tokenizer = suite.checkpoints[0].load_tokenizer()
    with pytest.raises(InputError, match="shares 1 of its 1 documents with the training text of suite 'small'"):
        suite.check_no_overlap(token_windows(tokenizer, open_text(text_file), 16, windows=2))
    other = token_windows(tokenizer, open_text("sample:evaluation"), 16, windows=2)
    assert suite.check_no_overlap(other)
    documents = suite.training_documents()
    assert documents is not None
    assert np.array_equal(documents, open_text(text_file).hashes())


def test_another_plan_in_the_same_folder_is_refused(text_file: Path, trained: tuple[Path, Kept]) -> None:
    with pytest.raises(InputError, match="begun with another plan: window_tokens differ"):
        train(small_plan(text_file, **STEPS, window_tokens=8), trained[0])


def test_a_text_given_beside_the_plan_is_the_one_trained_on(text_file: Path, tmp_path: Path) -> None:
    plan = small_plan(Path("no such text"), tokens=64, models=[{"name": "opt", **NEOX, "architecture": "opt"}])
    suite = train(plan, tmp_path, text=str(text_file), device="cpu")
    assert suite.training_text["source"] == str(text_file)
    model, _ = suite.checkpoints[0].load()
    described = suite.checkpoints[0].described
    assert described.parameters_total == sum(p.numel() for p in model.parameters())  # the tied head once
    with pytest.raises(InputError, match="begun with another plan: text differ"):
        train(plan, tmp_path, device="cpu")


def test_a_suite_made_by_hand_is_not_overwritten(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text("{}")
    with pytest.raises(InputError, match="holds a suite that no plan made"):
        train(small_plan(text_file), tmp_path)
    assert (tmp_path / "suite.json").read_text() == "{}"


def test_killed_with_its_workers_and_run_again(text_file: Path, tmp_path: Path, trained: tuple[Path, Kept]) -> None:
    """SIGKILL to the parent after the first checkpoint: the workers end, and a second run gives the same weights."""
    out = tmp_path / "killed"
    plan = small_plan(text_file, **STEPS, models=[{"name": "neox", **NEOX}])
    code = (
        "import json, sys; from bitlaw.train import train; from bitlaw.train.plan import train_plan;"
        "train(train_plan(json.loads(sys.argv[1])), sys.argv[2], device='cpu', state_seconds=0.0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(plan.as_dict()), str(out)])
    deadline = time.monotonic() + 120
    while not list(out.glob("*/step-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(out.glob("neox/step-*"))
    assert not (out / "neox" / "step-0000300").exists()
    train(plan, out, device="cpu")  # its worker waits for the lock if the orphan is still there
    assert commits(out) == {key: commit for key, commit in commits(trained[0]).items() if key[0] == "neox"}


def test_one_model_fails_and_the_others_finish(text_file: Path, tmp_path: Path) -> None:
    bad = {"name": "bad", **NEOX, "peak_learning_rate": 1e30}
    plan = small_plan(text_file, tokens=128, models=[bad, {"name": "good", **LLAMA}])
    progress = Kept()
    with pytest.raises(BitlawError, match=r"1 of 2 models failed: bad: .*Lower peak_learning_rate"):
        train(plan, tmp_path, device="cpu", workers=2, progress=progress)
    assert [line for line in progress.lines if "train bad: failed" in line]
    assert open_suite(tmp_path).models == ("good",)


def test_a_worker_that_is_killed_is_reported(text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'out of memory' >&2\nkill -9 $$\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(BitlawError, match="killed by signal 9: out of memory"):
        train(small_plan(text_file), tmp_path / "out", device="cpu")


def test_a_folder_in_use_is_refused(text_file: Path, tmp_path: Path) -> None:
    from bitlaw.train.files import locked

    (tmp_path / "work").mkdir()
    with (
        locked(tmp_path / "work" / "lock", wait=False),
        pytest.raises(InputError, match="Another bitlaw is training"),
    ):
        train(small_plan(text_file), tmp_path)


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be_written(text_file: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" if kind == "file" else tmp_path / "file" / "below"
    with pytest.raises(InputError, match=r"Cannot write .*Choose another folder"):
        train(small_plan(text_file), out)


def test_a_read_only_folder(text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind the superuser, so the refusal of the file system is stood in for."""

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"Cannot write .*Permission denied"):
        train(small_plan(text_file), tmp_path / "out")


def test_text_shorter_than_a_window(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("ab")
    with pytest.raises(InputError, match="one window needs 17"):
        train(small_plan(short), tmp_path / "out")


def test_a_size_that_cannot_be_is_an_error_before_training(text_file: Path, tmp_path: Path) -> None:
    plan = small_plan(text_file, models=[{"name": "a", **LLAMA}, {"name": "b", **NEOX, "heads": 4}])
    with pytest.raises(InputError, match="Model 'b': heads of 4"):
        train(plan, tmp_path)
    assert not list(tmp_path.glob("a/step-*"))


def test_bad_arguments(text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers=0"):
        train(small_plan(text_file), tmp_path, workers=0)
    with pytest.raises(InputError, match="No device 'cuda:99' here"):
        train(small_plan(text_file), tmp_path, device="cuda:99")
    assert find_devices("cpu") == ("cpu",)


def test_longest_first(text_file: Path) -> None:
    wide = {"name": "wide", **NEOX, "width": 64}
    long = {"name": "long", **NEOX, "tokens": 1e6}
    models = small_plan(text_file, models=[wide, long, {"name": "small", **NEOX}]).models
    order = [m.name for m in sorted(models, key=lambda m: -cost(m, 280))]
    assert order == ["long", "wide", "small"]
    assert all(isinstance(m, ModelPlan) for m in models)
