"""How many training tokens until quantization hurts this much? The law inverted (Table 1 of arXiv 2411.17691)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, law_names, load_law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import Answer, Interval, count, refuse_outside
from bitlaw.predict.crossing import FARTHEST_END, Curve, columns_of, crossing
from bitlaw.predict.predicting import LawValue, check_level
from bitlaw.predict.sources import Also, Source, answers_at, published_source, resolve


@dataclass(frozen=True, kw_only=True)
class TrainingTokens(Answer):
    """Tokens (`value`) after which a model of `parameters` loses `qid` nats per token at `bits`.

    The interval's ends are where the upper and the lower end of the predicted QiD reach `qid`; an end that is never
    reached below 1e21 tokens is infinite. beside: what the other laws say.
    """

    parameters: float
    bits: float
    qid: float
    beside: tuple[LawValue, ...]


def tokens_to_train(
    parameters: float,
    bits: float,
    qid: float = 0.2,
    *,
    law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> TrainingTokens:
    """Return the training tokens at which QiD reaches `qid` nats per token.

    law, strict, also: as in `predict`. Raises InputError.
    """
    parameters = count("parameters", parameters, "non-embedding parameters (N)")
    bits = count("bits", bits, "bits per weight (P)")
    qid = count("qid", qid, "nats per token")
    check_level(level)
    source = resolve(law, bits, also)
    tokens = crossing(value_over_tokens(source, parameters, bits), qid)
    if math.isinf(tokens):
        raise InputError(
            f"By {source.law.name!r} a model of {parameters:.3g} parameters at {bits:g} bits never reaches QiD {qid:g} "
            "(up to 1e30 tokens). Ask for a smaller qid or fewer bits."
        )
    asked = {"parameters": parameters, "tokens": tokens, "bits": bits}
    refuse_outside(source.outside(asked), strict)
    early, late = token_interval(source, parameters, bits, qid, tokens, level)
    low = 0.0 if math.isinf(early) else early
    made_of = source.made_of(asked)
    if low == 0.0:
        made_of += "; no lower end: the upper end of the predicted QiD is above the value asked for from the start"
    if math.isinf(late):
        made_of += f"; no upper end: the lower end of the predicted QiD never reaches the value asked for (up to {FARTHEST_END:g} tokens)"
    return TrainingTokens(
        value=tokens,
        unit="tokens",
        interval=Interval(low=low, high=late, level=level, made_of=made_of),
        **source.provenance(asked),
        conditions=source.conditions,
        parameters=parameters,
        bits=bits,
        qid=qid,
        beside=_beside(source, parameters, bits, qid, tokens),
    )


def token_interval(
    source: Source, parameters: float, bits: float, qid: float, tokens: float, level: float, error: float = 0.0
) -> tuple[float, float]:
    """Return where the upper and the lower end of the predicted band reach `qid`, on either side of `tokens`.

    error: half-width of the measured qid at the level, nats, added to the band's in quadrature. An end that is never
    reached, or only at more than `FARTHEST_END` tokens, is infinite.
    """

    def upper(d: Array) -> Array:
        columns = columns_of(parameters, d, bits)
        value, (_, high) = source.value(columns), source.band(columns, level)
        return value + np.hypot(high - value, error)

    def lower(d: Array) -> Array:
        columns = columns_of(parameters, d, bits)
        value, (low, _) = source.value(columns), source.band(columns, level)
        return value - np.hypot(value - low, error)

    # From the answer downwards until even the upper end is below qid; upwards until even the lower end is above.
    early = crossing(lambda d: -upper(d), -qid, start=tokens, stop=1.0)
    return early, crossing(lower, qid, start=tokens, stop=max(FARTHEST_END, 10.0 * tokens))


def value_over_tokens(source: Source, parameters: float, bits: float) -> Curve:
    """Return the law's QiD of one model at one bit width as a function of tokens [n]."""
    return lambda tokens: source.value(columns_of(parameters, tokens, bits))


def _beside(source: Source, parameters: float, bits: float, qid: float, tokens: float) -> tuple[LawValue, ...]:
    found = []
    for name in law_names():
        if not answers_at(load_law(name), bits, source.also) or (name == source.law.name and source.fit is None):
            continue
        other = published_source(load_law(name), source.also)
        said = crossing(value_over_tokens(other, parameters, bits), qid)
        outside = tuple(out.words for out in other.outside({"parameters": parameters, "tokens": said, "bits": bits}))
        found.append(LawValue(law=name, value=said, ratio=said / tokens, source=other.origin, outside=outside))
    return tuple(found)
