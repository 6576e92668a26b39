"""How far a fitted law goes astray beyond its rows: measured by leaving out the ends of what it was fitted to.

A law that bends where the truth does not (or the other way round) is off by about u ln r at r times the last fitted token
count or size. u is looked for inside the table: the last part of the tokens is left out (beyond a half and a quarter of the
largest count), the largest one and two sizes, and the same at the small end; the law is solved again without them, from
the fit and with its scatter held, and asked about the rows left out. With e = ln(measured / law) and d = ln r of each,

    u^2 of a turn = (sum e^2 - what scatter and uncertain parameters make of it) / sum d^2          at least 0

The rows of a turn are off together, so a turn counts as one observation of a normal drift with an unknown spread, beside
three of 0.24 that are known beforehand: a scaled inverse chi-squared distribution. Bands therefore widen by

    t(3 + turns) spread ln r           spread^2 = (3 * 0.24^2 + sum u^2) / (3 + turns)

in quadrature. 0.24 is the root mean square that the published forms show at the ends of mini-pythia, in size and in tokens after
the turn (`benchmarks/extrapolation.py` prints it, and how often bands cover where a law is wrong). Only laws of degradation are
judged: losses are smooth, and `predict.losses` has a rule for them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitlaw.fit.bootstrap import replicate
from bitlaw.fit.drift import BEFOREHAND, WORTH, Drift
from bitlaw.fit.problem import Problem
from bitlaw.fit.solve import Solution
from bitlaw.fit.table import Table
from bitlaw.laws.law import Array

JUDGED = ("tokens", "parameters", "layer_size")
FEW = 8  # distinct values up to which they are left out one by one
PARTS = (2.0, 4.0)  # of more values: what lies within these factors of the end is left out
LEAST = 3  # distinct values that a turn must keep, or two of a few
CLEAR = 3.0  # standard deviations of noise that the law's value must exceed for a row to judge it
LARGEST = 2.0  # drift of one turn, beyond which the law was not solved
STEPS, STILL = 25, 1e-3


def drifts_of(problem: Problem, solution: Solution, rows: Table) -> dict[str, Drift]:
    """Return the drift of each size and token variable that the law reads, judged by the rows of the fit."""
    if problem.law.target != "qid":
        return {}
    names = [name for name in JUDGED if name in problem.law.variables]
    asked = [(name, end, *turn) for name in names for end in ("below", "beyond") for turn in turns(rows[name], end)]
    squares: dict[tuple[str, str], list[float]] = {(name, end): [] for name in names for end in ("below", "beyond")}
    if asked:
        weights = np.stack([~out for _, _, out, _ in asked]).astype(float)
        points, _ = replicate(problem, solution, weights, problem.y[None], steps=STEPS, still=STILL)
        for point, kept, (name, end, out, edge) in zip(points, weights, asked):
            found = squared_drift(problem, solution, point, kept, out, np.log(rows[name] / edge))
            squares[name, end] += [] if found is None else [found]
    return {
        name: Drift(
            below=_spread(squares[name, "below"]),
            beyond=_spread(squares[name, "beyond"]),
            below_turns=len(squares[name, "below"]),
            beyond_turns=len(squares[name, "beyond"]),
        )
        for name in names
    }


def turns(values: Array, end: str) -> list[tuple[NDArray[np.bool_], float]]:
    """Return for each turn which rows are left out, and the last value that stays."""
    sign = 1.0 if end == "beyond" else -1.0
    distinct = np.unique(sign * np.log(values))
    if len(distinct) <= FEW:
        edges = [distinct[-1 - left] for left in (1, 2) if len(distinct) - left >= 2]
    else:
        edges = []
        for part in PARTS:
            kept = distinct[distinct <= distinct[-1] - np.log(part) + 1e-9]
            edges += [kept[-1]] if len(kept) >= LEAST else []
        edges = list(dict.fromkeys(edges))
    scaled = sign * np.log(values)
    return [(scaled > edge + 1e-9, float(np.exp(sign * edge))) for edge in edges]


def squared_drift(
    problem: Problem, solution: Solution, point: Array, kept: Array, out: NDArray[np.bool_], distance: Array
) -> float | None:
    """Return u^2 of one turn, or None where no row left out is clear of noise."""
    full, law = problem.nats(solution.point), problem.nats(point)
    measured = np.exp(problem.y) if problem.log else problem.y
    variance = solution.variance(problem.mean(point), problem.se)
    scale = np.ones_like(law) if problem.log else 1.0 / np.maximum(law, 1e-300)
    slopes = problem.slopes(point)
    noise = np.hypot(problem.se * (measured if problem.log else 1.0), solution.floor)
    clear = out & (full > CLEAR * noise) & (measured > 0) & (law > 0) & ~problem.censored
    if not clear.any():
        return None
    rooted = slopes * np.sqrt(kept * problem.weights / variance)[:, None]
    uncertain = np.linalg.pinv(rooted.T @ rooted + np.diag(1.0 / problem.prior**2))
    slopes = slopes[clear] * scale[clear, None]
    expected = variance[clear] * scale[clear] ** 2 + np.einsum("ni,ij,nj->n", slopes, uncertain, slopes)
    away = np.log(measured[clear] / law[clear])
    found = float(np.sum(away**2 - expected) / np.sum(distance[clear] ** 2))
    return min(max(found, 0.0), LARGEST**2)


def _spread(squares: list[float]) -> float:
    return float(np.sqrt((WORTH * BEFOREHAND**2 + sum(squares)) / (WORTH + len(squares))))
