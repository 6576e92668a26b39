"""What share of nearest's damage GPTQ leaves, from inputs without a scale: a forest for one, and the mean of it and the landscape.

    loss = baseline + share * (nearest loss - baseline)

The forest minimises errors of the loss, each over 20 % of the typical damage + 10 % of its own, so rows where rounding costs nothing do not
count. A share lies within what was seen however large the damage, so unlike a forest of losses it may be asked about larger ones. `compensated`: the forest
reads what compensation is worth in this network too (compensation.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitlaw.predictor.curve import Array
from bitlaw.predictor.growing import grow_forest
from bitlaw.predictor.rows import Rows
from bitlaw.predictor.shift import error_scale, fit_shift, gain_db, nearest_db, need_curves, predict_shift, slope_at
from bitlaw.predictor.trees import Trees

NAMES = (
    "sqnr_db", "bits", "exponent_bits", "block", "later", "nearest_shift", "steepness", "steepness_along", "place", "parameters",
)  # fmt: skip
GAIN = "gain_nearest_db"
"""What compensation is worth at the SNR that the nearest loss amounts to, dB."""
LEAST = 1e-4  # nats: damage below it counts as this much
SHARES = (-0.5, 3.0)


def fit_ratio(rows: Rows, *, seed: int = 0, compensated: bool = False) -> dict[str, Any]:
    """Return the forest of shares."""
    names = (*NAMES, GAIN) if compensated else NAMES
    damage = _damage(rows)
    share = np.clip((rows["gptq_loss"] - rows["baseline_loss"]) / damage, *SHARES)
    weight = (damage / error_scale(damage)) ** 2
    return {"trees": grow_forest(_inputs(rows, names), share, names, seed=seed, weight=weight).to_dict()}


def predict_ratio(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the loss of each row, nats per token, [n]."""
    trees = Trees.from_dict(state["trees"])
    share = trees.predict(_inputs(rows, trees.names))
    return np.asarray(rows["baseline_loss"] + share * _damage(rows), dtype=float)


def fit_blend(rows: Rows, target: str, *, seed: int = 0, compensated: bool = False) -> dict[str, Any]:
    """Return both: the forest of shares, and the landscape with a gain in dB."""
    gain = fit_shift(rows, target, after_nearest=True, compensated=compensated)
    return {"share": fit_ratio(rows, seed=seed, compensated=compensated), "gain": gain}


def predict_blend(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the mean of the two losses, [n]."""
    return (predict_ratio(state["share"], rows) + predict_shift(state["gain"], rows)) / 2.0


def _damage(rows: Rows) -> Array:
    return np.maximum(rows["nearest_loss"] - rows["baseline_loss"], LEAST)


def _inputs(rows: Rows, names: Sequence[str]) -> Array:
    """Return what a share may depend on, [n, names]; steepness: how much a dB changes the damage, as a share of it."""
    curves = need_curves(rows)
    start = nearest_db(rows)
    damage = _damage(rows)
    knee = np.array([curves[name].knee_db for name in rows.model.tolist()])
    columns = {
        "nearest_shift": start - rows["sqnr_db"],
        "steepness": np.clip(-slope_at(rows, start) / damage, 0.0, 1.0),
        "steepness_along": np.clip(-rows["slope"] / damage, 0.0, 1.0),
        "place": start - knee,
        "parameters": np.log10(rows["parameters"]),
    }
    if GAIN in names:
        columns[GAIN] = gain_db(rows, start)
    return np.stack([columns[name] if name in columns else rows[name] for name in names], axis=1)
