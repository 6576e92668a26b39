"""Every kind of predictor by name: what it reads, how it is fitted to rows, how it predicts a loss.

A fitted predictor is a state of plain values (JSON), so saving one is writing its state. To add a kind: two functions,
rows -> state and (state, rows) -> loss [n], and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError, UnknownName
from bitlaw.predictor import baselines, config_only, growing, ratio, shift
from bitlaw.predictor.curve import Array
from bitlaw.predictor.rows import FEATURES, TARGETS, TRAINING, Rows
from bitlaw.predictor.trees import Trees

State = Mapping[str, Any]
NEAREST, LANDSCAPE, CONFIG = "a nearest run", "landscape probes", "config only"
COMPENSATED = "landscape and compensated probes"
NEEDS_GAIN = ("gain_db",)
AFTER_NEAREST = ("gptq_change", "gptq_loss", "gptq_qid")
ALL = tuple(TARGETS)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of predictor.

    reads: what must be known of a model; targets: which it can be fitted to; baseline: whether it only stands beside;
    by_target: whether another reading of the target gives another predictor; needs: columns of rows without which it cannot be asked.
    fit: (rows, target, seed, like) -> state, like being one whose choices are taken; predict: (state, rows, target) -> loss, nats per token.
    """

    summary: str
    reads: str
    targets: tuple[str, ...]
    fit: Callable[[Rows, str, int, State | None], dict[str, Any]]
    predict: Callable[[State, Rows, str], Array]
    baseline: bool = False
    by_target: bool = False
    needs: tuple[str, ...] = ()

    @property
    def trained_for(self) -> tuple[str, ...]:
        """The targets worth a training of their own: where the loss is learned, one reading of it is enough."""
        return self.targets if self.by_target else tuple(t for t in self.targets if t.endswith("_qid"))


def _trees(grow: Callable[..., Trees], names: tuple[str, ...]) -> dict[str, Any]:
    def fitted(rows: Rows, target: str, seed: int, like: State | None) -> dict[str, Any]:
        return {"trees": grow(rows.matrix(names), rows.target(target), names, seed=seed).to_dict()}

    return {"fit": fitted, "predict": predict_trees, "reads": NEAREST, "targets": AFTER_NEAREST, "by_target": True}


def predict_trees(state: State, rows: Rows, target: str) -> Array:
    """Return the loss that trees fitted to a target say."""
    trees = Trees.from_dict(state["trees"])
    return trees.predict(rows.matrix(trees.names)) + rows.reference(target)


def _shift(*, after_nearest: bool, training: bool = False, compensated: bool = False) -> dict[str, Any]:
    probes = COMPENSATED if compensated else LANDSCAPE
    return {
        "fit": lambda rows, target, seed, like: shift.fit_shift(
            rows, target, after_nearest=after_nearest, training=training, compensated=compensated, like=like
        ),
        "predict": lambda state, rows, target: shift.predict_shift(state, rows),
        "reads": f"{probes}, {NEAREST}" if after_nearest else probes,
        "targets": AFTER_NEAREST if after_nearest or compensated else ALL,
        "needs": NEEDS_GAIN if compensated else (),
    }


def _reading_nearest(*, compensated: bool) -> dict[str, Any]:
    return {
        "reads": f"{COMPENSATED if compensated else LANDSCAPE}, {NEAREST}",
        "targets": AFTER_NEAREST,
        "needs": NEEDS_GAIN if compensated else (),
    }


def _share(*, compensated: bool = False) -> dict[str, Any]:
    return {
        "fit": lambda rows, target, seed, like: ratio.fit_ratio(rows, seed=seed, compensated=compensated),
        "predict": lambda state, rows, target: ratio.predict_ratio(state, rows),
        **_reading_nearest(compensated=compensated),
    }


def _blend(*, compensated: bool = False) -> dict[str, Any]:
    return {
        "fit": lambda rows, target, seed, like: ratio.fit_blend(rows, target, seed=seed, compensated=compensated),
        "predict": lambda state, rows, target: ratio.predict_blend(state, rows),
        **_reading_nearest(compensated=compensated),
    }


def _config(*, training: bool) -> dict[str, Any]:
    return {
        "fit": lambda rows, target, seed, like: config_only.fit_config(rows, target, training=training),
        "predict": lambda state, rows, target: config_only.predict_config(state, rows),
        "reads": CONFIG,
        "targets": ALL,
    }


MEANS: Mapping[str, tuple[str, ...]] = {
    "zero-shot-mean": ("zero-shot", "zero-shot-training", "config", "scaling-law", "landscape"),
    "after-nearest-mean": ("after-nearest", "after-nearest-training"),
    "zero-shot-compensated-mean": (
        "zero-shot-compensated",
        "zero-shot-training",
        "config",
        "scaling-law",
        "landscape-compensated",
    ),
    "after-nearest-compensated-mean": ("after-nearest-compensated", "after-nearest-training"),
}
"""Kinds that are means of others, each member as much as the next: weights learned from a handful of families were no better."""


def _mean(name: str, reads: str, targets: tuple[str, ...], needs: tuple[str, ...] = ()) -> dict[str, Any]:
    members = MEANS[name]

    def fitted(rows: Rows, target: str, seed: int, like: State | None) -> dict[str, Any]:
        chosen = like["members"] if like else {}
        return {"members": {one: KINDS[one].fit(rows, target, seed, chosen.get(one)) for one in members}}

    def predicted(state: State, rows: Rows, target: str) -> Array:
        losses = np.stack([KINDS[one].predict(state["members"][one], rows, target) for one in members])
        if unknown := sorted(set(rows.model[~np.isfinite(losses).all(axis=0)].tolist())):
            raise InputError(
                f"A member of {name} says nothing of {', '.join(unknown[:4])}: size, tokens or learning rate are unknown. Use {members[0]!r}."
            )
        return np.asarray(losses.mean(axis=0), dtype=float)

    return {"fit": fitted, "predict": predicted, "reads": reads, "targets": targets, "needs": needs}


def _baseline(
    fit: Callable[[Rows, str], dict[str, Any]], predict: Callable[[State, Rows, str], Array]
) -> dict[str, Any]:
    return {"fit": lambda rows, target, seed, like: fit(rows, target), "predict": predict, "baseline": True}


EIGHT, TEN = tuple(FEATURES), (*FEATURES, *TRAINING)
KINDS: Mapping[str, Kind] = {
    "no-change": Kind(
        summary="the loss stays what it was (GPTQ: what nearest left)",
        reads="nothing",
        targets=ALL,
        by_target=True,
        **_baseline(baselines.nothing, baselines.unchanged),
    ),
    "format-mean": Kind(
        summary="the format's mean change over training models",
        reads="nothing",
        targets=ALL,
        by_target=True,
        **_baseline(baselines.fit_format_mean, baselines.predict_format_mean),
    ),
    "isotonic": Kind(
        summary="a rising function of the loss after nearest (of the format's noise, for nearest itself)",
        reads=NEAREST,
        targets=ALL,
        **_baseline(baselines.fit_isotonic, baselines.predict_isotonic),
    ),
    "landscape": Kind(
        summary="the random-direction loss at the format's Gaussian SNR, nothing learned",
        reads=LANDSCAPE,
        targets=ALL,
        **_baseline(baselines.nothing, baselines.predict_landscape),
    ),
    "landscape-compensated": Kind(
        summary="the same once noise is compensated as GPTQ compensates its errors, nothing learned",
        reads=COMPENSATED,
        targets=AFTER_NEAREST,
        needs=NEEDS_GAIN,
        **_baseline(baselines.nothing, baselines.predict_compensated),
    ),
    "scaling-law": Kind(
        summary="bitlaw-growth fitted to the method: size, tokens, learning rate, the format's Gaussian error",
        reads=CONFIG,
        targets=ALL,
        **_baseline(baselines.fit_law, baselines.predict_law),
    ),
    "boosting": Kind(
        summary="300 boosted trees on the eight inputs", baseline=True, **_trees(growing.grow_boosting, EIGHT)
    ),
    "forest": Kind(
        summary="the paper's: 120 trees of depth 8 on the eight inputs", **_trees(growing.grow_forest, EIGHT)
    ),
    "forest-training": Kind(
        summary="the forest with training tokens and learning-rate state too", **_trees(growing.grow_forest, TEN)
    ),
    "config-no-tokens": Kind(summary="size and format", **_config(training=False)),
    "config": Kind(summary="size, training tokens, learning-rate state and format", **_config(training=True)),
    "zero-shot": Kind(
        summary="landscape curve at the format's Gaussian SNR plus a learned shift in dB", **_shift(after_nearest=False)
    ),
    "zero-shot-training": Kind(
        summary="zero-shot, its shift reading tokens and learning-rate state too",
        **_shift(after_nearest=False, training=True),
    ),
    "zero-shot-mean": Kind(
        summary=f"the mean of {', '.join(MEANS['zero-shot-mean'])}",
        **_mean("zero-shot-mean", f"{LANDSCAPE}, training tokens", ALL),
    ),
    "after-nearest-mean": Kind(
        summary=f"the mean of {', '.join(MEANS['after-nearest-mean'])}",
        **_mean("after-nearest-mean", f"{LANDSCAPE}, {NEAREST}, training tokens", AFTER_NEAREST),
    ),
    "zero-shot-compensated-mean": Kind(
        summary=f"the mean of {', '.join(MEANS['zero-shot-compensated-mean'])}",
        **_mean("zero-shot-compensated-mean", f"{COMPENSATED}, training tokens", AFTER_NEAREST, NEEDS_GAIN),
    ),
    "after-nearest-compensated-mean": Kind(
        summary=f"the mean of {', '.join(MEANS['after-nearest-compensated-mean'])}",
        **_mean(
            "after-nearest-compensated-mean", f"{COMPENSATED}, {NEAREST}, training tokens", AFTER_NEAREST, NEEDS_GAIN
        ),
    ),
    "after-nearest": Kind(
        summary="landscape curve at the nearest loss's effective SNR plus a learned gain in dB",
        **_shift(after_nearest=True),
    ),
    "zero-shot-compensated": Kind(
        summary="zero-shot, with what GPTQ's compensation is worth in this network before the shift",
        **_shift(after_nearest=False, compensated=True),
    ),
    "after-nearest-compensated": Kind(
        summary="after-nearest, with what GPTQ's compensation is worth in this network before the gain",
        **_shift(after_nearest=True, compensated=True),
    ),
    "share": Kind(
        summary="the share of nearest's damage that GPTQ leaves, by a forest on inputs without a scale", **_share()
    ),
    "blend": Kind(summary="the mean of after-nearest and share", **_blend()),
    "share-compensated": Kind(
        summary="share, its forest reading what GPTQ's compensation is worth in this network too",
        **_share(compensated=True),
    ),
    "blend-compensated": Kind(
        summary="the mean of after-nearest-compensated and share-compensated", **_blend(compensated=True)
    ),
    "after-nearest-training": Kind(
        summary="after-nearest, its gain reading tokens and learning-rate state too",
        **_shift(after_nearest=True, training=True),
    ),
}


def kind_of(name: str) -> Kind:
    """Return a kind. Raises UnknownName."""
    if name not in KINDS:
        raise UnknownName("predictor", name, KINDS)
    return KINDS[name]


def fit_kind(name: str, rows: Rows, target: str, *, seed: int = 0, like: State | None = None) -> dict[str, Any]:
    """Return the state of a predictor fitted to rows; like: a state of its kind whose choices of inputs are taken. Raises InputError for a target it cannot have or a constant one."""
    kind = kind_of(name)
    if target not in TARGETS:
        raise UnknownName("target", target, TARGETS)
    if target not in kind.targets:
        raise InputError(
            f"Predictor {name!r} reads {kind.reads}, so it cannot predict {target}. Its targets: {', '.join(kind.targets)}."
        )
    if not kind.baseline and float(np.ptp(rows.target(target))) == 0.0:
        raise InputError(
            f"{target} is the same in all {len(rows)} rows: there is nothing to learn. Measure formats of several widths."
        )
    return kind.fit(rows, target, seed, like)


def predict_kind(name: str, state: State, rows: Rows, target: str) -> Array:
    """Return the predicted loss of each row, nats per token, [n]."""
    return np.asarray(kind_of(name).predict(state, rows, target), dtype=float)
