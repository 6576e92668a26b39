"""Which GPU measures what, where a machine has several: told from a list of devices, no GPU needed."""

from pathlib import Path

import pytest

from bitlaw.measure import measure, running
from bitlaw.measure.job import gpu_places, put_job
from bitlaw.workers import Outcome
from tests.measure.test_measure import plan_for


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "places"),
    [
        ("cuda", 0, 4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("cuda", 2, 4, ["cuda:0", "cuda:1"]),
        ("cuda", 3, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 1, 4, []),
        ("cuda", 0, 1, []),
        ("cuda:2", 0, 4, []),
        ("cpu", 0, 4, []),
    ],
)
def test_places(device: str, workers: int, gpus: int, places: list[str]) -> None:
    assert gpu_places(device, workers, gpus) == places


def test_measure_gives_every_gpu_a_worker(suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def run_tasks(function, jobs, **settings):
        asked.update(settings)
        devices = [put_job(job, place).device for job, place in zip(jobs, settings["places"], strict=False)]
        asked["devices"] = devices
        return iter([Outcome(job, [], None) for job in jobs])

    monkeypatch.setattr(running, "run_tasks", run_tasks)
    monkeypatch.setattr(running, "choose_device", lambda device: "cuda")
    monkeypatch.setattr(running, "visible_gpus", lambda: 3)
    measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", device="cuda")
    assert asked["workers"] == 3
    assert asked["places"] == asked["devices"] == ["cuda:0", "cuda:1", "cuda:2"]
