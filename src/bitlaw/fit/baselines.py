"""What a law must beat: predictors that know nothing of scaling.

    mean per format     geometric mean of the measured rows of the same method and bit width (the nearest width if none)
    nearest neighbour   the measured row nearest in ln N, ln D and 2 bits, of the same method where there is one

Their intervals are the 5 % and 95 % quantiles of ln(measured / predicted), each measured row predicted from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bitlaw.fit.table import Table
from bitlaw.laws.law import Array

SMALLEST = 1e-6  # nats: measured degradations at or below 0 count as this in a geometric mean
BIT = 2.0  # one bit is as far as a factor e^2 in size or tokens
OTHER = 100.0  # another method is farther than any size
Predictor = Callable[[Table, Table, str], Array]


def mean_per_format(known: Table, asked: Table, target: str) -> Array:
    """Return the geometric mean of the known rows of the same method and width, [rows asked]."""
    return _near(known, asked, target, ("bits", "method"), everyone=True)


def nearest_neighbour(known: Table, asked: Table, target: str) -> Array:
    """Return the nearest known row's value, [rows asked]."""
    return _near(known, asked, target, ("parameters", "tokens", "bits", "method"), everyone=False)


BASELINES: Mapping[str, Predictor] = {"mean per format": mean_per_format, "nearest neighbour": nearest_neighbour}


def quantiles(known: Table, target: str, predictor: Predictor, level: float) -> tuple[float, float]:
    """Return the quantiles of ln(measured / predicted) of the known rows, each predicted from the others."""
    away = []
    for row in range(len(known)):
        keep = np.arange(len(known)) != row
        one = known.take(~keep)
        predicted = predictor(known.take(keep), one, target)[0]
        away.append(float(np.log(np.maximum(one[target][0], SMALLEST) / predicted)))
    low, high = np.quantile(away, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _near(known: Table, asked: Table, target: str, names: tuple[str, ...], *, everyone: bool) -> Array:
    value = np.log(np.maximum(known[target], SMALLEST))
    found = np.empty(len(asked))
    for row in range(len(asked)):
        far = np.zeros(len(known))
        for name in names:
            if name not in known or name not in asked:
                continue
            here = asked[name][row]
            if name == "method":
                far += OTHER * (known[name] != here)
            elif name == "bits":
                far += BIT * np.abs(known[name] - here)
            else:
                far += np.abs(np.log(known[name] / here))
        nearest = far <= far.min() + 1e-9
        found[row] = np.exp(np.mean(value[nearest] if everyone else value[nearest][:1]))
    return found
