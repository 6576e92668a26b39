"""Which GPU measures what, where a machine has several: told from a list of devices, no GPU needed."""

from pathlib import Path

import pytest

from bitlaw.errors import InputError
from bitlaw.measure import measure, placing, running
from bitlaw.measure.job import put_job
from bitlaw.measure.placing import choose_devices, gpu_places, spread_over
from bitlaw.store import open_store
from bitlaw.suites import open_suite
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
        ("cuda:0,cuda:2", 0, 4, ["cuda:0", "cuda:2"]),
        ("cuda:0,cuda:2", 3, 4, ["cuda:0", "cuda:2", "cuda:0"]),
        ("cuda:0,cuda:2", 1, 4, []),
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
    monkeypatch.setattr(running, "choose_devices", lambda device: "cuda")
    monkeypatch.setattr(running, "visible_gpus", lambda: 3)
    monkeypatch.setattr(placing, "capacity", lambda device: 1 << 40)
    measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", device="cuda")
    assert asked["workers"] == 3
    assert asked["places"] == asked["devices"] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("weights", "devices"),
    [
        (40, ""),
        (41, "cuda:0,cuda:1"),
        (80, "cuda:0,cuda:1"),
        (81, "cuda:0,cuda:1,cuda:2"),
        (120, "cuda:0,cuda:1,cuda:2"),
        (121, ""),
    ],
)
def test_a_model_takes_as_many_gpus_as_hold_it(weights: int, devices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "capacity", lambda device: 40)
    places = ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]  # four workers on three of them
    assert spread_over(weights, places) == devices
    assert spread_over(weights, places[:1]) == spread_over(weights, []) == ""


def test_models_too_large_for_one_device_are_spread_and_the_store_is_the_same(
    suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(suite_folder)
    measure(suite_folder, plan, tmp_path / "one.db", device="cpu")
    sizes = sorted(4 * c.described.parameters_total for c in open_suite(suite_folder).checkpoints)
    assert sizes[0] < sizes[-1]
    monkeypatch.setattr(placing, "capacity", lambda device: sizes[-1] - 4)  # all but the largest fit one
    measure(suite_folder, plan, tmp_path / "two.db", device="cpu,cpu")
    with open_store(tmp_path / "one.db") as a, open_store(tmp_path / "two.db") as b:
        assert a.digest() == b.digest()
        spread = {m.asked.checkpoint.model for m in b.read() if m.made.device == "2 x cpu"}
        assert spread == {
            c.described.model
            for c in open_suite(suite_folder).checkpoints
            if 4 * c.described.parameters_total == sizes[-1]
        }
        assert {m.made.device for m in b.read()} == {"cpu", "2 x cpu"}
    measure(suite_folder, plan, tmp_path / "streamed.db", device="cpu,cpu", stream="yes")
    with open_store(tmp_path / "streamed.db") as c:
        assert {m.made.device for m in c.read()} == {"cpu"}


def test_devices_are_checked_each(suite_folder: Path, tmp_path: Path) -> None:
    assert choose_devices("cpu, cpu") == "cpu,cpu"
    with pytest.raises(InputError, match="Device 'tpu' is not available"):
        choose_devices("cpu,tpu")
    with pytest.raises(InputError, match="Ray has its own"):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", device="cpu,cpu", ray="local")
