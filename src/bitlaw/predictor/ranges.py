"""Where the training rows of a predictor lie: its inputs' ranges, and how far outside them another model is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitlaw.predictor.curve import Array
from bitlaw.predictor.kinds import KINDS
from bitlaw.predictor.rows import Rows

ALWAYS = ("parameters", "baseline_loss")
RANGED: Mapping[str, str] = {
    "parameters": "quantized parameters",
    "baseline_loss": "loss before quantization, nats",
    "tokens_per_parameter": "training tokens a parameter",
    "lr_state": "learning rate over its peak",
    "sqnr_db": "SQNR of nearest, dB",
    "nearest_loss": "loss after nearest, nats",
    "slope": "slope at nearest, nats per dB",
    "gaussian_db": "the format's SNR, dB",
    "gain_db": "worth of compensation, dB",
    "knee_db": "SNR of the landscape's half height, dB",
    "rise": "height of the landscape, nats",
}
"""Inputs whose range is checked, in words."""
DECADES = ("parameters", "tokens_per_parameter")
NARROW: Mapping[str, float] = {
    "parameters": 0.3, "tokens_per_parameter": 0.3, "baseline_loss": 0.3, "lr_state": 0.3, "knee_db": 1.0, "rise": 0.3,
}  # fmt: skip
"""Inputs that are a model's, and the least width that their range counts as: decades, nats, dB. The others are a format's too, and the
predicted degradation stands for them."""
Ranges = Mapping[str, tuple[float, float]]


def range_values(rows: Rows, kind: str) -> dict[str, Array]:
    """Return the values whose range a kind of predictor checks, name -> [n]."""
    reads = KINDS[kind].reads
    values = {name: rows[name] for name in ALWAYS}
    if "config" in reads or "tokens" in reads or kind.endswith("-training"):
        values |= {"tokens_per_parameter": rows["tokens"] / rows["parameters"], "lr_state": rows["lr_state"]}
        if kind == "config-no-tokens":
            values = {name: rows[name] for name in ALWAYS}
    if "nearest" in reads:
        values |= {name: rows[name] for name in ("sqnr_db", "nearest_loss")}
        if "landscape" not in reads:
            values["slope"] = rows["slope"]
    else:
        values["gaussian_db"] = rows["gaussian_db"]
    values |= {name: rows[name] for name in KINDS[kind].needs}
    if "landscape" in reads:
        curves = {name: curve for name, curve in rows.curves.items() if curve is not None}
        for column in ("knee_db", "rise"):
            each = {name: getattr(curve, column) for name, curve in curves.items()}
            values[column] = np.array([each.get(name, np.nan) for name in rows.model.tolist()])
    return values


def ranges_of(values: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of each input that is known in all rows."""
    return {k: (float(np.min(v)), float(np.max(v))) for k, v in values.items() if np.all(np.isfinite(v))}


def distance(ranges: Ranges, values: Mapping[str, Array]) -> Array:
    """Return how far each row's model lies outside the ranges, in widths of the range, of the input that is furthest out, [n].

    Sizes and tokens a parameter count in decades. An input that is unknown counts as inside.
    """
    count = len(next(iter(values.values())))
    found = np.zeros(count)
    for name in NARROW:
        if name in ranges and name in values:
            scaled = np.log10 if name in DECADES else np.asarray
            low, high = scaled(np.array(ranges[name]))
            at = scaled(np.asarray(values[name], dtype=float))
            found = np.fmax(found, np.maximum(low - at, at - high) / max(high - low, NARROW[name]))
    return found
