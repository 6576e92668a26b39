"""Why a forest says what it says: what each input is worth, and how one prediction comes about.

impurity        the share of the training target's variance that splits on an input removed; sums to 1
permutation     how much R2 on held-out families falls when the input is shuffled among rows
waterfall       base value + contributions of the inputs = prediction, exactly (paths through the trees)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.kinds import KINDS, fit_kind
from bitlaw.predictor.metrics import r2
from bitlaw.predictor.rows import Rows
from bitlaw.predictor.trees import Trees

REPEATS = 10


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One input: mean and standard deviation of its impurity share over trees, and of the fall of R2 over shuffles."""

    name: str
    impurity: float
    impurity_sd: float
    permutation: float
    permutation_sd: float


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """One prediction taken apart: base + sum of parts = prediction, nats per token. parts: input -> what it adds."""

    model: str
    format: str
    target: str
    base: float
    parts: Mapping[str, float]
    prediction: float
    measured: float
    values: Mapping[str, float]


def importances(rows: Rows, target: str = "gptq_change", *, kind: str = "forest", seed: int = 0) -> list[Importance]:
    """Return every input's importance, most permuted first: impurity of the forest on all rows, permutation left-family-out."""
    whole = forest_of(fit_kind(kind, rows, target, seed=seed), kind)
    generator = np.random.default_rng(seed)
    drops = {name: np.zeros(REPEATS) for name in whole.names}
    measured = rows.target(target)
    parts = []
    for family in np.unique(rows.family):
        held = rows.family == family
        parts.append((held, forest_of(fit_kind(kind, rows.take(~held), target, seed=seed), kind)))
    inputs = rows.matrix(whole.names)
    predicted = np.empty(len(rows))
    for held, trees in parts:
        predicted[held] = trees.predict(inputs[held])
    start = r2(measured, predicted)
    for column, name in enumerate(whole.names):
        for repeat in range(REPEATS):
            shuffled = inputs.copy()
            shuffled[:, column] = generator.permutation(shuffled[:, column])
            for held, trees in parts:
                predicted[held] = trees.predict(shuffled[held])
            drops[name][repeat] = start - r2(measured, predicted)
    found = [
        Importance(
            name=name,
            impurity=whole.impurity[name][0],
            impurity_sd=whole.impurity[name][1],
            permutation=float(drops[name].mean()),
            permutation_sd=float(drops[name].std(ddof=1)),
        )
        for name in whole.names
    ]
    return sorted(found, key=lambda one: -one.permutation)


def waterfall(state: Mapping[str, Any], rows: Rows, index: int, target: str, *, kind: str = "forest") -> Waterfall:
    """Return one row's prediction by a forest (a state fitted to the same target) taken apart."""
    trees = forest_of(state, kind)
    inputs = rows.matrix(trees.names)[index]
    base, parts = trees.contributions(inputs)
    return Waterfall(
        model=str(rows.model[index]),
        format=str(rows.format[index]),
        target=target,
        base=base,
        parts=dict(sorted(parts.items(), key=lambda pair: -abs(pair[1]))),
        prediction=float(trees.predict(inputs[None])[0]),
        measured=float(rows.target(target)[index]),
        values=dict(zip(trees.names, inputs.tolist())),
    )


def forest_of(state: Mapping[str, Any], kind: str) -> Trees:
    """Return the trees of a state. Raises InputError for a kind that has none."""
    if "trees" not in state:
        trees = [name for name, one in KINDS.items() if one.by_target and not one.baseline]
        raise InputError(f"Predictor {kind!r} has no trees to take apart. Choose one of {', '.join(trees)}, boosting.")
    return Trees.from_dict(state["trees"])
