"""`predictor_evaluate(source)`: every predictor and baseline on models it was not trained on, in one table.

    leave-family    each family in turn is predicted by what was trained on the others; scores are over all of them
    leave-largest   the largest model of every family is predicted by what was trained on the smaller ones (families of one
                    size only train)
    paper           gpt2, opt, bloom and llama train, gpt_neox and mpt are predicted (arXiv 2410.12119)

Intervals are calibrated inside the training part (conformal.py), so coverage is of models nobody calibrated on either.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError, UnknownName
from bitlaw.predictor.conformal import calibrate
from bitlaw.predictor.curve import Array
from bitlaw.predictor.kinds import KINDS, State, fit_kind, kind_of, predict_kind
from bitlaw.predictor.metrics import Scores, ceiling, scores
from bitlaw.predictor.ranges import distance, range_values, ranges_of
from bitlaw.predictor.rows import TARGETS, Rows
from bitlaw.predictor.training import Source, rows_of

FITTED, HELD = ("bloom", "gpt2", "llama", "opt"), ("gpt_neox", "mpt")
Part = tuple[NDArray[np.bool_], NDArray[np.bool_]]
NONE = Scores(n=0, r2=math.nan, mae=math.nan, rank=math.nan)
ABLATIONS: Mapping[str, str] = {
    "forest-training": "forest",
    "config": "config-no-tokens",
    "zero-shot-training": "zero-shot",
    "after-nearest-training": "after-nearest",
}
"""Kinds that read training tokens and learning-rate state -> the same kind without."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Scores of one kind on one split and target; `failed` says why there are none. predicted, low, high, measured: [n], losses
    minus the target's reference, in the order of `rows`; models: of so many were rows predicted (those that have what the kind reads)."""

    split: str
    target: str
    kind: str
    scores: Scores
    failed: str = ""
    models: int = 0
    rows: NDArray[np.int64] | None = None
    measured: Array | None = None
    predicted: Array | None = None
    low: Array | None = None
    high: Array | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return scores as plain values, without the arrays."""
        said = asdict(self.scores)
        return {
            "split": self.split,
            "target": self.target,
            "predictor": self.kind,
            "reads": KINDS[self.kind].reads,
            "baseline": KINDS[self.kind].baseline,
            **said,
            "models": self.models,
            "failed": self.failed,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All results, and what they were made from."""

    results: tuple[Result, ...]
    level: float
    families: tuple[str, ...]
    models: int
    rows: int
    left_out: Mapping[str, int]
    digest: str
    table: Rows

    def find(self, split: str, target: str, kind: str) -> Result:
        """Return one result. Raises InputError if it was not asked for."""
        for one in self.results:
            if (one.split, one.target, one.kind) == (split, target, kind):
                return one
        raise InputError(f"{kind} was not evaluated on {split} of {target}.")

    def best(self, split: str, target: str, *, baseline: bool | None = None) -> Result:
        """Return the result with the highest R2 (baseline: only among baselines, or only among the others)."""
        found = [
            one
            for one in self.results
            if (one.split, one.target) == (split, target)
            and not one.failed
            and baseline in (None, KINDS[one.kind].baseline)
            and math.isfinite(one.scores.r2)
        ]
        if not found:
            raise InputError(f"Nothing was evaluated on {split} of {target}.")
        return max(found, key=lambda one: one.scores.r2)

    def ceiling(self, split: str, target: str) -> float:
        """Return the R2 that noise of the measurements leaves: what the true losses of the held-out rows would score."""
        one = next((r for r in self.results if (r.split, r.target) == (split, target) and r.rows is not None), None)
        if one is None or one.rows is None or one.measured is None:
            return math.nan
        return ceiling(one.measured, self.table.target_error(target)[one.rows])

    def ablation(self) -> list[dict[str, Any]]:
        """Return what training tokens and learning-rate state add: R2 and MAE with and without, for each split and target."""
        found = []
        for one in self.results:
            other = ABLATIONS.get(one.kind)
            for bare in self.results if other else ():
                if (bare.split, bare.target, bare.kind) == (one.split, one.target, other) and not (
                    one.failed or bare.failed
                ):
                    found.append(
                        {
                            "split": one.split,
                            "target": one.target,
                            "predictor": other,
                            "r2_without": bare.scores.r2,
                            "r2_with": one.scores.r2,
                            "mae_without": bare.scores.mae,
                            "mae_with": one.scores.mae,
                        }
                    )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        named = ("level", "models", "rows", "digest")
        return {
            **{name: getattr(self, name) for name in named},
            "families": list(self.families),
            "left_out": dict(self.left_out),
            "results": [one.to_dict() for one in self.results],
            "ceilings": [
                {"split": split, "target": target, "r2": self.ceiling(split, target)}
                for split, target in dict.fromkeys((one.split, one.target) for one in self.results)
            ],
            "ablation": self.ablation(),
        }


def predictor_evaluate(
    source: Source | Rows,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    targets: Sequence[str] = ("gptq_change", "gptq_loss", "gptq_qid", "nearest_qid"),
    splits: Sequence[str] = ("leave-family", "leave-largest", "paper"),
    own: Mapping[str, Sequence[Part]] | None = None,
    level: float = 0.9,
    seed: int = 0,
    said: Callable[[str], None] | None = None,
    workers: int = 1,
) -> Evaluation:
    """Return scores of kinds on splits. source: a store, a .parquet export, measurements, or their feature table.

    own: further splits by name, each pairs of (training rows, held-out rows), masks [n] over the feature table.

    A kind that cannot be fitted (unknown training tokens, no scikit-learn) has its reason in place of scores. A kind that reads compensated probes
    is fitted to, and scored on, the models that have them: `Result.models` says how many. said: told
    each split and kind as it is done. workers: processes that share the kinds. Raises InputError for fewer than three families: one is left out, and of those that
    remain one more for the intervals.
    """
    rows = source if isinstance(source, Rows) else rows_of(source)
    for target in targets:
        if target not in TARGETS:
            raise UnknownName("target", target, TARGETS)
    families = np.unique(rows.family).tolist()
    if len(families) < 3:
        raise InputError(
            f"An evaluation leaves a family out and calibrates on two or more; here are {len(families)} ({', '.join(families)}). Add families."
        )
    parted = {split: list(_parts(rows, split)) for split in splits} | {k: list(v) for k, v in (own or {}).items()}
    jobs = [(rows, split, parts, name, targets, level, seed) for split, parts in parted.items() for name in kinds]
    results: list[Result] = []
    for (_, split, _, name, *_), found in zip(jobs, _each(jobs, workers)):
        if said:
            said(f"{split}: {name}")
        results += found
    return Evaluation(
        results=tuple(results),
        level=level,
        families=tuple(families),
        models=len(rows.models),
        rows=len(rows),
        left_out=dict(rows.left_out),
        digest=rows.digest,
        table=rows,
    )


def _each(jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[list[Result]]:
    """Yield the results of each job in order; `workers` processes take them in turn."""
    if workers < 2:
        yield from (_judged(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_judged, *job) for job in jobs]:
            yield future.result()


SPLITS = ("leave-family", "leave-largest", "paper")


def impossible_splits(rows: Rows) -> dict[str, str]:
    """Return the splits that these rows cannot make, and why."""
    found = {}
    for split in SPLITS:
        try:
            list(_parts(rows, split))
        except InputError as error:
            found[split] = str(error)
    return found


def _parts(rows: Rows, split: str) -> Iterator[Part]:
    """Yield (training mask, held-out mask) of a split."""
    if split == "leave-family":
        for family in np.unique(rows.family):
            yield rows.family != family, rows.family == family
    elif split == "leave-largest":
        held = np.zeros(len(rows), dtype=bool)
        for family in np.unique(rows.family):
            mine = rows.family == family
            sizes = np.unique(rows["parameters"][mine])
            if len(sizes) > 1:
                held |= mine & (rows["parameters"] == sizes[-1])
        if not held.any():
            raise InputError(
                "Every family has models of one size only: none is left to train on when the largest is left out."
            )
        yield ~held, held
    elif split == "paper":
        fitted, held = np.isin(rows.family, FITTED), np.isin(rows.family, HELD)
        missing = [name for name in (*FITTED, *HELD) if name not in rows.family]
        if missing:
            raise InputError(
                f"The paper's split needs the families {', '.join((*FITTED, *HELD))}; {', '.join(missing)} are missing."
            )
        yield fitted, held
    else:
        raise UnknownName("split", split, SPLITS)


def _judged(
    rows: Rows, split: str, parts: Sequence[Part], name: str, targets: Sequence[str], level: float, seed: int
) -> list[Result]:
    """Return the results of one kind on every target; where the loss is learned, readings of it share their fits."""
    found: list[Result] = []
    losses: dict[str, tuple[Array, Array]] = {}
    for target in targets:
        if target not in kind_of(name).targets:
            continue
        group = target if KINDS[name].by_target else target.split("_")[0]
        try:
            if group not in losses:
                losses[group] = _predicted(rows, parts, name, target, level, seed)
        except InputError as error:
            found.append(Result(split=split, target=target, kind=name, scores=NONE, failed=str(error)))
            continue
        found.append(_result(rows, split, name, target, *losses[group]))
    return found


def _choices(state: Mapping[str, Any]) -> list[Any]:
    """Return what a state, or those it is made of, chose to read."""
    inner = [_choices(value) for value in state.values() if isinstance(value, Mapping)]
    return [state.get("further"), *inner]


class _Remembered:
    """`fit_kind` for one kind and target that fits no rows twice: with families i and j left out, whichever was first."""

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, str], dict[str, Any]] = {}

    def __call__(self, name: str, rows: Rows, target: str, *, seed: int, like: State | None) -> dict[str, Any]:
        which = hashlib.sha256(rows.model.tobytes() + rows.format.tobytes()).digest()
        further = str(_choices(like or {}))
        if (which, further) not in self._found:
            self._found[which, further] = fit_kind(name, rows, target, seed=seed, like=like)
        return self._found[which, further]


def _predicted(
    rows: Rows, parts: Sequence[Part], name: str, target: str, level: float, seed: int
) -> tuple[Array, Array]:
    """Return the predicted loss of each held-out row and half its interval, [n]; NaN where a row was never held out."""
    loss, half = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    fitted, known = _Remembered(), rows.known(kind_of(name).needs)
    for train, held in parts:
        held = held & known
        if not held.any():
            continue
        seen, new = rows.take(train & known), rows.take(held)
        if not len(seen):
            raise InputError(f"No model that {name!r} could be fitted to has {kind_of(name).reads}.")
        state = fit_kind(name, seen, target, seed=seed)
        loss[held] = predict_kind(name, state, new, target)
        intervals = calibrate(name, seen, target, seed=seed, unseen=False, like=state, fitted=fitted)
        far = distance(ranges_of(range_values(seen, name)), range_values(new, name))
        half[held] = intervals.half_width(loss[held] - new["baseline_loss"], level, distance=far)
    if not np.isfinite(loss).any():
        raise InputError(f"No held-out model has {kind_of(name).reads}, which {name!r} reads.")
    return loss, half


def _result(rows: Rows, split: str, name: str, target: str, loss: Array, half: Array) -> Result:
    held = np.flatnonzero(np.isfinite(loss))
    predicted = (loss - rows.reference(target))[held]
    measured, width = rows.target(target)[held], half[held]
    low, high = predicted - width, predicted + width
    return Result(
        split=split,
        target=target,
        kind=name,
        scores=scores(measured, predicted, low, high, groups=rows.family[held]),
        models=len(set(rows.model[held].tolist())),
        rows=held,
        measured=measured,
        predicted=predicted,
        low=low,
        high=high,
    )
