"""How few bits are enough? The smallest width at which the predicted degradation stays within a budget.

Two numbers: the real-valued width P at which QiD(P) is the budget, from a law that reads P (mixed precision and
channel-wise methods have such widths), and the smallest whole width, each asked of the law that answers there. Beside
each its safe version: where the upper end of the interval is within the budget, not just the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.predict.answers import Answer, Interval, count, refuse_outside
from bitlaw.predict.crossing import columns_of
from bitlaw.predict.evidence import UNIFIED
from bitlaw.predict.grids import WIDTH_LIKE
from bitlaw.predict.predicting import check_level
from bitlaw.predict.sources import Also, Source, resolve

LEAST, MOST = 1.0, 16.0
WIDTHS = tuple(float(width) for width in range(2, 17))


@dataclass(frozen=True, kw_only=True)
class Width:
    """QiD at one whole width: value, interval, law, and whether value and upper end are within the budget."""

    bits: float
    value: float
    low: float
    high: float
    within: bool
    safe: bool
    law: str
    outside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FewestBits(Answer):
    """Bits per weight (`value`, real-valued) at which a model's QiD is `budget`; None widths do not exist up to 16.

    The interval: fewest bits by the lower and by the upper end of QiD; its upper end is the safe real-valued width.
    whole, whole_safe: smallest whole widths (2 to 16) from which on value, and upper end, stay within the budget.
    widths: what every width from 2 to the safe one (8 if there is none) loses. real_law: the law of the real value.
    """

    parameters: float
    tokens: float
    budget: float
    whole: float | None
    whole_safe: float | None
    widths: tuple[Width, ...]


def fewest_bits(
    parameters: float,
    tokens: float,
    budget: float,
    *,
    law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> FewestBits:
    """Return the fewest bits per weight at which a model loses at most `budget` nats per token.

    law: as in `predict`; under `auto` the real-valued width is the unified law's and whole widths are asked of the law
    of that width. strict: use only widths, and accept only a model, inside the fitted range. Raises InputError.
    """
    parameters = count("parameters", parameters, "non-embedding parameters (N)")
    tokens = count("tokens", tokens, "training tokens (D)")
    budget = count("budget", budget, "nats per token")
    check_level(level)
    smooth = resolve(UNIFIED if isinstance(law, str) and law == "auto" else law, 4.0, also)
    if not set(WIDTH_LIKE) & set(smooth.law.variables):
        raise InputError(
            f"Law {smooth.law.name!r} does not read bits, so it cannot say how few are enough. Use auto or {UNIFIED!r}."
        )
    model = {"parameters": parameters, "tokens": tokens}
    refuse_outside((out for out in smooth.outside(model) if out.variable in model), strict)
    widths = tuple(_width(law, {**model, "bits": width}, budget, level, also) for width in WIDTHS)
    if strict:
        widths = tuple(width for width in widths if not width.outside)
        if not widths:
            raise InputError("No whole width lies inside the fitted range, and strict was asked for.")
    value, low, high = (
        _least(_end(smooth, parameters, tokens, which, level), budget) for which in ("value", "low", "high")
    )
    if math.isinf(value):
        raise InputError(
            f"By {smooth.law.name!r} no width up to {MOST:g} bits keeps a model of {parameters:.3g} parameters and "
            f"{tokens:.3g} tokens within {budget:g} nats per token. Allow a larger budget."
        )
    asked = {**model, "bits": value}
    outside = smooth.outside(asked)
    refuse_outside(outside, strict)
    whole, whole_safe = _smallest(widths, "within"), _smallest(widths, "safe")
    made_of = f"fewest bits by the lower and the upper end of QiD: {smooth.made_of(asked)}"
    if math.isinf(high):
        made_of += f"; no upper end: up to {MOST:g} bits the upper end of QiD stays above the budget"
    shown = whole_safe if whole_safe is not None else 8.0
    return FewestBits(
        value=value,
        unit="bits per weight",
        interval=Interval(low=low, high=high, level=level, made_of=made_of),
        **smooth.provenance(asked),
        conditions=smooth.conditions,
        parameters=parameters,
        tokens=tokens,
        budget=budget,
        whole=whole,
        whole_safe=whole_safe,
        widths=tuple(width for width in widths if width.bits <= max(shown, whole or shown)),
    )


def _width(law: str | Law | Fit, asked: Mapping[str, float], budget: float, level: float, also: Also | None) -> Width:
    source = resolve(law, asked["bits"], also)
    columns = {name: np.array([value]) for name, value in asked.items()}
    value = float(source.value(columns)[0])
    low, high = (float(end[0]) for end in source.band(columns, level))
    return Width(
        bits=asked["bits"],
        value=value,
        low=low,
        high=high,
        within=value <= budget,
        safe=high <= budget,
        law=source.law.name,
        outside=tuple(out.words for out in source.outside(asked)),
    )


def _smallest(widths: tuple[Width, ...], kept: str) -> float | None:
    """Return the smallest width from which on every wider one keeps to the budget too, or None."""
    found = None
    for width in reversed(widths):
        if not getattr(width, kept):
            break
        found = width.bits
    return found


def _end(source: Source, parameters: float, tokens: float, which: str, level: float) -> Callable[[float], float]:
    def qid(bits: float) -> float:
        columns = columns_of(parameters, np.array([tokens]), bits)
        if which == "value":
            return float(source.value(columns)[0])
        return float(source.band(columns, level)[which == "high"][0])

    return qid


def _least(qid: Callable[[float], float], budget: float) -> float:
    """Return the smallest width from which on qid stays within the budget; LEAST if it always is, inf if never."""
    grid = np.linspace(LEAST, MOST, 121) + 1e-9  # beside whole widths, where a law is judged on other points
    above = np.flatnonzero([qid(float(bits)) > budget for bits in grid])
    if not len(above):
        return LEAST
    if above[-1] == len(grid) - 1:
        return math.inf
    low, high = float(grid[above[-1]]), float(grid[above[-1] + 1])
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if qid(middle) > budget else (low, middle)
    return high
