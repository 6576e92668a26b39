"""What any predictor must beat: no change, the format's mean, isotonic on the nearest loss, the bare landscape, a scaling law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.config_only import highest_loss
from bitlaw.predictor.curve import Array
from bitlaw.predictor.isotonic import isotonic
from bitlaw.predictor.rows import Rows
from bitlaw.predictor.shift import TARGET_METHOD, at, gain_db, need_curves

LAW = "bitlaw-growth"
LAW_ROWS = 500  # rows at most that the law's eight parameters are fitted to, drawn at random


def nothing(rows: Rows, target: str) -> dict[str, Any]:
    """Return the state of a predictor that learns nothing."""
    return {"method": TARGET_METHOD[target]}


def unchanged(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the reference loss: what the target changes from."""
    return rows["nearest_loss"] if target in ("gptq_change", "gptq_loss") else rows["baseline_loss"]


def fit_format_mean(rows: Rows, target: str) -> dict[str, Any]:
    """Return the mean change of each format."""
    change = rows[f"{TARGET_METHOD[target]}_loss"] - unchanged({}, rows, target)
    return {"mean": {name: float(change[rows.format == name].mean()) for name in sorted(set(rows.format.tolist()))}}


def predict_format_mean(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the reference plus the format's mean change. Raises InputError for a format that was not there."""
    if unknown := sorted(set(rows.format.tolist()) - set(state["mean"])):
        raise InputError(
            f"The mean of format {unknown[0]!r} is unknown: it was not among the {len(state['mean'])} it was fitted to."
        )
    means = np.array([state["mean"][name] for name in rows.format.tolist()], dtype=float)
    return np.asarray(unchanged(state, rows, target) + means, dtype=float)


def fit_isotonic(rows: Rows, target: str) -> dict[str, Any]:
    """Return a non-decreasing function of the loss after nearest; for nearest itself, of the format's noise."""
    x, y = _isotonic_input(rows, target), rows[f"{TARGET_METHOD[target]}_loss"]
    knots, values = isotonic(x, y)
    return {"x": knots.tolist(), "y": values.tolist()}


def predict_isotonic(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the function's value."""
    return np.asarray(np.interp(_isotonic_input(rows, target), state["x"], state["y"]), dtype=float)


def _isotonic_input(rows: Rows, target: str) -> Array:
    return np.negative(rows["gaussian_db"]) if target == "nearest_qid" else rows["nearest_loss"]


def predict_landscape(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the random-direction loss at the format's Gaussian SNR."""
    need_curves(rows)
    return at(rows, rows["gaussian_db"])


def predict_compensated(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the loss of Gaussian noise of the format's size once it is compensated as GPTQ compensates its errors."""
    need_curves(rows)
    return at(rows, rows["gaussian_db"] + gain_db(rows, rows["gaussian_db"]))


def fit_law(rows: Rows, target: str) -> dict[str, Any]:
    """Return our scaling law of QiD (bitlaw-growth) fitted to the method's rows.

    Its ceiling is the highest loss that a training model reached, as for `config`: fitted, it may lie below another model's own loss.
    """
    from bitlaw.fit import Table
    from bitlaw.fit.fitting import solved  # without intervals, which are not asked for: they cost more than the fit

    method = TARGET_METHOD[target]
    ceiling = highest_loss(rows)
    if len(rows) > LAW_ROWS:
        rows = rows.take(np.sort(np.random.default_rng(0).choice(len(rows), LAW_ROWS, replace=False)))
    columns = _law_columns(rows)
    columns["qid"] = rows[f"{method}_loss"] - rows["baseline_loss"]
    columns["qid_se"] = np.nan_to_num(rows[f"{method}_se"])
    known = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    if not known.any():
        raise InputError("The scaling law reads training tokens and learning rate, which are unknown for every row.")
    table = Table(columns={**{name: column[known] for name, column in columns.items()}, "model": rows.model[known]})
    found = solved(LAW, table, fixed={"lnV": ceiling}, starts=3)
    values = found.problem.values(found.solution.point)
    return {"law": LAW, "values": {name: float(values[name]) for name in found.law.names}}


def predict_law(state: Mapping[str, Any], rows: Rows, target: str) -> Array:
    """Return the baseline plus the law's QiD."""
    from bitlaw.laws import load_law

    law = load_law(state["law"])
    qid = law.evaluate({name: np.asarray(value) for name, value in state["values"].items()}, _law_columns(rows))
    return np.asarray(rows["baseline_loss"] + qid, dtype=float)


def _law_columns(rows: Rows) -> dict[str, Array]:
    names = ("parameters", "tokens", "bits", "baseline_loss", "layer_size", "learning_rate", "peak_learning_rate")
    return {**{name: rows[name] for name in names}, "format_error": 10.0 ** (-rows["gaussian_db"] / 10.0)}
