"""Forests and boosted trees, grown by scikit-learn (extra `predictor`) and kept as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Array
from bitlaw.predictor.trees import LEAF, Trees

TREES, DEPTH = 120, 8  # arXiv 2410.12119, section 3
BOOSTING_TREES, BOOSTING_DEPTH, BOOSTING_RATE = 300, 3, 0.05


def _ensemble() -> Any:
    try:
        import sklearn.ensemble as ensemble
    except ImportError:
        raise InputError(
            "Training a forest needs scikit-learn. Install it with `pip install 'bitlaw[predictor]'`; predicting with a saved "
            "predictor does not need it."
        ) from None
    return ensemble


def grow_forest(
    inputs: Array, target: Array, names: Sequence[str], *, seed: int = 0, weight: Array | None = None
) -> Trees:
    """Return a random forest of 120 trees of depth 8. inputs [n, names], target [n], weight of each row [n]."""
    _check(inputs, target, names)
    model = _ensemble().RandomForestRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=seed)
    model.fit(inputs, target, sample_weight=weight)
    return _plain([tree.tree_ for tree in model.estimators_], names, 0.0, 1.0 / TREES)


def grow_boosting(inputs: Array, target: Array, names: Sequence[str], *, seed: int = 0) -> Trees:
    """Return 300 boosted trees of depth 3, rate 0.05, each on half of the rows."""
    _check(inputs, target, names)
    model = _ensemble().GradientBoostingRegressor(
        n_estimators=BOOSTING_TREES,
        max_depth=BOOSTING_DEPTH,
        learning_rate=BOOSTING_RATE,
        subsample=0.5,
        random_state=seed,
    )
    model.fit(inputs, target)
    trees = [tree.tree_ for tree in model.estimators_[:, 0]]
    return _plain(trees, names, float(np.ravel(model.init_.constant_)[0]), BOOSTING_RATE)


def _check(inputs: Array, target: Array, names: Sequence[str]) -> None:
    for column, name in zip(inputs.T, names):
        if not np.all(np.isfinite(column)):
            raise InputError(
                f"Input {name!r} is unknown in {int((~np.isfinite(column)).sum())} of {len(column)} rows. Leave that input out, "
                "or those rows."
            )
    if len(target) < 2 or float(np.ptp(target)) == 0.0:
        raise InputError(
            f"The target is the same in all {len(target)} rows: there is nothing to learn. Measure formats of several widths."
        )


def _plain(trees: Sequence[Any], names: Sequence[str], base: float, scale: float) -> Trees:
    starts = np.cumsum([0, *(t.node_count for t in trees)])
    shares = np.array([t.compute_feature_importances(normalize=True) for t in trees])
    spread = shares.std(axis=0)

    def joined(name: str) -> Any:
        return np.concatenate([getattr(t, name) for t in trees])

    inner = joined("children_left") != -1
    offsets = np.concatenate([np.full(t.node_count, start) for t, start in zip(trees, starts)])
    return Trees(
        names=tuple(names),
        roots=starts[:-1].astype(np.int64),
        feature=np.where(inner, joined("feature"), LEAF).astype(np.int64),
        threshold=np.where(inner, joined("threshold"), 0.0),
        left=np.where(inner, joined("children_left") + offsets, 0).astype(np.int64),
        right=np.where(inner, joined("children_right") + offsets, 0).astype(np.int64),
        value=np.concatenate([t.value[:, 0, 0] for t in trees]).astype(float),
        base=base,
        scale=scale,
        impurity={name: (float(m), float(s)) for name, m, s in zip(names, shares.mean(axis=0), spread)},
    )
