"""The plan of a training run: what its TOML says, checked and with every default filled in.

[train]
suite = "tiny"                      # the suite's name in records
text = "sample:train"               # see `bitlaw.text.open_text`
tokenizer = "train"                 # or a folder with a tokenizer.json
vocabulary = 1024                   # tokens, when the tokenizer is trained
window_tokens = 128
batch_windows = 16
tokens = 2.5e6                      # a model, unless the model says otherwise
checkpoints = 6                     # spaced evenly in log tokens
first_checkpoint_tokens = 8e4
seed = 0
schedule = { kind = "cosine", warmup_tokens = 1e5, final_share = 0.1 }
average = { count = 0, share = 0.2 }  # weights averaged beside every checkpoint, see `averaging.py`
optimizer = { beta1 = 0.9, beta2 = 0.95, weight_decay = 0.1, clip = 1.0 }
models = [{ name = "neox-25k", architecture = "gpt_neox", width = 32, layers = 2, heads = 2, peak_learning_rate = 6e-3 }]
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from bitlaw.catalog import find
from bitlaw.errors import InputError, UnknownName, require_count
from bitlaw.text.tokenizer import SMALLEST_VOCABULARY
from bitlaw.train.schedule import Schedule, checkpoint_steps

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW (Loshchilov & Hutter 2019): decay on matrices only, gradients clipped to a global norm (`clip`, 0 for off)."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.beta1 < 1.0 and 0.0 <= self.beta2 < 1.0):
            raise InputError(
                f"AdamW betas {self.beta1}, {self.beta2} are outside [0, 1). Give for example 0.9 and 0.95."
            )
        if self.epsilon <= 0 or self.weight_decay < 0 or self.clip < 0:
            raise InputError("AdamW needs epsilon above 0, weight_decay and clip of 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Average:
    """Weight averaging beside a checkpoint: `count` steps (0: none) evenly spaced over the last `share` of its tokens."""

    count: int = 0
    share: float = 0.2

    def __post_init__(self) -> None:
        if self.count < 0 or self.count == 1:
            raise InputError(
                f"average count={self.count} is not a number of steps to average. Give 0 (off), or 2 or more."
            )
        if not 0.0 < self.share <= 1.0:
            raise InputError(f"average share={self.share} is not a share of the tokens. Give above 0, at most 1.")


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model of a suite. `tokens`, `seed`, `schedule` and `average` are the plan's unless the model gives its own.

    `native` is a way to train in few bits (`bitlaw catalog native`), or `none`.
    """

    name: str
    architecture: str
    width: int
    layers: int
    heads: int
    peak_learning_rate: float
    tokens: float
    seed: int
    schedule: Schedule
    native: str = "none"
    average: Average = field(default_factory=Average)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"Model name {self.name!r} cannot be a folder. Use letters, digits, '.', '_' and '-'.")
        find("architecture", self.architecture)
        if self.native != "none":
            find("native", self.native)
        for name in ("width", "layers", "heads", "peak_learning_rate", "tokens"):
            require_count(name, getattr(self, name), {"tokens": "training tokens"}.get(name, name))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(
                f"Model {self.name!r}: width={self.width} over heads={self.heads} is not an even whole number a head. "
                "Choose heads that divide width into even parts."
            )


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A suite to train. `dtype` and `compile` of `auto` mean float32 uncompiled on a CPU, bfloat16 compiled on a GPU."""

    suite: str
    text: str
    models: tuple[ModelPlan, ...]
    tokenizer: str = "train"
    vocabulary: int = 1024
    window_tokens: int = 128
    batch_windows: int = 16
    checkpoints: int = 6
    first_checkpoint_tokens: float = 1e5
    optimizer: Optimizer = field(default_factory=Optimizer)
    dtype: str = "auto"
    compile: str = "auto"

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.suite):
            raise InputError(f"Suite name {self.suite!r} cannot be a folder. Use letters, digits, '.', '_' and '-'.")
        for name, what in (("batch_windows", "windows"), ("checkpoints", "checkpoints")):
            require_count(name, getattr(self, name), what)
        require_count("first_checkpoint_tokens", self.first_checkpoint_tokens, "training tokens")
        if self.window_tokens < 2:
            raise InputError(f"window_tokens={self.window_tokens} is too short. Give at least 2.")
        if self.tokenizer == "train" and self.vocabulary < SMALLEST_VOCABULARY:
            raise InputError(
                f"vocabulary={self.vocabulary} is below {SMALLEST_VOCABULARY}: 256 bytes and the end of text."
            )
        for name, known in (("dtype", ("auto", "float32", "bfloat16")), ("compile", ("auto", "yes", "no"))):
            if getattr(self, name) not in known:
                raise UnknownName(name, str(getattr(self, name)), known)
        names = [model.name for model in self.models]
        if not names or len(set(names)) < len(names):
            raise InputError(f"A plan needs models with names of their own; it has {', '.join(names) or 'none'}.")

    @property
    def step_tokens(self) -> int:
        """Tokens a step: windows of the batch times tokens of a window, each predicted once."""
        return self.batch_windows * self.window_tokens

    def last_step(self, model: ModelPlan) -> int:
        """Steps of a model's training."""
        return max(1, round(model.tokens / self.step_tokens))

    def steps(self, model: ModelPlan) -> tuple[int, ...]:
        """Steps of a model that are kept as checkpoints."""
        return checkpoint_steps(
            count=self.checkpoints,
            first_tokens=self.first_checkpoint_tokens,
            last_step=self.last_step(model),
            step_tokens=self.step_tokens,
        )

    def learning_rate(self, model: ModelPlan, step: int) -> float:
        """Learning rate of a step, counted from 1."""
        share = model.schedule.share(step * self.step_tokens, self.last_step(model) * self.step_tokens)
        return model.peak_learning_rate * share

    def step_path(self, model: ModelPlan, step: int, *, averaged: bool = False) -> str:
        """Path of a checkpoint inside the suite's folder; that of its weight average stands under a name of its own."""
        return f"{averaged_name(model) if averaged else model.name}/step-{step:07d}"

    def paths(self, model: ModelPlan) -> tuple[str, ...]:
        """Paths of all checkpoints of a model, averages after the model's own."""
        kinds = (False, True) if model.average.count else (False,)
        return tuple(self.step_path(model, step, averaged=kind) for kind in kinds for step in self.steps(model))

    def as_dict(self) -> dict[str, Any]:
        """The resolved plan in JSON's types; `train_plan` reads it back."""
        return dataclasses.asdict(self) | {"models": [dataclasses.asdict(model) for model in self.models]}


def averaged_name(model: ModelPlan) -> str:
    """Return the name under which a model's weight averages stand in suites and records, such as `neox+mean5`."""
    return f"{model.name}+mean{model.average.count}"


def read_train_plan(plan: str | Path) -> TrainPlan:
    """Return the [train] part of a TOML file, or of a shipped plan given by name (`tiny`)."""
    shipped = resources.files("bitlaw").joinpath("plans", f"{plan}.toml")
    path = Path(plan)
    try:
        content = shipped.read_text() if NAME.fullmatch(str(plan)) and shipped.is_file() else path.read_text()
    except OSError as error:
        names = sorted(p.name.removesuffix(".toml") for p in resources.files("bitlaw").joinpath("plans").iterdir())
        raise InputError(
            f"Cannot read the plan {plan}: {error.strerror}. Give a file, or one of: {', '.join(names)}."
        ) from error
    try:
        tables = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Plan {plan} is not TOML: {error}.") from error
    if not isinstance(tables.get("train"), dict):
        raise InputError(f"Plan {plan} has no [train] table, so there is nothing to train.")
    return train_plan(tables["train"])


def train_plan(table: Mapping[str, Any]) -> TrainPlan:
    """Return the plan of a [train] table: models take what they do not set themselves from it (see `ModelPlan`)."""
    values = dict(table)
    shared = {"tokens": values.pop("tokens", 0), "seed": values.pop("seed", 0)}
    schedule, average = values.pop("schedule", {}), values.pop("average", {})
    models = []
    for entry in values.pop("models", ()):
        own = shared | dict(entry) | {"schedule": _build(Schedule, "schedule", schedule | entry.get("schedule", {}))}
        own["average"] = _build(Average, "average", average | entry.get("average", {}))
        models.append(_build(ModelPlan, "model", own))
    values["optimizer"] = _build(Optimizer, "optimizer", values.get("optimizer", {}))
    plan: TrainPlan = _build(TrainPlan, "train", values | {"models": tuple(models)})
    return plan


def _build(kind: type[Any], name: str, values: Mapping[str, Any]) -> Any:
    """Make a settings object from a table, with errors for keys it does not have and keys it lacks."""
    known = {f.name: f for f in fields(kind)}
    for key in values:
        if key not in known:
            raise UnknownName(f"setting in [{name}]", key, known)
    missing = [
        f.name
        for f in known.values()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"[{name}] lacks {', '.join(missing)}.")
    types: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}
    for key, value in values.items():
        wanted = types.get(str(known[key].type))
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise InputError(f"[{name}] {key}={value!r} should be of type {known[key].type}.")
    return kind(**values)
