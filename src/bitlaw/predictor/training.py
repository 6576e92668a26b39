"""`predictor_train(source)`: measurements -> predictors with intervals, ready to be saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.conformal import calibrate
from bitlaw.predictor.kinds import KINDS, MEANS, fit_kind, kind_of
from bitlaw.predictor.landscape import collect
from bitlaw.predictor.ranges import range_values, ranges_of
from bitlaw.predictor.rows import Rows, tabulate
from bitlaw.predictor.saved import Predictors, Trained
from bitlaw.records import Measurement
from bitlaw.store import Store, open_store, read_parquet

DEFAULT_KINDS = (
    "zero-shot", "after-nearest", "zero-shot-mean", "after-nearest-mean", "zero-shot-compensated", "after-nearest-compensated",
    "zero-shot-compensated-mean", "after-nearest-compensated-mean", "config", "config-no-tokens", "forest",
)  # fmt: skip
Source = Store | str | os.PathLike[str] | Iterable[Measurement]


def measurements_of(source: Source) -> tuple[list[Measurement], str]:
    """Return the measurements of a store (open, or its path or address), of a .parquet export, or of an iterable, and its name."""
    if isinstance(source, str | os.PathLike):
        path = Path(os.fspath(source))
        if path.suffix == ".parquet":
            return list(read_parquet(path)), path.name
        with open_store(source, create=False) as store:
            return store.read(), Path(store.where).name
    if isinstance(source, Store):
        return source.read(), Path(source.where).name
    return list(source), "measurements"


def rows_of(source: Source, *, need_gptq: bool = True) -> Rows:
    """Return the feature table of a source."""
    return tabulate(collect(measurements_of(source)[0]), need_gptq=need_gptq)


def predictor_train(
    source: Source, *, kinds: Sequence[str] = DEFAULT_KINDS, targets: Sequence[str] | None = None, seed: int = 0
) -> Predictors:
    """Train predictors on measurements: those of `kinds`, each of every target worth a training (or of `targets`).

    Intervals come from families left out in turn, so two families or more are needed. A kind that reads compensated probes is fitted to the models
    that have them. Raises InputError naming what is missing: one family only, no probes, a target that never changes.
    """
    for name in kinds:
        kind_of(name)
    measurements, where = measurements_of(source)
    rows = tabulate(collect(measurements))
    models = []
    known = all(np.isfinite(rows[column]).all() for column in ("tokens", "learning_rate", "peak_learning_rate"))
    for name in kinds:
        if name in MEANS and kinds is DEFAULT_KINDS and not known:
            continue  # nobody asked for what reads them
        mine = rows.take(rows.known(KINDS[name].needs))
        if KINDS[name].needs and kinds is DEFAULT_KINDS and len(np.unique(mine.family)) < 2:
            continue
        if not len(mine):
            raise InputError(
                f"Predictor {name!r} reads {KINDS[name].reads}, which none of the {len(rows.models)} models has. Measure "
                "perturb_compensated probes (the plan `grid`), or leave it out."
            )
        for target in KINDS[name].trained_for if targets is None else targets:
            if target in KINDS[name].targets:
                models.append(train_one(name, mine, target, seed=seed))
    if not models:
        raise InputError(
            f"None of {', '.join(kinds)} predicts {', '.join(targets or ())}. Choose other kinds or targets."
        )
    return Predictors(
        models=tuple(models),
        families=tuple(np.unique(rows.family).tolist()),
        elements=tuple(np.unique(rows.element).tolist()),
        formats=tuple(np.unique(rows.format).tolist()),
        data={
            "source": where,
            "rows": len(rows),
            "models": rows.models,
            "compensated_models": sum(rows.compensations.get(name) is not None for name in rows.models),
            "left_out": dict(rows.left_out),
            "digest": rows.digest,
            "keys": list(rows.keys),
        },
    )


def train_one(name: str, rows: Rows, target: str, *, seed: int = 0) -> Trained:
    """Return one predictor with its intervals and the range of its inputs."""
    state = fit_kind(name, rows, target, seed=seed)
    return Trained(
        kind=name,
        target=target,
        state=state,
        intervals=calibrate(name, rows, target, seed=seed, like=state),
        ranges=ranges_of(range_values(rows, name)),
    )
