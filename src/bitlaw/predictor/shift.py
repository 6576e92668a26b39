"""Predictions through the landscape: a change of the weights acts like random noise of another, effective, SNR.

    loss = curve(s + shift)        curve: the model's own landscape along random directions
    shift = theta . phi            dB: how much flatter a method's direction is than random ones

The curve carries what differs between models; the shift is what is learned, and it is alike in all of them. Two variants:

    zero-shot       s = the format's SNR on Gaussian weights; nothing is quantized
    after-nearest   s = the SNR along random directions that costs what nearest was measured to cost; for GPTQ only

With compensated probes (`compensated`) s for GPTQ is what random noise of that SNR is worth once it is compensated as GPTQ compensates its errors in
this very network (compensation.py): the shift has only left to learn in what rounding errors differ from noise.

theta minimises squared errors of the loss, each over 20 % of the typical excess + 10 % of its own, with a ridge on all but the constant. A
shift is kept within those of the training rows, 1 dB more at most: few families leave its slopes uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Array, Curve
from bitlaw.predictor.rows import Rows

RIDGE = 1.0  # a coefficient of 1 dB costs as much as a row that is off by its scale
SLACK_DB = 1.0  # how far a shift may lie beyond those of the training rows
FURTHER = ("nothing", "rise", "excess")
"""What of the model's curve a shift may read: nothing; the logarithm of its height; that of its excess at the format's SNR."""
CHOOSING_ROWS = 600  # rows at most among which to choose
WORTH_IT = 0.9  # a further input must lower the squared error by a tenth
TYPICAL, RELATIVE = 0.2, 0.1  # scale of errors: shares of the typical excess, and of a row's own
NOISE = 2.0  # standard errors at which the nearest loss and its SNR say equally much
LOWEST_DB, HIGHEST_DB = -5.0, 45.0
TARGET_METHOD = {"gptq_change": "gptq", "gptq_loss": "gptq", "gptq_qid": "gptq", "nearest_qid": "nearest"}


def fit_shift(
    rows: Rows,
    target: str,
    *,
    after_nearest: bool,
    training: bool = False,
    compensated: bool = False,
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the state of a shift predictor of a target of `rows.TARGETS`. Raises InputError without landscapes.

    What of the model's own curve a zero-shot shift may read (FURTHER) is chosen among the training rows: what predicts left-out families
    best. like: a state whose choice is taken. After nearest nothing is: its loss says how harmful rounding is in this network, and choosing
    among few families did harm.
    """
    need_curves(rows)
    if compensated:  # what is missing is said of all rows, not of those that are left where a family is out
        gain_db(rows, rows["gaussian_db"])
    named = {"method": TARGET_METHOD[target], "after_nearest": after_nearest, "training": training}
    named["compensated"] = compensated
    further = str(like["further"]) if like else FURTHER[0] if after_nearest else _choose(rows, named)
    return _fit(rows, {**named, "further": further}, starts=(0.0, 2.0, 4.0))


def _choose(rows: Rows, named: Mapping[str, Any]) -> str:
    """Return the entry of FURTHER with the least squared error on families left out; the first with fewer than three."""
    families = np.unique(rows.family)
    if len(families) < 3:
        return FURTHER[0]
    few = rows.take(np.arange(0, len(rows), -(-len(rows) // CHOOSING_ROWS)))
    errors = {}
    for further in FURTHER:
        missed = []
        for family in families:
            held = few.family == family
            if held.any() and not held.all():
                state = _fit(few.take(~held), {**named, "further": further}, starts=(1.0,))
                new = few.take(held)
                missed.append(predict_shift(state, new) - new[f"{named['method']}_loss"])
        errors[further] = float(np.sum(np.concatenate(missed) ** 2))
    best = min(errors, key=lambda name: errors[name])
    return best if errors[best] < WORTH_IT * errors[FURTHER[0]] else FURTHER[0]


def _fit(rows: Rows, named: Mapping[str, Any], *, starts: tuple[float, ...]) -> dict[str, Any]:
    from scipy.optimize import least_squares

    plain, start = _starts(rows, named)
    phi = _phi(rows, plain, start, named)
    center, spread = phi.mean(axis=0), phi.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # an input without variation takes no part
    design = np.concatenate([np.ones((len(rows), 1)), (phi - center) / spread], axis=1)
    loss = rows[f"{named['method']}_loss"]
    scale = error_scale(loss - rows["baseline_loss"])
    penalty = np.sqrt(RIDGE) * np.eye(design.shape[1])[1:]

    def residuals(theta: Array) -> Array:
        missed = (at(rows, start + design @ theta) - loss) / scale
        return np.concatenate([missed, penalty @ theta])

    def slopes(theta: Array) -> Array:
        steep = slope_at(rows, start + design @ theta) / scale
        return np.concatenate([steep[:, None] * design, penalty])

    best = None
    for constant in starts:
        found = least_squares(residuals, [constant, *np.zeros(design.shape[1] - 1)], jac=slopes, max_nfev=60)
        best = found if best is None or found.cost < best.cost else best
    assert best is not None
    return {
        **named,
        "theta": best.x.tolist(),
        "shifts": np.quantile(design @ best.x, [0.01, 0.99]).tolist(),
        "center": center.tolist(),
        "spread": np.where(np.isfinite(spread), spread, 0.0).tolist(),
    }


def error_scale(excess: Array) -> Array:
    """Return how far off a prediction of each excess may be to count as one unit, nats, [n]: 20 % of the root mean square + 10 %."""
    typical = float(np.sqrt(np.mean(excess**2)))
    return np.asarray(max(TYPICAL * typical, 1e-6) + RELATIVE * np.maximum(excess, 0.0), dtype=float)


def predict_shift(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the loss of each row, nats per token, [n]."""
    need_curves(rows)
    return at(rows, effective_db(state, rows))


def effective_db(state: Mapping[str, Any], rows: Rows) -> Array:
    """Return the effective SNR of each row, dB, [n]."""
    plain, start = _starts(rows, state)
    phi = _phi(rows, plain, start, state)
    theta, spread = np.array(state["theta"]), np.array(state["spread"])
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    shift = theta[0] + ((phi - np.array(state["center"])) * inverse) @ theta[1:]
    low, high = state["shifts"]
    return np.asarray(start + np.clip(shift, low - SLACK_DB, high + SLACK_DB), dtype=float)


def need_curves(rows: Rows) -> Mapping[str, Curve]:
    """Return model -> landscape. Raises InputError, naming the models, unless every row has one."""
    found = {name: curve for name, curve in rows.curves.items() if curve is not None}
    missing = [name for name in rows.models if name not in found]
    if missing:
        raise InputError(
            f"No landscape along random directions for {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}. Measure "
            "perturb_random probes (`bitlaw probe`), or use a predictor that needs none."
        )
    return found


def at(rows: Rows, snr_db: Array) -> Array:
    """Return the loss of each row's own landscape at an SNR of its own, [n]."""
    return _each(rows, lambda curve, s: curve.at(s), snr_db)


def slope_at(rows: Rows, snr_db: Array) -> Array:
    """Return the slope of each row's own landscape, nats per dB, [n]."""
    return _each(rows, lambda curve, s: curve.slope(s), snr_db)


def _each(rows: Rows, function: Callable[[Curve, Array], Array], values: Array) -> Array:
    curves = need_curves(rows)
    found = np.full(len(rows), np.nan)
    for name in rows.models:
        mine = rows.model == name
        found[mine] = function(curves[name], values[mine])
    return found


def _starts(rows: Rows, named: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return the SNR of rounding to nearest, and that which the shift is added to: with what compensation is worth; dB, [n] each."""
    plain = nearest_db(rows) if named["after_nearest"] else rows["gaussian_db"]
    return plain, plain + gain_db(rows, plain) if named.get("compensated") else plain


def gain_db(rows: Rows, snr_db: Array) -> Array:
    """Return what compensation is worth at each row's block and an SNR of its own, dB, [n].

    Raises InputError, naming the models, where it was not probed.
    """
    found = np.full(len(rows), np.nan)
    for name in rows.models:
        mine = rows.model == name
        if (compensation := rows.compensations.get(name)) is not None:
            found[mine] = compensation.gain_db(rows["block"][mine], snr_db[mine])
    if missing := sorted(set(rows.model[np.isnan(found)].tolist())):
        raise InputError(
            f"What compensation is worth is unknown for {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}. Measure "
            "perturb_compensated probes beside perturb_random (`bitlaw probe` with a calibration text), or use a predictor without them."
        )
    return found


def nearest_db(rows: Rows) -> Array:
    """Return the effective SNR of rounding to nearest, from its measured loss, dB, [n]."""
    measured = _each(rows, lambda curve, loss: curve.snr_of(loss), rows["nearest_loss"])
    nearby = np.clip(measured, rows["sqnr_db"] - 6.0, rows["sqnr_db"] + 6.0)
    # where rounding costs little beside its error the inverse is noise: then the SNR it has counts, by what is known
    excess = np.maximum(rows["nearest_loss"] - rows["baseline_loss"], 1e-6)
    known = 1.0 / (1.0 + (NOISE * np.nan_to_num(rows["nearest_se"]) / excess) ** 2)
    start = known * nearby + (1.0 - known) * rows["sqnr_db"]
    return np.asarray(np.clip(start, LOWEST_DB, HIGHEST_DB), dtype=float)


def _phi(rows: Rows, plain: Array, start: Array, named: Mapping[str, Any]) -> Array:
    """Return what the shift may depend on, [n, inputs]: the format's SNR, block and kind of element, GPTQ's reach in a row.

    Of the model no more than one entry of FURTHER, after nearest how harmful rounding was beside random noise, and what compensation is worth: what
    differs from model to model is learned from as many examples as there are families.
    """
    snr = rows["sqnr_db"] if named["after_nearest"] else rows["gaussian_db"]
    columns = [
        snr / 10.0,
        (snr / 10.0) ** 2,
        np.log2(np.maximum(rows["block"], 1.0)),
        (rows["exponent_bits"] > 0).astype(float),
        rows["later"],
    ]
    if named["after_nearest"]:
        columns.append(plain - rows["sqnr_db"])
    if named.get("compensated"):
        columns.append(start - plain)
    if named["further"] == "rise":
        columns.append(np.log(_each(rows, lambda curve, values: np.full(len(values), curve.rise), start)))
    elif named["further"] == "excess":
        columns.append(np.log(np.maximum(at(rows, start) - rows["baseline_loss"], 1e-9)))
    if named["training"]:
        columns += list(training_columns(rows))
    return np.stack(columns, axis=1)


def training_columns(rows: Rows) -> tuple[Array, Array]:
    """Return log10 of training tokens a parameter, and learning rate over its peak (0 where unknown), [n] each.

    Raises InputError, naming the models, where tokens are unknown.
    """
    tokens = np.log10(rows["tokens"] / rows["parameters"])
    if unknown := sorted(set(rows.model[~np.isfinite(tokens)].tolist())):
        raise InputError(
            f"Training tokens are unknown for {', '.join(unknown[:4])}. Use a predictor without them, or say the tokens in suite.json."
        )
    return tokens, np.where(np.isfinite(rows["lr_state"]), rows["lr_state"], 0.0)
