"""Where a curve over tokens reaches a level: a search on a logarithmic grid, narrowed round by round."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlaw.laws.law import Array

Curve = Callable[[Array], Array]

MOST_TOKENS = 1e30  # how far a crossing is looked for
FARTHEST_END = 1e21  # tokens from which the end of an interval is no end: a million times all text there is
GRID = 400


def columns_of(parameters: float, tokens: Array, bits: float) -> dict[str, Array]:
    """Return columns of one model at one bit width over tokens [n]."""
    return {
        "parameters": np.full(tokens.shape, parameters),
        "tokens": tokens,
        "bits": np.full(tokens.shape, bits),
    }


def crossing(curve: Curve, level: float, *, start: float = 1.0, stop: float = MOST_TOKENS) -> float:
    """Return the first x on the way from start to stop where the curve reaches the level; inf if none does.

    Found to 1e-9 in the logarithm of x.
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


def turning_point(curve: Curve, rise: float, *, start: float = 1.0, stop: float = MOST_TOKENS) -> float:
    """Return the x where a falling curve first turns: the lowest before it has risen by `rise`; inf if it never does."""
    grid = np.linspace(math.log(start), math.log(stop), 4 * GRID)
    values = np.nan_to_num(curve(np.exp(grid)), nan=math.inf)
    risen = np.flatnonzero(values > np.minimum.accumulate(values) + rise)
    if not len(risen):
        return math.inf
    best = int(np.argmin(values[: risen[0]]))
    begin, end = float(grid[max(best - 1, 0)]), float(grid[best + 1])
    for _ in range(4):
        grid = np.linspace(begin, end, GRID)
        values = curve(np.exp(grid))
        if np.ptp(values) <= 1e-13 * np.max(np.abs(values)):  # flat to the last digits: the middle of what is left
            break
        best = int(np.argmin(values))
        begin, end = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, GRID - 1)])
    return math.exp(0.5 * (begin + end))
