"""What training leaves behind: checkpoints, each with its line of the manifest, loss curves, and the manifest made of the lines."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bitlaw.suites.manifest import ManifestEntry, write_manifest
from bitlaw.suites.weights import count_parameters, folder_shapes, weights_sha256
from bitlaw.train.corpus import TEXT_INFO, TOKENIZER
from bitlaw.train.files import place_folder, replace_file
from bitlaw.train.plan import ModelPlan, TrainPlan, averaged_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ENTRY = "bitlaw.json"  # a checkpoint's own line of the manifest
LOSS_CURVE = "train-loss.csv"


def write_checkpoint(
    plan: TrainPlan,
    model_plan: ModelPlan,
    out: Path,
    *,
    step: int,
    epochs: float,
    model: PreTrainedModel,
    averaged: bool = False,
) -> None:
    """Put weights, config, tokenizer and the manifest's line of a step in place, unless they are there.

    A native low-bit model is written as a plain one with the weights it computes with; the latent ones are in the state.
    `averaged`: the model holds the average of weights that belongs to the step, not the step's own.
    """
    from bitlaw.train.bitnet import effective_weights  # imports torch, which `write_suite` can do without

    path = plan.step_path(model_plan, step, averaged=averaged)
    name = averaged_name(model_plan) if averaged else model_plan.name
    suffix = name.removeprefix(model_plan.name)

    def fill(folder: Path) -> None:
        with effective_weights(model):
            model.save_pretrained(folder)
        for file in sorted((out / TOKENIZER).iterdir()):
            shutil.copy(file, folder / file.name)
        count = count_parameters(folder_shapes(folder))
        entry = ManifestEntry(
            path=path,
            model=name,
            step=step,
            tokens=step * plan.step_tokens,
            parameters=count.non_embedding,
            parameters_total=count.total,
            learning_rate=plan.learning_rate(model_plan, step),
            peak_learning_rate=model_plan.peak_learning_rate,
            schedule=model_plan.schedule.kind + suffix,
            training_seed=model_plan.seed,
            epochs=round(epochs, 4),
            native=model_plan.native,
            weights_sha256=weights_sha256(folder),
        )
        (folder / ENTRY).write_text(json.dumps(asdict(entry), indent=1) + "\n")

    place_folder(out / path, fill)


def write_losses(plan: TrainPlan, model_plan: ModelPlan, out: Path, losses: Sequence[float]) -> None:
    """Write the loss curve of a model: one row a step, nats per token."""

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("step", "tokens", "loss_nats", "learning_rate"))
            for step, loss in enumerate(losses, start=1):
                rate = plan.learning_rate(model_plan, step)
                rows.writerow((step, step * plan.step_tokens, f"{loss:.6f}", f"{rate:.6g}"))

    (out / model_plan.name).mkdir(exist_ok=True)
    replace_file(out / model_plan.name / LOSS_CURVE, write)


def write_suite(plan: TrainPlan, out: Path) -> None:
    """Write suite.json with the checkpoints that exist, in the order of the plan; nothing while there is none."""
    entries = []
    for model in plan.models:
        for step_path in plan.paths(model):
            path = out / step_path / ENTRY
            if path.is_file():
                entries.append(ManifestEntry(**json.loads(path.read_text())))
    if entries:
        text = json.loads((out / TEXT_INFO).read_text())
        write_manifest(out, name=plan.suite, checkpoints=entries, tokenizer=TOKENIZER, training_text=text)
