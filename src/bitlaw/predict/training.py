"""How many training tokens until quantization hurts this much? The law inverted (Table 1 of arXiv 2411.17691)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, law_names, load_law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import Answer, Interval, count
from bitlaw.predict.predicting import LawValue, check_level
from bitlaw.predict.sources import Source, answers_at, published_source, resolve

MOST_TOKENS = 1e30  # how far a crossing is looked for
GRID = 400


@dataclass(frozen=True, kw_only=True)
class TrainingTokens(Answer):
    """Tokens (`value`) after which a model of `parameters` loses `qid` nats per token at `bits`.

    The interval's ends are where the upper and the lower end of the predicted QiD reach `qid`; an end that is never
    reached below 1e30 tokens is infinite. beside: what the other laws say.
    """

    parameters: float
    bits: float
    qid: float
    beside: tuple[LawValue, ...]


def tokens_to_train(
    parameters: float, bits: float, qid: float = 0.2, *, law: str | Law | Fit = "auto", level: float = 0.9
) -> TrainingTokens:
    """Return the training tokens at which QiD reaches `qid` nats per token. law: as in `predict`. Raises InputError."""
    parameters = count("parameters", parameters, "non-embedding parameters (N)")
    bits = count("bits", bits, "bits per weight (P)")
    qid = count("qid", qid, "nats per token")
    check_level(level)
    source = resolve(law, bits)
    tokens = _crossing(partial(_value_at, source, parameters, bits), qid)
    if math.isinf(tokens):
        raise InputError(
            f"By {source.law.name!r} a model of {parameters:.3g} parameters at {bits:g} bits never reaches QiD {qid:g} "
            "(up to 1e30 tokens). Ask for a smaller qid or fewer bits."
        )
    # From the answer downwards until even the upper end is below qid; upwards until even the lower end is above.
    early = _crossing(lambda d: -source.band(_columns(parameters, d, bits), level)[1], -qid, start=tokens, stop=1.0)
    late = _crossing(lambda d: source.band(_columns(parameters, d, bits), level)[0], qid, start=tokens)
    low = 0.0 if math.isinf(early) else early
    asked = {"parameters": parameters, "tokens": tokens, "bits": bits}
    made_of = source.made_of(asked)
    if low == 0.0:
        made_of += "; no lower end: the upper end of the predicted QiD is above the value asked for from the start"
    if math.isinf(late):
        made_of += "; no upper end: the lower end of the predicted QiD never reaches the value asked for"
    return TrainingTokens(
        value=tokens,
        unit="tokens",
        interval=Interval(low=low, high=late, level=level, made_of=made_of),
        law=source.law.name,
        formula=source.law.text,
        constants=dict(source.values),
        source=source.origin,
        sureness=source.sureness,
        outside=source.outside(asked),
        conditions=source.conditions,
        parameters=parameters,
        bits=bits,
        qid=qid,
        beside=_beside(source, parameters, bits, qid, tokens),
    )


def _columns(parameters: float, tokens: Array, bits: float) -> dict[str, Array]:
    return {
        "parameters": np.full(tokens.shape, parameters),
        "tokens": tokens,
        "bits": np.full(tokens.shape, bits),
    }


def _value_at(source: Source, parameters: float, bits: float, tokens: Array) -> Array:
    return source.value(_columns(parameters, tokens, bits))


def _crossing(curve: Callable[[Array], Array], level: float, *, start: float = 1.0, stop: float = MOST_TOKENS) -> float:
    """Return the first token count on the way from start to stop where the curve reaches the level; inf if none does.

    Found to 1e-9 in the logarithm of tokens.
    """
    begin, end = math.log(start), math.log(stop)
    for _ in range(5):  # each round narrows the bracket 400 times
        grid = np.linspace(begin, end, GRID)
        reached = np.flatnonzero(np.nan_to_num(curve(np.exp(grid)), nan=-math.inf) >= level)
        if not len(reached):
            return math.inf
        if reached[0] == 0:
            return math.exp(begin)
        begin, end = float(grid[reached[0] - 1]), float(grid[reached[0]])
    return math.exp(0.5 * (begin + end))


def _beside(source: Source, parameters: float, bits: float, qid: float, tokens: float) -> tuple[LawValue, ...]:
    found = []
    for name in law_names():
        if not answers_at(load_law(name), bits) or (name == source.law.name and source.fit is None):
            continue
        other = published_source(load_law(name))
        said = _crossing(partial(_value_at, other, parameters, bits), qid)
        outside = tuple(out.words for out in other.outside({"parameters": parameters, "tokens": said, "bits": bits}))
        found.append(LawValue(law=name, value=said, ratio=said / tokens, source=other.origin, outside=outside))
    return tuple(found)
