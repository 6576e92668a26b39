"""A predictor that needs no run at all: size, training tokens, learning-rate state and the format.

    loss - baseline = share * (ceiling - baseline) / (1 + exp(z))        z = theta . phi(size, tokens, learning rate, SNR of the format, block)

A sigmoid in dB: flat at high SNR, a plateau at low. Formats that are worth measuring seldom reach the plateau, so it cannot be fitted from
them: `ceiling` is the highest loss, nats per token, that a training model reached in any format or probe (about ln(vocabulary), where a model
knows nothing any more), and `share` is fitted between 0 and 1. No prediction lies above it. Size and tokens a parameter count as at most
half the training models' range beyond it (and at most REACH decades), the learning-rate state as within it: further out the line is
not known. The baseline loss is the model's own (one evaluation), or a law's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlaw.predictor.curve import Array
from bitlaw.predictor.rows import Rows
from bitlaw.predictor.shift import TARGET_METHOD, error_scale, training_columns

RIDGE = 0.3
REACH = 0.5  # decades beyond the training models within which size and tokens a parameter are still extrapolated
LEAST_ROOM = 0.05  # nats between a baseline and the ceiling, where the ceiling lies lower


def fit_config(rows: Rows, target: str, *, training: bool = True) -> dict[str, Any]:
    """Return the state. training: whether tokens and learning-rate state take part."""
    from scipy.optimize import least_squares

    method = TARGET_METHOD[target]
    reach = _reach(rows, training=training)
    phi = _phi(rows, reach, training=training)
    center, spread = phi.mean(axis=0), phi.std(axis=0)
    used = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    design = np.concatenate([np.ones((len(rows), 1)), (phi - center) * used], axis=1)
    qid = rows[f"{method}_loss"] - rows["baseline_loss"]
    scale = error_scale(qid)
    penalty = np.diag(np.sqrt(_ridge(rows, training=training)))[1:]
    ceiling = highest_loss(rows)
    room = _room(ceiling, rows)

    def residuals(point: Array) -> Array:
        return np.concatenate([(room * _share(point[0], design @ point[1:]) - qid) / scale, penalty @ point[1:]])

    start = np.zeros(design.shape[1])
    start[1] = 3.0  # SNR: higher is flatter
    bounds = ([-np.inf] * (len(start) + 1), [0.0, *[np.inf] * len(start)])
    found = least_squares(residuals, [np.log(0.5), *start], bounds=bounds, max_nfev=400)
    return {
        "method": method,
        "training": training,
        "ceiling": ceiling,
        "reach": {name: list(ends) for name, ends in reach.items()},
        "theta": found.x.tolist(),
        "center": center.tolist(),
        "used": used.tolist(),
    }


def predict_config(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the loss of each row, nats per token, [n]."""
    phi = _phi(rows, state["reach"], training=state["training"])
    theta = np.array(state["theta"])
    z = theta[1] + ((phi - np.array(state["center"])) * np.array(state["used"])) @ theta[2:]
    return np.asarray(rows["baseline_loss"] + _room(state["ceiling"], rows) * _share(theta[0], z), dtype=float)


def highest_loss(rows: Rows) -> float:
    """Return the highest loss that a model of these rows reached in a format or, where it was probed, along a random direction, nats per token."""
    reached = [float(np.nanmax(np.concatenate([rows["nearest_loss"], rows["gptq_loss"]])))]
    return max(
        reached + [float(np.max(curve.loss)) for name in rows.models if (curve := rows.curves[name]) is not None]
    )


def _room(ceiling: float, rows: Rows) -> Array:
    return np.maximum(ceiling - rows["baseline_loss"], LEAST_ROOM)


def _share(log_share: float, z: Array) -> Array:
    """Return how much of the room is lost; at large z it falls like exp(-z)."""
    return np.asarray(np.exp(log_share - np.logaddexp(0.0, np.clip(z, -50.0, 200.0))), dtype=float)


def _inputs(rows: Rows, *, training: bool) -> dict[str, Array]:
    """Return what is known of the model, name -> [n]: decades of size and of tokens a parameter, learning rate over its peak."""
    named = {"size": np.log10(rows["parameters"])}
    if training:
        named["tokens"], named["rate"] = training_columns(rows)
    return named


def _reach(rows: Rows, *, training: bool) -> dict[str, tuple[float, float]]:
    """Return name -> the ends between which an input counts: those of the training rows, for size and tokens somewhat beyond."""
    ends = {}
    for name, values in _inputs(rows, training=training).items():
        low, high = float(np.min(values)), float(np.max(values))
        further = 0.0 if name == "rate" else min(REACH, (high - low) / 2.0)
        ends[name] = (low - further, high + further)
    return ends


def _ridge(rows: Rows, *, training: bool) -> Array:
    """Return the ridge of the constant and of each column of `_phi`.

    What differs from model to model is learned from so many examples as there are models, however many rows each has.
    """
    model = RIDGE * len(rows) / len(rows.models)
    return np.array([0.0, *[RIDGE] * 5, *[model] * (6 if training else 2)])


def _phi(rows: Rows, reach: Mapping[str, Any], *, training: bool) -> Array:
    """Return the inputs of z, [n, columns]: five of the format, then those of the model."""
    known = {name: np.clip(values, *reach[name]) for name, values in _inputs(rows, training=training).items()}
    snr, size = rows["gaussian_db"] / 10.0, known["size"]
    block = np.log2(np.maximum(rows["block"], 1.0))
    columns = [snr, snr**2, block, (rows["exponent_bits"] > 0).astype(float), rows["later"], size, size * snr]
    if training:
        tokens = known["tokens"]
        columns += [tokens, tokens * snr, tokens**2, known["rate"]]
    return np.stack(columns, axis=1)
