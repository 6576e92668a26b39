"""How trained is this model? From a measured degradation: the law inverted, as the first paper's training-level meter.

A degradation is small in an undertrained model and large in a fully trained one (arXiv 2411.17691). The law's tokens at
which a model of this size loses what was measured are its *equivalent tokens*; over the tokens it really saw they say
whether it quantizes like a model trained less (ratio below 1) or more (above 1) than those behind the law.

The interval inverts the prediction band of a new measurement, with the measurement's own standard error in quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.predict.answers import Answer, Interval, count, refuse_outside
from bitlaw.predict.crossing import FARTHEST_END, crossing
from bitlaw.predict.predicting import broken, check_level
from bitlaw.predict.sources import Also, resolve
from bitlaw.predict.training import token_interval, value_over_tokens

LEVELS = (0.2, 0.3, 0.4, 0.5)
"""Nats per token: the columns of the paper's Table 1."""

LARGEST_QID = 20.0  # nats; ln(vocabulary) is 7 to 13
SCHEDULE = (
    "the learning rate moves QiD too: it is flat while the rate is high and jumps when it decays (arXiv 2510.06213), so "
    "a checkpoint before the decay looks less trained than its tokens"
)


@dataclass(frozen=True, kw_only=True)
class TrainingLevel(Answer):
    """Equivalent tokens (`value`) of a model that lost `qid` (± `qid_se`) nats per token at `bits`.

    tokens: those it really saw, or None; ratio: equivalent over real, with its interval. likelihood: the share e^-qid of
    a token's likelihood that is left. reading: the level in the paper's words.
    """

    parameters: float
    bits: float
    qid: float
    qid_se: float
    tokens: float | None
    ratio: float | None
    ratio_interval: Interval | None
    likelihood: float
    reading: str


def training_level(
    qid: float,
    parameters: float,
    bits: float,
    *,
    qid_se: float = 0.0,
    tokens: float | None = None,
    law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> TrainingLevel:
    """Return how trained a model is that loses `qid` nats per token at `bits`.

    qid_se: standard error of the measured qid. tokens: training tokens it really saw, if known. law, strict, also: as in
    `predict`. A degradation of 0 or less needs a standard error: its equivalent tokens are 0, with an upper end.
    Raises InputError.
    """
    qid, qid_se = _measured(qid, qid_se)
    parameters = count("parameters", parameters, "non-embedding parameters (N)")
    bits = count("bits", bits, "bits per weight (P)")
    seen = None if tokens is None else count("tokens", tokens, "training tokens (D)")
    check_level(level)
    source = resolve(law, bits, also)
    error = NormalDist().inv_cdf((1 + level) / 2) * qid_se
    equivalent = crossing(value_over_tokens(source, parameters, bits), qid) if qid > 0 else 0.0
    if math.isinf(equivalent):
        raise InputError(
            f"By {source.law.name!r} a model of {parameters:.3g} parameters at {bits:g} bits never loses {qid:g} nats per "
            "token. Is the law for this bit width and this kind of model?"
        )
    asked = {"parameters": parameters, "tokens": max(equivalent, 1.0), "bits": bits}
    outside = source.outside(asked)
    refuse_outside(outside, strict)
    early, late = token_interval(source, parameters, bits, qid, max(equivalent, 1.0), level, error)
    low = 0.0 if math.isinf(early) or equivalent == 0.0 else early
    made_of = source.made_of(asked)
    if qid_se > 0:
        made_of += f"; the standard error {qid_se:g} of the measured QiD in quadrature"
    if math.isinf(late):
        made_of += f"; no upper end: the lower end of the predicted QiD never reaches the measured one (up to {FARTHEST_END:g} tokens)"
    interval = Interval(low=low, high=late, level=level, made_of=made_of)
    ratio = ratio_interval = None
    if seen is not None:
        ratio = equivalent / seen
        ratio_interval = Interval(low=low / seen, high=late / seen, level=level, made_of=made_of)
    return TrainingLevel(
        value=equivalent,
        unit="tokens",
        interval=interval,
        **source.provenance(asked),
        conditions=(SCHEDULE, *broken(qid), *source.conditions),
        parameters=parameters,
        bits=bits,
        qid=qid,
        qid_se=qid_se,
        tokens=seen,
        ratio=ratio,
        ratio_interval=ratio_interval,
        likelihood=math.exp(-qid),
        reading=reading(qid, error),
    )


def reading(qid: float, error: float = 0.0) -> str:
    """Return the training level of a degradation in the paper's words; error: half-width of the measured value."""
    words = _words(qid)
    ends = {_words(qid - error), _words(qid + error)} - {words}
    return words + (f"; within its error also: {' or '.join(sorted(ends))}" if ends else "")


def _words(qid: float) -> str:
    if qid < LEVELS[0]:
        return f"undertrained (QiD below {LEVELS[0]:g}, the paper's lowest level)"
    if qid >= LEVELS[-1]:
        return f"fully trained (QiD at or above {LEVELS[-1]:g}, the paper's highest level)"
    low, high = next((a, b) for a, b in pairwise(LEVELS) if a <= qid < b)
    return f"between the paper's levels {low:g} and {high:g}"


def _measured(qid: float, qid_se: float) -> tuple[float, float]:
    given = [value.item() if hasattr(value, "item") else value for value in (qid, qid_se)]
    for name, value in zip(("qid", "qid_se"), given):
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"{name}={value} is not a finite number of nats per token, for example 0.2.")
    measured, error = (float(value) for value in given)
    if error < 0:
        raise InputError(f"qid_se={error:g} is negative. Give the standard error of qid, or leave it out.")
    if measured > LARGEST_QID:
        raise InputError(f"qid={measured:g} is above ln(vocabulary) of any model: give nats per token, not percent.")
    if measured <= 0 and error == 0.0:
        raise InputError(
            f"qid={measured:g} is not above 0: no law has such a degradation. Give qid_se too, for an upper end."
        )
    return measured, error
