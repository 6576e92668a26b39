"""What happens to models of the future? QiD of several sizes and bit widths at a number of tokens (the paper's Figure 1).

Each cell is the law's value with its interval, and how it stands to ln(vocabulary): a uniform guess over the vocabulary
loses that much, so a degradation above it is worse than guessing, whatever the 16-bit loss was. Laws of QiD do not
saturate, so values above it mean "broken", not that many nats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import count, plain, refuse_outside
from bitlaw.predict.crossing import columns_of
from bitlaw.predict.predicting import PYTHIA_VOCABULARY, check_level, whole_vocabulary
from bitlaw.predict.sources import Also, Source, resolve

SIZES = (7e9, 70e9, 405e9)
WIDTHS = (2.0, 3.0, 4.0)
FIRST_TOKENS = 1e11  # where the curves of Figure 1 begin
POINTS = 81

BELOW = "better than random"
MAYBE = "may be worse than random"
WORSE = "worse than random"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """QiD of one model at one bit width after `tokens`: nats per token, the interval, and where it lies.

    state: `worse than random` if the value is above ln(vocabulary), `may be worse than random` if the interval reaches
    there, else `better than random`.
    """

    parameters: float
    bits: float
    tokens: float
    value: float
    low: float
    high: float
    state: str
    law: str
    outside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """QiD of one model at one bit width over tokens: arrays [n]."""

    parameters: float
    bits: float
    tokens: Array
    value: Array
    low: Array
    high: Array


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A table over sizes and bit widths (`cells`) and the curves that lead there.

    ceiling: ln(vocabulary), nats: above it a model is worse than random guessing.
    """

    tokens: float
    vocabulary: int
    ceiling: float
    level: float
    cells: tuple[Cell, ...]
    curves: tuple[Curve, ...]
    laws: Mapping[str, str]
    made_of: Mapping[str, str]
    conditions: tuple[str, ...]

    @property
    def inside(self) -> bool:
        """True if every cell lies in the range its constants were fitted on."""
        return not any(cell.outside for cell in self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the curves."""
        named = ("tokens", "vocabulary", "ceiling", "level", "laws", "made_of", "conditions")
        content = {name: plain(getattr(self, name)) for name in named}
        return {**content, "inside": self.inside, "cells": [plain(asdict(cell)) for cell in self.cells]}


def project(
    tokens: float = 100e12,
    *,
    sizes: Iterable[float] = SIZES,
    bits: Iterable[float] = WIDTHS,
    vocabulary: int = PYTHIA_VOCABULARY,
    law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> Projection:
    """Return QiD of models of `sizes` (N each) at `bits` after `tokens`, with the worse-than-random band.

    vocabulary: entries of the tokenizer; Pythia's 50304 unless given. law, strict, also: as in `predict`. Raises
    InputError.
    """
    tokens = count("tokens", tokens, "training tokens (D)")
    models = [count("parameters", size, "non-embedding parameters (N)") for size in sizes]
    widths = [count("bits", width, "bits per weight (P)") for width in bits]
    if not models or not widths:
        raise InputError("A projection needs at least one size and one bit width, for example sizes=[7e9], bits=[4].")
    ceiling = math.log(whole_vocabulary(vocabulary))
    check_level(level)
    cells, curves = [], []
    laws: dict[str, str] = {}
    made_of: dict[str, str] = {}
    conditions: dict[str, None] = {}
    for width in widths:
        source = resolve(law, width, also)
        laws[f"{width:g}"] = f"{source.law.name}: {source.law.text}; {source.origin} ({source.sureness})"
        conditions |= dict.fromkeys(source.conditions)
        for size in models:
            asked = {"parameters": size, "tokens": tokens, "bits": width}
            outside = source.outside(asked)
            refuse_outside(outside, strict)
            curve = _curve(source, size, width, np.array([tokens]), level)
            value, low, high = (float(part[0]) for part in (curve.value, curve.low, curve.high))
            made_of[f"{width:g}"] = source.made_of(asked)
            cells.append(
                Cell(
                    **asked,
                    value=value,
                    low=low,
                    high=high,
                    state=WORSE if value > ceiling else MAYBE if high > ceiling else BELOW,
                    law=source.law.name,
                    outside=tuple(out.words for out in outside),
                )
            )
            path = np.geomspace(min(FIRST_TOKENS, tokens / 1e3), tokens, POINTS)
            curves.append(_curve(source, size, width, path, level))
    return Projection(
        tokens=tokens,
        vocabulary=vocabulary,
        ceiling=ceiling,
        level=level,
        cells=tuple(cells),
        curves=tuple(curves),
        laws=laws,
        made_of=made_of,
        conditions=tuple(conditions),
    )


def _curve(source: Source, parameters: float, bits: float, tokens: Array, level: float) -> Curve:
    columns = columns_of(parameters, tokens, bits)
    low, high = source.band(columns, level)
    return Curve(parameters=parameters, bits=bits, tokens=tokens, value=source.value(columns), low=low, high=high)
