"""A predictor that needs no run at all: size, training tokens, learning-rate state and the format.

    loss - baseline = rise / (1 + exp(z))        z = theta . phi(size, tokens, learning rate, SNR of the format, block)

A sigmoid in dB: flat at high SNR, a plateau at low. `rise` is fitted too. The baseline loss is the model's own (one
evaluation), or a law's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlaw.predictor.curve import Array
from bitlaw.predictor.rows import Rows
from bitlaw.predictor.shift import TARGET_METHOD, error_scale, training_columns

RIDGE = 0.3


def fit_config(rows: Rows, target: str, *, training: bool = True) -> dict[str, Any]:
    """Return the state. training: whether tokens and learning-rate state take part."""
    from scipy.optimize import least_squares

    method = TARGET_METHOD[target]
    phi = _phi(rows, training=training)
    center, spread = phi.mean(axis=0), phi.std(axis=0)
    used = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    design = np.concatenate([np.ones((len(rows), 1)), (phi - center) * used], axis=1)
    qid = rows[f"{method}_loss"] - rows["baseline_loss"]
    scale = error_scale(qid)
    penalty = np.sqrt(RIDGE) * np.eye(design.shape[1])[1:]

    def residuals(point: Array) -> Array:
        return np.concatenate([(_value(point[0], design @ point[1:]) - qid) / scale, penalty @ point[1:]])

    top = np.log(max(float(np.max(qid)), 1e-3))
    start = np.zeros(design.shape[1])
    start[1] = 3.0  # SNR: higher is flatter
    found = least_squares(residuals, [top, *start], max_nfev=400)
    return {
        "method": method,
        "training": training,
        "theta": found.x.tolist(),
        "center": center.tolist(),
        "used": used.tolist(),
    }


def predict_config(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the loss of each row, nats per token, [n]."""
    phi = _phi(rows, training=state["training"])
    theta = np.array(state["theta"])
    z = theta[1] + ((phi - np.array(state["center"])) * np.array(state["used"])) @ theta[2:]
    return np.asarray(rows["baseline_loss"] + _value(theta[0], z), dtype=float)


def _value(log_rise: float, z: Array) -> Array:
    """Return the excess; at large z it falls like exp(-z)."""
    return np.asarray(np.exp(log_rise - np.logaddexp(0.0, np.clip(z, -50.0, 200.0))), dtype=float)


def _phi(rows: Rows, *, training: bool) -> Array:
    snr, size = rows["gaussian_db"] / 10.0, np.log10(rows["parameters"])
    block = np.log2(np.maximum(rows["block"], 1.0))
    columns = [snr, snr**2, size, size * snr, block, (rows["exponent_bits"] > 0).astype(float), rows["later"]]
    if training:
        tokens, rate = training_columns(rows)
        columns += [tokens, tokens * snr, tokens**2, rate]
    return np.stack(columns, axis=1)
