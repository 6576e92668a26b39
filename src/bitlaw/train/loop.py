"""Training of one model: steps, state, checkpoints. Killed at any moment, it goes on where it was.

At a step that is kept the order is: state, loss curve, checkpoint folder. A run that finds state but no folder writes the
folder from the state, so a checkpoint is always a point of the path that the state is on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bitlaw.catalog import find
from bitlaw.errors import BitlawError, NonFiniteError
from bitlaw.train.averaging import WeightSums
from bitlaw.train.bitnet import make_native
from bitlaw.train.checkpoints import write_checkpoint, write_losses
from bitlaw.train.corpus import IDS, WORK, Batches
from bitlaw.train.head_loss import head_loss
from bitlaw.train.plan import ModelPlan, TrainPlan
from bitlaw.train.state import Progressed, load_state, save_state
from bitlaw.train.stepping import LossOf, Stepper, adamw

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPORT_SECONDS = 1.0
STILL_STEPS = 32
STATE_SHARE = 0.02  # of the time at most goes into saving state

Report = Callable[[int, float, float], None]
"""Called with steps done, loss of the last step and tokens per second."""


def train_model(
    plan: TrainPlan,
    model_plan: ModelPlan,
    out: Path,
    *,
    text: dict[str, Any],
    device: str,
    state_seconds: float,
    report: Report,
) -> None:
    """Train one model to its last step, leaving checkpoints in `out`. Raises NonFiniteError when the loss is lost."""
    ids = np.load(out / WORK / IDS, mmap_mode="r")
    batches = Batches(ids, window_tokens=plan.window_tokens, batch_windows=plan.batch_windows, seed=model_plan.seed)
    model = build_model(model_plan, text, device)
    optimizer = adamw(plan.optimizer, model)
    state = out / WORK / f"{model_plan.name}.state"
    kept = plan.steps(model_plan)
    sums = WeightSums(model_plan.average, kept)
    progressed = load_state(state, model=model, optimizer=optimizer, sums=sums)
    losses = progressed.losses
    pending: list[torch.Tensor] = []
    last = plan.last_step(model_plan)
    loss_of, compiled = loss_function(plan, model, device)
    take_step = Stepper(model, optimizer, loss_of, clip=plan.optimizer.clip, record=compiled)
    saved_at = reported_at = time.monotonic()
    interval = state_seconds
    reported_step = progressed.step

    def settle(step: int) -> None:
        losses.extend(torch.stack(pending).double().tolist() if pending else ())
        pending.clear()
        if losses and not np.isfinite(losses[-1]):
            raise NonFiniteError(f"{model_plan.name}: loss is {losses[-1]} at step {step}. Lower peak_learning_rate.")
        if stands_still(losses):
            raise BitlawError(
                f"{model_plan.name}: the loss is {losses[-1]} at every step up to {step}: nothing is trained."
            )

    def keep(step: int) -> None:
        if not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise NonFiniteError(f"{model_plan.name}: weights overflow at step {step}. Lower peak_learning_rate.")
        write_losses(plan, model_plan, out, losses)
        epochs = step * plan.step_tokens / text["tokens"]
        with sums.averaged(step, model) as averaged:
            if averaged:
                write_checkpoint(plan, model_plan, out, step=step, epochs=epochs, model=model, averaged=True)
        sums.drop(step)
        write_checkpoint(plan, model_plan, out, step=step, epochs=epochs, model=model)  # last: it says the step is done

    if progressed.step in kept:
        keep(progressed.step)
    for step in range(progressed.step + 1, last + 1):
        batch = torch.from_numpy(batches.batch(step - 1))
        loss = take_step(batch, plan.learning_rate(model_plan, step))
        sums.add(step, model)
        pending.append(loss)
        now = time.monotonic()
        if step in kept or now - saved_at >= interval:
            settle(step)
            so_far = Progressed(step=step, losses=losses)
            save_state(state, model=model, optimizer=optimizer, sums=sums, progressed=so_far)
            saved_at = time.monotonic()
            interval = max(state_seconds, (saved_at - now) / STATE_SHARE)
        if step in kept:
            keep(step)
        if step in kept or now - reported_at >= REPORT_SECONDS:
            settle(step)
            now = time.monotonic()
            report(step, losses[-1], (step - reported_step) * plan.step_tokens / max(now - reported_at, 1e-9))
            reported_at, reported_step = now, step
    state.unlink(missing_ok=True)


def stands_still(losses: Sequence[float]) -> bool:
    """Whether the last STILL_STEPS losses are one number to the last bit, which different batches do not give."""
    return len(losses) >= STILL_STEPS and len(set(losses[-STILL_STEPS:])) == 1


def build_model(model_plan: ModelPlan, text: dict[str, Any], device: str) -> PreTrainedModel:
    """Return a model of the plan with fresh weights, float32, on the device; text tells vocabulary, window and end of text."""
    from transformers import AutoModelForCausalLM

    config = find("architecture", model_plan.architecture).load()(
        model_plan,
        vocabulary=text["vocabulary"],
        window_tokens=text["window_tokens"],
        end_of_text=text["end_of_text"],
    )
    torch.manual_seed(model_plan.seed)
    loader: Any = AutoModelForCausalLM  # transformers gives it no types
    fresh = loader.from_config(config, dtype=torch.float32)
    if model_plan.native != "none":
        make_native(fresh, model_plan.native)
    # No architecture has dropout, so evaluation mode is the same function; in training mode OPT draws a random number a
    # layer (for a layer drop of 0) and so breaks the compiled graph there.
    model: PreTrainedModel = fresh.to(device).eval()
    return model


def loss_function(plan: TrainPlan, model: PreTrainedModel, device: str) -> tuple[LossOf, bool]:
    """Return batch [windows, window_tokens + 1] -> mean cross-entropy, nats per token; and whether it is compiled."""
    kind = torch.device(device).type
    low = plan.dtype == "bfloat16" or (plan.dtype == "auto" and kind == "cuda")
    untyped: Any = model
    head = untyped.get_output_embeddings()

    def plain(batch: torch.Tensor) -> torch.Tensor:
        hidden = model.base_model(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
        return head_loss(hidden.flatten(0, 1), head.weight, batch[:, 1:].flatten())

    def autocast(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(kind, torch.bfloat16):
            hidden = model.base_model(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
            logits = head(hidden).flatten(0, 1).float()
        return torch.nn.functional.cross_entropy(logits, batch[:, 1:].flatten())

    chosen = autocast if low else plain
    if plan.compile == "no" or (plan.compile == "auto" and kind != "cuda"):
        return chosen, False
    compiled: LossOf = torch.compile(chosen)
    return compiled, True
