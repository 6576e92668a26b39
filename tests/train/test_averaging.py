"""Weight averages: the mean of the right steps, beside checkpoints that do not change, through kills and native low bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bitlaw.errors import InputError
from bitlaw.suites import open_suite
from bitlaw.train import train
from bitlaw.train.averaging import WeightSums, averaged_steps
from bitlaw.train.loop import train_model
from bitlaw.train.plan import Average, TrainPlan, train_plan
from tests.train.conftest import NEOX, small_plan


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_file(folder / "model.safetensors"))


def averaging_plan(text_file: Path, **changes: Any) -> TrainPlan:
    """Twelve steps; checkpoints at 3, 6 and 12; averages of three steps over the last half: 2-3, 3-6, 6-12."""
    own = {"name": "neox", **NEOX, "average": {"count": 3, "share": 0.5}} | changes
    return small_plan(text_file, models=[own])


def test_which_steps() -> None:
    assert averaged_steps(Average(count=3, share=0.2), 100) == (80, 90, 100)
    assert averaged_steps(Average(count=5, share=0.5), 12) == (6, 8, 9, 10, 12)  # 7.5 and 10.5: to the even one
    assert averaged_steps(Average(count=3, share=1.0), 2) == (1, 2)


@pytest.mark.parametrize("bad", [{"count": 1}, {"count": -2}, {"count": 2, "share": 0.0}, {"count": 2, "share": 1.5}])
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="average"):
        Average(**bad)


def test_sums_of_overlapping_windows() -> None:
    """Planted weights: at step t every weight is t. The mean of a window is the mean of its steps."""
    layer = torch.nn.Linear(2, 2)
    sums = WeightSums(Average(count=3, share=0.5), (8, 10))
    seen = {}
    for step in range(1, 11):
        for parameter in layer.parameters():
            parameter.data.fill_(step)
        sums.add(step, layer)
        with sums.averaged(step, layer) as there:
            if there and step in (8, 10):
                seen[step] = layer.weight[0, 0].item()
        sums.drop(step)
        assert layer.weight[0, 0].item() == step
    assert seen == {8: (4 + 6 + 8) / 3, 10: pytest.approx((5 + 8 + 10) / 3)}
    with sums.averaged(10, layer) as there:
        assert not there


def test_an_average_is_the_mean_of_its_checkpoints_which_stay_the_same(text_file: Path, tmp_path: Path) -> None:
    every = small_plan(text_file, models=[{"name": "neox", **NEOX}], checkpoints=100, first_checkpoint_tokens=64)
    train(every, tmp_path / "every", device="cpu")
    suite = train(averaging_plan(text_file), tmp_path / "averaged", device="cpu")
    assert [(c.described.model, c.described.step) for c in suite.checkpoints] == [
        (name, step) for name in ("neox", "neox+mean3") for step in (3, 6, 12)
    ]
    last = suite.checkpoints[-1]
    assert (last.described.schedule, last.described.tokens) == ("cosine+mean3", 768)
    made = weights(last.path)
    parts = [weights(tmp_path / "every" / "neox" / f"step-{step:07d}") for step in (6, 9, 12)]
    for name, value in made.items():
        np.testing.assert_allclose(value, np.mean([p[name] for p in parts], axis=0), rtol=1e-5, atol=1e-7)
    own = weights(tmp_path / "averaged" / "neox" / "step-0000012")
    assert all(np.array_equal(own[name], parts[2][name]) for name in own)
    assert not all(np.array_equal(made[name], own[name]) for name in own)
    assert train(averaging_plan(text_file), tmp_path / "averaged", device="cpu").models == suite.models  # complete


def test_stopped_inside_a_window_and_run_again(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after step 8, between the averaged steps 6 and 9: the second run's average has the same bytes."""
    plan = averaging_plan(text_file)
    whole = train(plan, tmp_path / "whole", device="cpu")
    out = tmp_path / "stopped"
    monkeypatch.setattr("bitlaw.train.run.train_models", lambda *a, **k: {})
    monkeypatch.setattr("bitlaw.train.run._clean", lambda folder: None)
    with pytest.raises(InputError, match="Cannot read"):
        train(plan, out, device="cpu")  # the text only
    text = json.loads((out / "training-text.json").read_text())
    ended = 0

    class Stop(Exception):
        pass

    from bitlaw.train import loop

    genuine = loop.save_state

    def stop_after(path: Path, **state: Any) -> None:
        nonlocal ended
        genuine(path, **state)
        ended = state["progressed"].step
        if ended == 8:
            raise Stop

    monkeypatch.setattr(loop, "save_state", stop_after)
    settings: dict[str, Any] = {"text": text, "device": "cpu", "state_seconds": 0.0, "report": lambda *a: None}
    monkeypatch.setattr(loop, "STATE_SHARE", 1e9)
    with pytest.raises(Stop):
        train_model(plan, plan.models[0], out, **settings)
    assert ended == 8
    monkeypatch.setattr(loop, "save_state", genuine)
    train_model(plan, plan.models[0], out, **settings)
    for name in ("neox", "neox+mean3"):
        path = f"{name}/step-0000012/model.safetensors"
        assert (out / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()
    assert len(whole.checkpoints) == 6


def test_of_ternary_training_the_latent_weights_are_averaged(text_file: Path, tmp_path: Path) -> None:
    """The checkpoint holds ternary weights: three values a matrix, not the nine that averaging ternary ones may give."""
    suite = train(averaging_plan(text_file, native="bitnet1.58"), tmp_path, device="cpu")
    matrix = weights(suite.checkpoints[-1].path)["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"]
    assert len(np.unique(matrix)) == 3
    assert open_suite(tmp_path).checkpoints[-1].described.family == "gpt_neox+bitnet1.58"


def test_a_plan_reads_back(text_file: Path) -> None:
    plan = averaging_plan(text_file)
    assert train_plan(plan.as_dict()) == plan
    shared = small_plan(text_file, average={"count": 4})
    assert {m.average for m in shared.models} == {Average(count=4, share=0.2)}
