"""Worker processes: results, errors, progress, deaths, orphans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitlaw.workers import run_tasks


def double(task: int, report) -> int:
    report(done=task, total=10)
    if task == 3:
        raise ValueError("three")
    if task == 4 and os.environ.get("BITLAW_TEST_DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * task


@pytest.mark.parametrize("workers", [1, 2])
def test_results_errors_and_news(workers: int) -> None:
    news: list[tuple[int, dict]] = []
    outcomes = list(run_tasks(double, [1, 2, 3], workers=workers, watch=lambda task, what: news.append((task, what))))
    assert {o.task: o.result for o in outcomes} == {1: 2, 2: 4, 3: None}
    assert [str(o.error) for o in outcomes if o.error] == ["three"]
    assert all(what["total"] == 10 for _, what in news)


def test_a_killed_worker_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLAW_TEST_DIE", "1")
    outcomes = list(run_tasks(double, [4, 4], workers=2))
    assert all("killed" in str(o.error) for o in outcomes)


SLEEPER = """
import sys, time
from bitlaw.workers import run_tasks
def sleep(task, report):
    import os
    open(task, "w").write(str(os.getpid()))
    time.sleep(600)
if __name__ == "__main__":
    list(run_tasks(sleep, sys.argv[1:], workers=2))
"""


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    files = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen([sys.executable, str(script), *map(str, files)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not all(f.exists() and f.read_text() for f in files) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(f.read_text()) for f in files]
    parent.kill()
    parent.wait()
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, workers))


def _runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def place_of(task: str, report) -> str:
    time.sleep(0.2)
    return f"{task} in {os.getpid()}"


def put_at(task: str, place: str) -> str:
    return f"{task} at {place}"


def test_each_worker_has_a_place() -> None:
    tasks = [f"task {number}" for number in range(6)]
    outcomes = list(run_tasks(place_of, tasks, workers=2, places=["first", "second"], put=put_at))
    assert sorted(o.task for o in outcomes) == tasks
    assert all(o.error is None for o in outcomes)
    found = {tuple(str(o.result).partition(" at ")[2].split(" in ")) for o in outcomes}
    assert {place for place, _ in found} <= {"first", "second"}
    assert len({place for place, _ in found}) == len({process for _, process in found}) == len(found)
    (alone,) = run_tasks(place_of, ["task"], workers=2, places=["first", "second"], put=put_at)
    assert (alone.task, alone.result) == ("task", f"task at first in {os.getpid()}")
