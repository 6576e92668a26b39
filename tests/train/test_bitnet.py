"""BitNet b1.58 layers: the formula by hand, the straight-through gradient, what is saved, exact resume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bitlaw.catalog import NATIVE
from bitlaw.errors import InputError, UnknownName
from bitlaw.suites import open_suite
from bitlaw.train.bitnet import BITNET, BITNET_A8, BitLinear, effective_weights, make_native, ternary
from bitlaw.train.checkpoints import write_suite
from bitlaw.train.loop import build_model
from tests.train.conftest import LLAMA, NEOX, small_plan
from tests.train.test_loop import Killed, curve, one_thread, run, weights

__all__ = ["one_thread"]
NATIVE_NEOX = [{"name": "neox", **NEOX, "native": "bitnet1.58"}]


def layer(native: Any = BITNET) -> BitLinear:
    torch.manual_seed(0)
    return BitLinear(nn.Linear(24, 10), native)


def ternary_by_hand(weight: np.ndarray) -> np.ndarray:
    scale = np.abs(weight).mean()
    return np.clip(np.rint(weight / scale), -1, 1) * scale


@pytest.mark.parametrize("native", [BITNET, BITNET_A8], ids=["weights", "a8"])
def test_forward_is_the_formula(native: object) -> None:
    made = layer(native)
    x = np.random.default_rng(1).normal(size=(2, 5, 24)).astype(np.float32)
    weight, bias = made.weight.detach().double().numpy(), made.bias.detach().double().numpy()
    inputs = x.astype(np.float64)
    if native is BITNET_A8:
        scale = np.abs(inputs).max(-1, keepdims=True) / 127
        inputs = np.clip(np.rint(inputs / scale), -128, 127) * scale
    expected = inputs @ ternary_by_hand(weight).T + bias
    np.testing.assert_allclose(made(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-5)
    plain = nn.functional.linear(torch.from_numpy(x), made.weight, made.bias)
    assert np.abs(plain.detach().numpy() - expected).max() > 0.05  # the layer does something


@pytest.mark.parametrize("native", [BITNET, BITNET_A8], ids=["weights", "a8"])
def test_gradient_goes_straight_through(native: object) -> None:
    """As if the rounded weights and inputs were the parameters: dL/dW = G^T x', dL/dx = G W', dL/db = sum G."""
    made = layer(native)
    x = torch.randn(7, 24, requires_grad=True)
    seed = torch.randn(7, 10)
    made(x).backward(seed)
    scale = x.detach().abs().amax(-1, keepdim=True) / 127
    rounded = torch.round(x.detach() / scale) * scale if native is BITNET_A8 else x.detach()
    assert made.weight.grad is not None
    assert x.grad is not None
    torch.testing.assert_close(made.weight.grad, seed.T @ rounded)
    torch.testing.assert_close(x.grad, seed @ ternary(made.weight))
    torch.testing.assert_close(made.bias.grad, seed.sum(0))


def test_zeros_and_a_token_of_zeros_stay_finite() -> None:
    made = layer(BITNET_A8)
    made.weight.data.zero_()
    assert torch.equal(made(torch.zeros(1, 24)), made.bias[None])


@pytest.mark.parametrize(("architecture", "linears"), [(NEOX, 4), (LLAMA, 7)])
def test_linear_layers_of_blocks_are_replaced_and_nothing_else(
    text_file: Path, architecture: dict[str, Any], linears: int
) -> None:
    plan = small_plan(text_file, models=[{"name": "m", **architecture}])
    text = {"vocabulary": 280, "window_tokens": 16, "end_of_text": 0}
    model, twin = build_model(plan.models[0], text, "cpu"), build_model(plan.models[0], text, "cpu")
    make_native(model, "bitnet1.58")
    replaced = [name for name, module in model.named_modules() if isinstance(module, BitLinear)]
    assert len(replaced) == linears
    assert all(".layers.0." in name for name in replaced)
    before, after = twin.state_dict(), model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[k], after[k]) for k in before)  # twins start with the same latent weights
    with effective_weights(model):
        inside = model.state_dict()
        changed = {k for k in before if not torch.equal(before[k], inside[k])}
        assert changed == {f"{name}.weight" for name in replaced}
    assert all(torch.equal(before[k], model.state_dict()[k]) for k in before)


@pytest.mark.parametrize("native", sorted(NATIVE))
def test_training_lowers_the_loss_and_saves_ternary_weights(text_file: Path, tmp_path: Path, native: str) -> None:
    plan = small_plan(
        text_file, tokens=64 * 60, first_checkpoint_tokens=64, models=[{"name": "neox", **NEOX, "native": native}]
    )
    run(plan, tmp_path)
    losses = [float(row["loss_nats"]) for row in curve(tmp_path, "neox")]
    assert sum(losses[-5:]) / 5 < losses[0] - 1.0
    saved = weights(tmp_path, "neox", 60)
    matrices = {k: w for k, w in saved.items() if ".layers." in k and w.dim() == 2}
    assert len(matrices) == 4
    for name, weight in matrices.items():
        magnitudes = weight.abs().unique().tolist()
        assert len(magnitudes) == 2, name
        assert magnitudes[0] == 0.0, name
    entry = json.loads((tmp_path / "neox/step-0000060/bitlaw.json").read_text())
    assert entry["native"] == native
    write_suite(plan, tmp_path)
    checkpoint = open_suite(tmp_path).checkpoints[-1]
    assert checkpoint.described.family == f"gpt_neox+{native}"
    assert type(checkpoint.load()[0]).__name__ == "GPTNeoXForCausalLM"


def test_the_saved_model_is_the_one_that_was_trained(text_file: Path, tmp_path: Path) -> None:
    """A plain model of the saved weights has, on the first batch, the loss that a resumed run of one step more sees."""
    plan = small_plan(text_file, models=NATIVE_NEOX, tokens=64, schedule={"kind": "constant"})
    losses = run(plan, tmp_path)
    longer = small_plan(
        text_file, models=NATIVE_NEOX, tokens=128, first_checkpoint_tokens=64, schedule={"kind": "constant"}
    )
    second = run(longer, tmp_path / "longer")[-1]
    assert losses[0] != second
    write_suite(plan, tmp_path)
    model, _ = open_suite(tmp_path).checkpoints[0].load()
    from bitlaw.train.corpus import IDS, WORK, Batches

    ids = np.load(tmp_path / "longer" / WORK / IDS)
    batch = torch.from_numpy(Batches(ids, window_tokens=16, batch_windows=4, seed=1).batch(1))
    loss = nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())
    assert loss.item() == pytest.approx(second, abs=1e-5)


def test_a_killed_native_run_resumes_exactly(text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitlaw.train.loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("bitlaw.train.loop.STATE_SHARE", 1e9)
    plan = small_plan(text_file, models=NATIVE_NEOX)
    run(plan, tmp_path / "whole")
    for stop_at in (3, 7):  # at a checkpoint, where the weights were swapped for saving, and between two
        with pytest.raises(Killed):
            run(plan, tmp_path / "killed", stop_at=stop_at, state_seconds=0.0)
    run(plan, tmp_path / "killed")
    for step in plan.steps(plan.models[0]):
        whole, killed = weights(tmp_path / "whole", "neox", step), weights(tmp_path / "killed", "neox", step)
        assert all(torch.equal(whole[k], killed[k]) for k in whole)


def test_unknown_native_offers_the_nearest(text_file: Path) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'bitnet1\.58'"):
        small_plan(text_file, models=[{"name": "a", **NEOX, "native": "bitnet1.5"}])


def test_a_folder_begun_before_native_existed_goes_on(text_file: Path, tmp_path: Path) -> None:
    from bitlaw.train.run import _check_plan

    plan = small_plan(text_file)
    content = plan.as_dict()
    for model in content["models"]:
        del model["native"]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    _check_plan(plan, tmp_path)


def test_an_architecture_without_linear_layers_is_refused(text_file: Path) -> None:
    """GPT-2 keeps its weights in Conv1D layers."""
    plan = small_plan(text_file, models=[{"name": "m", **NEOX, "architecture": "gpt2", "native": "bitnet1.58"}])
    with pytest.raises(InputError, match=r"needs torch.nn.Linear layers, and GPT2LMHeadModel has none"):
        build_model(plan.models[0], {"vocabulary": 280, "window_tokens": 16, "end_of_text": 0}, "cpu")
