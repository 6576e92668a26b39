"""Training of a suite: text once, then each model in a process of its own, longest first, and a manifest that grows.

Each process has one thread on a CPU, so results do not depend on the number of cores; more cores train more models side
by side. A process that dies is reported; the others finish.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitlaw.catalog import find
from bitlaw.errors import BitlawError, InputError
from bitlaw.progress import Progress
from bitlaw.suites import MANIFEST, Suite, open_suite, read_manifest
from bitlaw.train.checkpoints import write_suite
from bitlaw.train.corpus import WORK, prepare_text
from bitlaw.train.files import locked, replace_file
from bitlaw.train.plan import ModelPlan, TrainPlan, read_train_plan, train_plan
from bitlaw.train.pool import train_models

PLAN = "plan.json"
STATE_SECONDS = 15.0


def train(
    plan: TrainPlan | str | Path,
    out: str | Path,
    *,
    text: str = "",
    device: str = "auto",
    workers: int | None = None,
    progress: Progress | None = None,
    state_seconds: float = STATE_SECONDS,
) -> Suite:
    """Train the models of a plan into the folder `out` and return the suite. Run again, it does what is missing.

    `text` replaces the plan's own. `device` is `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:1`; `workers` is how many models train side by
    side: by default one a core on a CPU, one a device on a GPU. State is saved every `state_seconds`. Raises InputError
    for a folder that holds another plan or cannot be written, BitlawError naming the models that failed.
    """
    plan = plan if isinstance(plan, TrainPlan) else read_train_plan(plan)
    plan = dataclasses.replace(plan, text=text) if text else plan
    folder = Path(out)
    progress = progress or Progress()
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers} is not a number of processes. Give at least 1.")
    if is_trained(plan, folder):
        return open_suite(folder)
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        with locked(folder / WORK / "lock", wait=False, busy=f"Another bitlaw is training in {folder}. Wait for it."):
            _check_plan(plan, folder)
            missing = [model for model in plan.models if not _finished(plan, model, folder)]
            if missing:
                prepared = prepare_text(plan, folder)
                _check_architectures(plan, prepared)
                failures = train_models(
                    plan,
                    missing,
                    folder,
                    text=prepared,
                    device=device,
                    workers=workers,
                    state_seconds=state_seconds,
                    progress=progress,
                    on_checkpoint=lambda: write_suite(plan, folder),
                )
                if failures:
                    told = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
                    raise BitlawError(f"{len(failures)} of {len(missing)} models failed: {told}. Run again to go on.")
            write_suite(plan, folder)
            _clean(folder)
    except OSError as error:
        raise InputError(
            f"Cannot write {error.filename or folder}: {error.strerror}. Choose another folder."
        ) from error
    return open_suite(folder)


def _check_plan(plan: TrainPlan, folder: Path) -> None:
    """Write the resolved plan, or compare it with the one the folder was begun with."""
    path = folder / PLAN
    content = plan.as_dict()
    if not path.is_file():
        if (folder / MANIFEST).is_file():
            raise InputError(f"{folder} holds a suite that no plan made. Choose another folder.")
        replace_file(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n"))
        return
    begun = train_plan(json.loads(path.read_text())).as_dict()  # what an older bitlaw did not know is at its default
    different = sorted(key for key in content.keys() | begun.keys() if content.get(key) != begun.get(key))
    if different:
        raise InputError(
            f"{folder} was begun with another plan: {', '.join(different)} differ. Use another folder, or remove this one."
        )


def is_trained(plan: TrainPlan, folder: Path) -> bool:
    """Return whether the folder holds every checkpoint of this plan, so that nothing is written (it may be read-only).

    Raises InputError for a folder that holds another plan.
    """
    if not (folder / PLAN).is_file() or not (folder / MANIFEST).is_file():
        return False
    _check_plan(plan, folder)
    listed = {entry.path for entry in read_manifest(folder).checkpoints}
    return listed == {path for model in plan.models for path in plan.paths(model)}


def _finished(plan: TrainPlan, model: ModelPlan, folder: Path) -> bool:
    return (folder / plan.step_path(model, plan.last_step(model))).is_dir()


def _check_architectures(plan: TrainPlan, text: Mapping[str, Any]) -> None:
    """Make every config once, so that a size that cannot be is an error before anything is trained."""
    for model in plan.models:
        find("architecture", model.architecture).load()(
            model, vocabulary=text["vocabulary"], window_tokens=text["window_tokens"], end_of_text=text["end_of_text"]
        )


def _clean(folder: Path) -> None:
    """Remove what only unfinished training needs."""
    for file in (folder / WORK).iterdir():
        if file.name != "lock":
            file.unlink()
