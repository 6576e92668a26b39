import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from bitlaw.catalog import ARCHITECTURES, find
from bitlaw.errors import BitlawError, NonFiniteError
from bitlaw.train.corpus import IDS, WORK, Batches, prepare_text
from bitlaw.train.loop import STILL_STEPS, build_model, loss_function, stands_still, train_model
from bitlaw.train.plan import TrainPlan
from tests.train.conftest import LLAMA, NEOX, small_plan


class Killed(Exception):
    """Stands for a kill: nothing in the loop catches it."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(plan: TrainPlan, out: Path, *, name: str = "neox", stop_at: int = 0, state_seconds: float = 1e9) -> list[float]:
    (out / WORK).mkdir(parents=True, exist_ok=True)
    text = dict(prepare_text(plan, out))
    losses: list[float] = []

    def report(step: int, loss: float, rate: float) -> None:
        losses.append(loss)
        if stop_at and step >= stop_at:
            raise Killed

    model = next(m for m in plan.models if m.name == name)
    train_model(plan, model, out, text=text, device="cpu", state_seconds=state_seconds, report=report)
    return losses


def curve(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((out / name / "train-loss.csv").read_text().splitlines()))


def weights(out: Path, name: str, step: int) -> dict[str, torch.Tensor]:
    return load_file(out / name / f"step-{step:07d}" / "model.safetensors")


@pytest.mark.parametrize("name", ["neox", "llama"])
def test_a_few_steps_lower_the_loss_and_leave_checkpoints(text_file: Path, tmp_path: Path, name: str) -> None:
    plan = small_plan(text_file, tokens=64 * 60, first_checkpoint_tokens=64)
    run(plan, tmp_path, name=name)
    rows = curve(tmp_path, name)
    losses = [float(row["loss_nats"]) for row in rows]
    assert [int(row["tokens"]) for row in rows] == [64 * step for step in range(1, 61)]
    assert losses[0] == pytest.approx(5.63, abs=0.3)  # log 280
    assert sum(losses[-5:]) / 5 < losses[0] - 1.5
    assert float(rows[-1]["learning_rate"]) == pytest.approx(1e-3)
    steps = sorted(p.name for p in (tmp_path / name).glob("step-*"))
    assert steps == ["step-0000001", "step-0000008", "step-0000060"]
    entry = json.loads((tmp_path / name / steps[-1] / "bitlaw.json").read_text())
    assert (entry["step"], entry["tokens"], entry["schedule"], entry["training_seed"]) == (60, 3840, "cosine", 1)
    assert not (tmp_path / WORK / f"{name}.state").exists()


def test_first_step_is_adamw_by_hand(text_file: Path, tmp_path: Path) -> None:
    """One step of AdamW from zero moments moves each weight by rate (g / (|g| + eps) + decay w), g clipped."""
    plan = small_plan(text_file, tokens=64, schedule={"kind": "constant"}, models=[{"name": "neox", **NEOX}])
    run(plan, tmp_path)
    text = prepare_text(plan, tmp_path)
    config = find("architecture", "gpt_neox").load()(
        plan.models[0], vocabulary=text["vocabulary"], window_tokens=16, end_of_text=text["end_of_text"]
    )
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    batch = torch.from_numpy(
        Batches(np.load(tmp_path / WORK / IDS), window_tokens=16, batch_windows=4, seed=1).batch(0)
    )
    torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    after = weights(tmp_path, "neox", 1)
    for name, p in model.named_parameters():
        assert p.grad is not None
        decay = 0.1 if p.dim() >= 2 else 0.0
        expected = p - 1e-2 * (p.grad / (p.grad.abs() + 1e-8) + decay * p)
        solid = p.grad.abs() > 1e-6  # elsewhere g / (|g| + eps) magnifies rounding
        moved = after[name.replace("lm_head", "embed_out")].double()  # transformers' names in memory and on disk
        assert torch.allclose(moved[solid], expected[solid], atol=1e-5), name


@pytest.mark.parametrize("stop_at", [1, 3, 7])
@pytest.mark.parametrize("state_seconds", [0.0, 1e9])
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, state_seconds: float
) -> None:
    monkeypatch.setattr("bitlaw.train.loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("bitlaw.train.loop.STATE_SHARE", 1e9)
    plan = small_plan(text_file)
    run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan, tmp_path / "killed", stop_at=stop_at, state_seconds=state_seconds)
    torch.manual_seed(99)  # another process has another generator
    run(plan, tmp_path / "killed", state_seconds=state_seconds)
    for step in plan.steps(plan.models[0]):
        whole, killed = weights(tmp_path / "whole", "neox", step), weights(tmp_path / "killed", "neox", step)
        assert all(torch.equal(whole[k], killed[k]) for k in whole)
    curves = [(tmp_path / out / "neox" / "train-loss.csv").read_text() for out in ("whole", "killed")]
    assert curves[0] == curves[1]


def test_a_kill_between_state_and_checkpoint_leaves_no_hole(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(text_file)
    run(plan, tmp_path / "whole")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("bitlaw.train.loop.write_checkpoint", killed)
        with pytest.raises(Killed):
            run(plan, tmp_path / "killed")
    run(plan, tmp_path / "killed")
    whole, again = (weights(tmp_path / out, "neox", 3) for out in ("whole", "killed"))
    assert all(torch.equal(whole[k], again[k]) for k in whole)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_loss_of_every_architecture_is_that_of_its_logits(text_file: Path, architecture: str) -> None:
    """A head with a bias, or logits that are scaled, would need another way to the loss."""
    plan = small_plan(text_file, models=[{"name": "m", **NEOX, "architecture": architecture}])
    model = build_model(plan.models[0], {"vocabulary": 280, "window_tokens": 16, "end_of_text": 0}, "cpu")
    batch = torch.randint(0, 280, (3, 17), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=batch[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    assert loss_function(plan, model, "cpu")[0](batch).item() == pytest.approx(expected.item(), abs=1e-5)


def test_seeds_change_the_weights(text_file: Path, tmp_path: Path) -> None:
    plan = small_plan(text_file, tokens=64, models=[{"name": "a", **LLAMA}, {"name": "b", **LLAMA, "seed": 2}])
    for name in ("a", "b"):
        run(plan, tmp_path, name=name)
    a, b = weights(tmp_path, "a", 1), weights(tmp_path, "b", 1)
    assert not torch.equal(a["lm_head.weight"], b["lm_head.weight"])


def test_a_lost_loss_is_an_error_and_not_a_checkpoint(text_file: Path, tmp_path: Path) -> None:
    plan = small_plan(text_file, models=[{"name": "neox", **NEOX, "peak_learning_rate": 1e30}])
    with pytest.raises(NonFiniteError, match=r"neox: .* Lower peak_learning_rate"):
        run(plan, tmp_path)
    assert not list(tmp_path.glob("neox/step-*"))


def test_bfloat16_autocast_trains_close_to_float32(text_file: Path, tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        run(small_plan(text_file, dtype=dtype), tmp_path / dtype)
    last = [float(curve(tmp_path / dtype, "neox")[-1]["loss_nats"]) for dtype in ("float32", "bfloat16")]
    assert last[0] == pytest.approx(last[1], abs=0.05)
    assert last[0] != last[1]


def test_training_that_stands_still_is_an_error(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still:
        def __init__(self, *given: object, **named: object) -> None: ...

        def __call__(self, batch: torch.Tensor, learning_rate: float) -> torch.Tensor:
            return torch.tensor(5.6)

    monkeypatch.setattr("bitlaw.train.loop.Stepper", Still)
    with pytest.raises(BitlawError, match="nothing is trained"):
        run(small_plan(text_file, tokens=64 * 40), tmp_path)
    assert not stands_still([5.6] * (STILL_STEPS - 1))
    assert not stands_still([5.6] * STILL_STEPS + [5.5])
