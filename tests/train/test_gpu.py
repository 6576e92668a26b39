"""Training on a CUDA GPU: bfloat16 autocast, compiled. `scripts/test-gpu` runs these."""

import csv
from pathlib import Path

import pytest
import torch

from bitlaw.suites import open_suite
from bitlaw.train import train
from tests.train.conftest import LLAMA, NEOX, small_plan

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("model", [NEOX, LLAMA], ids=["neox", "llama"])
def test_gpu_training_follows_the_cpu(text_file: Path, tmp_path: Path, model: dict[str, object]) -> None:
    """The same plan on both: losses agree to what bfloat16 leaves, and the checkpoint loads on the CPU."""
    plan = small_plan(
        text_file, tokens=64 * 40, models=[{"name": "m", **model, "width": 32}], schedule={"warmup_tokens": 640}
    )
    curves = []
    for device in ("cpu", "cuda"):
        train(plan, tmp_path / device, device=device)
        with (tmp_path / device / "m" / "train-loss.csv").open() as file:
            curves.append([float(row["loss_nats"]) for row in csv.DictReader(file)])
    assert curves[0][0] == pytest.approx(curves[1][0], abs=0.01)
    assert curves[0][-1] == pytest.approx(curves[1][-1], abs=0.15)
    assert curves[1][-1] < curves[1][0] - 1.0
    loaded, _ = open_suite(tmp_path / "cuda").checkpoints[-1].load("cpu", "float32")
    assert all(p.isfinite().all() for p in loaded.parameters())
    assert next(loaded.parameters()).dtype == torch.float32


def test_a_step_is_recorded_on_the_gpu_that_it_runs_on(text_file: Path, tmp_path: Path) -> None:
    """On a GPU that is not the current one, too: there a graph was once recorded that was empty, and nothing was trained."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    plan = small_plan(text_file, tokens=64 * 40, models=[{"name": "m", **NEOX, "width": 32}])
    curves = []
    for device in ("cuda:0", "cuda:1"):
        train(plan, tmp_path / device[-1], device=device)
        with (tmp_path / device[-1] / "m" / "train-loss.csv").open() as file:
            curves.append([float(row["loss_nats"]) for row in csv.DictReader(file)])
    assert curves[1] == pytest.approx(curves[0], abs=0.05)
    assert curves[1][-1] < curves[1][0] - 0.5
