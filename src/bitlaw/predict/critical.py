"""When does more training make the quantized model worse? Where loss16(D) + QiD(D) is least.

The 16-bit loss falls with training tokens D, ever more slowly; the degradation grows. Their sum, the quantized model's
loss, is least at the critical tokens. It is found numerically for any pair of laws. For a loss with a term B / D^b and a
degradation proportional to D^g the derivative vanishes at

    D = (b B / (g q))^(1 / (g + b)),   q = QiD(D) / D^g                            (Kumar et al. 2411.04330, section 3)

which is given beside the numeric value where both laws have that form.

The valley is flat, so the answer also says over which tokens the loss stays within 0.01 nats of the least; a dip
that is not followed by a rise of as much is no turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import Answer, Interval, count, outside_of, refuse_outside
from bitlaw.predict.crossing import MOST_TOKENS, columns_of, crossing, turning_point
from bitlaw.predict.losses import LossSource, resolve_loss
from bitlaw.predict.predicting import check_level
from bitlaw.predict.sources import Also, Source, resolve

FLAT = 0.01  # nats per token


@dataclass(frozen=True, kw_only=True)
class CriticalTokens(Answer):
    """Tokens (`value`) past which more training raises the loss of a model of `parameters` quantized to `bits`.

    The interval's ends are where the sum is least with the upper and with the lower end of QiD. baseline_loss, qid and
    quantized_loss: nats per token at the critical tokens. flat_from, flat_to: tokens between which the quantized loss is
    within `flat_nats` of the least (an end that is never reached is infinite). closed_form: the same by the formula,
    where both laws have its form. ratio: critical tokens over `tokens`, where those were given.
    """

    parameters: float
    bits: float
    baseline_loss: float
    qid: float
    quantized_loss: float
    flat_nats: float
    flat_from: float
    flat_to: float
    closed_form: float | None
    loss_source: str
    tokens: float | None
    ratio: float | None


def critical_tokens(
    parameters: float,
    bits: float,
    *,
    tokens: float | None = None,
    law: str | Law | Fit = "auto",
    loss_law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> CriticalTokens:
    """Return the training tokens past which more training makes the quantized model worse.

    tokens: those of a model of yours, to compare with. law, loss_law, strict, also: as in `predict`; beside a Fit give
    loss_law a Fit of a law of the 16-bit loss to the same text. Raises InputError, also where the sum never turns.
    """
    parameters = count("parameters", parameters, "non-embedding parameters (N)")
    bits = count("bits", bits, "bits per weight (P)")
    seen = None if tokens is None else count("tokens", tokens, "training tokens (D)")
    check_level(level)
    source = resolve(law, bits, also)
    losses, why = resolve_loss(loss_law, source)
    if losses is None:
        raise InputError(f"Critical tokens need a law of the 16-bit loss: {why}.")
    found = _turn(source, losses, parameters, bits)
    if math.isinf(found):
        raise InputError(
            f"By {source.law.name!r} and {losses.name!r} a model of {parameters:.3g} parameters at {bits:g} bits never "
            f"gets worse with training (up to {MOST_TOKENS:g} tokens)."
        )
    asked = {"parameters": parameters, "tokens": found, "bits": bits}
    outside = outside_of(_narrower(source, losses), asked)
    refuse_outside(outside, strict)
    early, late = (_turn(source, losses, parameters, bits, end, level) for end in (1, 0))
    point = columns_of(parameters, np.array([found]), bits)
    baseline, qid = float(losses.value(point)[0]), float(source.value(point)[0])
    least = baseline + qid
    flat_from, flat_to = _flat(source, losses, parameters, bits, found, least)
    made_of = f"where the sum turns with the upper and the lower end of QiD ({source.made_of(asked)}); the law of the 16-bit loss is taken as it is"
    if math.isinf(late):
        made_of += "; no upper end: with the lower end of QiD the sum never turns"
    return CriticalTokens(
        value=found,
        unit="tokens",
        interval=Interval(low=min(early, found), high=max(late, found), level=level, made_of=made_of),
        **source.provenance(asked, outside),
        conditions=(
            *source.conditions,
            *losses.conditions,
            "every token count is a finished training run of that length, not a stop in the middle of one",
        ),
        parameters=parameters,
        bits=bits,
        baseline_loss=baseline,
        qid=qid,
        quantized_loss=least,
        flat_nats=FLAT,
        flat_from=flat_from,
        flat_to=flat_to,
        closed_form=_closed_form(source, losses, parameters, bits),
        loss_source=losses.words(asked),
        tokens=seen,
        ratio=None if seen is None else found / seen,
    )


def _turn(
    source: Source, losses: LossSource, parameters: float, bits: float, end: int | None = None, level: float = 0.9
) -> float:
    """Return where loss16 + QiD first turns; end: 0 or 1 takes the lower or upper end of QiD instead of its value."""

    def total(tokens: Array) -> Array:
        columns = columns_of(parameters, tokens, bits)
        qid = source.value(columns) if end is None else source.band(columns, level)[end]
        return losses.value(columns) + qid

    return turning_point(total, FLAT)


def _flat(
    source: Source, losses: LossSource, parameters: float, bits: float, found: float, least: float
) -> tuple[float, float]:
    def total(tokens: Array) -> Array:
        columns = columns_of(parameters, tokens, bits)
        return losses.value(columns) + source.value(columns)

    return (
        crossing(total, least + FLAT, start=found, stop=1.0),
        crossing(total, least + FLAT, start=found),
    )


def _narrower(source: Source, losses: LossSource) -> dict[str, tuple[float, float]]:
    """Return the ranges on which both laws were fitted."""
    ranges = dict(source.fitted)
    for name, (low, high) in losses.source.fitted.items():
        ours = ranges.get(name, (low, high))
        ranges[name] = (max(low, ours[0]), min(high, ours[1])) if max(low, ours[0]) <= min(high, ours[1]) else ours
    return ranges


def _closed_form(source: Source, losses: LossSource, parameters: float, bits: float) -> float | None:
    """Return the closed form if loss16 falls like B/D^b and QiD grows like D^g, judged on the curves themselves."""
    tokens = np.array([1e9, 2e9, 4e9, 8e9])
    columns = columns_of(parameters, tokens, bits)
    qid = source.value(columns)
    growth = np.diff(np.log(qid)) / np.log(2)
    drops = -np.diff(losses.value(columns))  # B D^-b (1 - 2^-b) for each doubling
    decline = -np.diff(np.log(drops)) / np.log(2)
    if np.ptp(growth) > 1e-6 or np.ptp(decline) > 1e-6 or growth[0] <= 0 or decline[0] <= 0:
        return None
    g, b = float(growth[0]), float(decline[0])
    scale = float(drops[0]) * tokens[0] ** b / (1 - 2**-b)
    return float((b * scale / (g * float(qid[0]) / tokens[0] ** g)) ** (1 / (g + b)))
