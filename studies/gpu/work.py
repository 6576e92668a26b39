"""What a run has to do: studies, their models, and the units of measuring, claimed by whoever is free.

A study is a folder with a `plan.toml`: `[run]` (GPUs to train on, models side by side), `[train]`, `[measure]` and any number of `[[passes]]`, each of which changes keys
of `[measure]` and may choose `models` (patterns) and `last` (only so many last checkpoints); for `[measure]` itself
`[study]` does. A study without `[train]` measures another one's checkpoints: `[study] suite = "NAME"`.

A unit is one pass over one checkpoint: `STUDY PASS MODEL STEP`. A file in `claims/` says that somebody has taken it, the
same name in `done/` that its measurements are stored.
"""

from __future__ import annotations

import fnmatch
import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitlaw.measure import MeasurePlan, measure_plan
from bitlaw.suites import MANIFEST, Suite, SuiteCheckpoint, open_suite
from bitlaw.train.plan import ModelPlan, TrainPlan, averaged_name, read_train_plan


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One measuring plan of a study and which checkpoints it is for; `last` 0 means all."""

    name: str
    plan: MeasurePlan
    models: tuple[str, ...] = ("*",)
    last: int = 0

    def wants(self, model: str) -> bool:
        """Return whether a model is measured."""
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study: its training plan (None where it measures another's suite), the suite it measures, its passes.

    `gpus` are those its models train on, in this order, and `trainers` how many train side by side.
    """

    name: str
    train: TrainPlan | None
    suite: str
    passes: tuple[Pass, ...]
    gpus: tuple[int, ...] = (0,)
    trainers: int = 1


def read_study(path: Path) -> Study:
    """Return the study of a plan file."""
    tables = tomllib.loads(path.read_text())
    train = read_train_plan(path) if "train" in tables else None
    name = path.parent.name if (path.parent / "plan.toml").is_file() else path.stem
    suite = tables.get("study", {}).get("suite", name)
    base = dict(tables["measure"])
    passes = [_pass("main", base, dict(tables.get("study", {})))]
    for number, changes in enumerate(tables.get("passes", ()), start=1):
        own = dict(changes)
        title = own.pop("name", f"pass{number}")
        passes.append(_pass(title, base, own))
    run = tables.get("run", {})
    return Study(
        name=name,
        train=train,
        suite=suite if train is None else train.suite,
        passes=tuple(passes),
        gpus=tuple(run.get("gpus", (0,))),
        trainers=int(run.get("trainers", 1)),
    )


def _pass(name: str, base: dict[str, Any], changes: dict[str, Any]) -> Pass:
    changes.pop("suite", None)
    models, last = tuple(changes.pop("models", ("*",))), int(changes.pop("last", 0))
    measured = {**base, **changes}
    if "variants" in changes:  # a pass that lists its own variants takes none from the product
        measured = {**base, "methods": [], "bits": [], **changes}
    return Pass(name=name, plan=measure_plan({"measure": measured}), models=models, last=last)


def without(plan: TrainPlan, finished: Sequence[str]) -> TrainPlan | None:
    """Return the plan without the finished models, or None when none is left."""
    left = tuple(m for m in plan.models if m.name not in finished)
    return TrainPlan(**{**vars(plan), "models": left}) if left else None


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One pass over one checkpoint."""

    study: str
    measuring: Pass
    suite: Suite
    checkpoint: SuiteCheckpoint

    @property
    def name(self) -> str:
        """The unit's line in the list of what is done."""
        c = self.checkpoint.described
        return unit_name(self.study, self.measuring.name, c.model, c.step)


def unit_name(study: str, pass_name: str, model: str, step: int) -> str:
    """Return `STUDY PASS MODEL STEP`."""
    return f"{study} {pass_name} {model} {step}"


def planned_units(study: Study, trained: TrainPlan) -> dict[str, list[str]]:
    """Return model of the training plan -> the units that it and its averages will give."""
    found: dict[str, list[str]] = {}
    for model in trained.models:
        steps = trained.steps(model)
        for name in _names(model):
            for one in study.passes:
                if one.wants(name):
                    kept = steps[-one.last :] if one.last else steps
                    found.setdefault(model.name, []).extend(unit_name(study.name, one.name, name, s) for s in kept)
    return found


def _names(model: ModelPlan) -> tuple[str, ...]:
    return (model.name, averaged_name(model)) if model.average.count else (model.name,)


def present_units(study: Study, folder: Path, trained: TrainPlan) -> Iterator[Unit]:
    """Yield the units whose checkpoints exist, passes in their order, in each the latest checkpoints first."""
    if not (folder / MANIFEST).is_file():
        return
    suite = open_suite(folder)
    last = {name: trained.steps(m) for m in trained.models for name in _names(m)}
    for one in study.passes:
        chosen = [c for c in suite.checkpoints if one.wants(c.described.model)]
        if one.last:
            chosen = [c for c in chosen if c.described.step in last[c.described.model][-one.last :]]
        for checkpoint in sorted(chosen, key=lambda c: -(c.described.tokens or 0)):
            yield Unit(study=study.name, measuring=one, suite=suite, checkpoint=checkpoint)


class Ledger:
    """Who measures what: claims and done marks as empty files, so that processes need no other contact."""

    def __init__(self, folder: Path) -> None:
        self._claims, self._done = folder / "claims", folder / "done"
        self._claims.mkdir(parents=True, exist_ok=True)
        self._done.mkdir(parents=True, exist_ok=True)

    def claim(self, unit: str) -> bool:
        """Take a unit; False when it is taken or done."""
        if (self._done / unit).exists():
            return False
        try:
            os.close(os.open(self._claims / unit, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def finish(self, unit: str) -> None:
        """Mark a unit as stored."""
        (self._done / unit).touch()

    def done(self) -> set[str]:
        """Return the units that are stored, now or on an earlier machine."""
        return {file.name for file in self._done.iterdir()}

    def forget_claims(self) -> None:
        """Let what was claimed and not finished be claimed again: its owner ended."""
        for file in self._claims.iterdir():
            file.unlink()
