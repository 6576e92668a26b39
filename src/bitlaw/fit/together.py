"""Hundreds of starts at once: damped Gauss-Newton steps of a smooth robust loss, all starts in one set of arrays.

What comes back are the distinct ends, each with the number of starts that reached it; the solver refines those alone.
Five hundred starts so cost about as much as ten one by one. Loss: sum of sqrt(1 + (r/s)^2) - 1 of logarithmic residuals
over the rows that have a logarithm (Marquardt 1963 for the damping).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitlaw.fit.problem import SMALLEST, Problem
from bitlaw.laws.law import Array

STEPS = 150
SCALE = 0.1  # logarithmic residual beyond which a row pulls less
CLOSE = 1e-2  # ends nearer than this on the fitting scale are one
SAME_COST = 1e-6
LONGEST = 3.0


def distinct_ends(problem: Problem, starts: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return (ends [E, p], counts [E]), the best first, for starts [S, p].

    Of starts that ended equally well the first one stands for all: a parameter that no row tells stays where the law
    begins, not where chance put it.
    """
    points, costs = _descend(problem, starts)
    ends: list[Array] = []
    first: list[int] = []
    best: list[float] = []
    counts: list[int] = []
    for index in np.argsort(costs):
        if not np.isfinite(costs[index]):
            continue
        for number, end in enumerate(ends):
            near = np.max(np.abs(points[index] - end)) < CLOSE * max(1.0, float(np.max(np.abs(end))))
            if near or abs(costs[index] - best[number]) < SAME_COST * best[number]:
                counts[number] += 1
                if index < first[number] and costs[index] <= best[number] * (1.0 + SAME_COST):
                    ends[number], first[number] = points[index], int(index)
                break
        else:
            ends.append(points[index])
            first.append(int(index))
            best.append(float(costs[index]))
            counts.append(1)
    return np.array(ends).reshape(-1, starts.shape[1]), np.array(counts, dtype=np.int64)


def _descend(problem: Problem, starts: Array) -> tuple[Array, Array]:
    rows = np.ones(len(problem.y), dtype=bool) if problem.log else (problem.y > 2.0 * problem.se) & (problem.y > 0)
    if rows.sum() <= starts.shape[1]:
        return starts, np.zeros(len(starts))
    y = problem.y[rows] if problem.log else np.log(problem.y[rows])
    censored, weights = problem.censored[rows], problem.weights[rows]
    shrinking = 1.0 / problem.prior**2

    def residuals(points: Array) -> Array:
        mean = problem.mean(points)[:, rows]
        away = y - (mean if problem.log else np.log(np.maximum(mean, SMALLEST)))
        return np.where(censored, np.maximum(away, 0.0), away) / SCALE

    def cost_of(away: Array, points: Array) -> Array:
        found = np.sum(weights * (np.sqrt(1.0 + away**2) - 1.0), axis=1) + 0.5 * np.sum(
            (points - problem.centre) ** 2 * shrinking, axis=1
        )
        return np.where(np.isfinite(found), found, np.inf)

    points = np.array(starts)
    with np.errstate(all="ignore"):
        away = residuals(points)
        costs = cost_of(away, points)
        damping = np.full(len(points), 1e-2)
        live = np.isfinite(costs)
        for _ in range(STEPS):
            on = np.flatnonzero(live)
            if not len(on):
                break
            at = points[on]
            slopes = problem.slopes(at)[:, rows]
            if not problem.log:
                slopes = slopes / np.maximum(problem.mean(at)[:, rows], SMALLEST)[..., None]
            slopes = np.nan_to_num(slopes / SCALE, posinf=0.0, neginf=0.0)
            weighted = slopes * (weights / np.sqrt(1.0 + away[on] ** 2))[..., None]
            matrix = np.swapaxes(weighted, 1, 2) @ slopes + np.diag(shrinking)
            score = np.einsum("bnp,bn->bp", weighted, away[on]) - (at - problem.centre) * shrinking
            stuck = ((at <= problem.lower) & (score < 0)) | ((at >= problem.upper) & (score > 0))
            score = np.where(stuck, 0.0, score)
            matrix = np.where(stuck[:, :, None] | stuck[:, None, :], 0.0, matrix)
            size = np.maximum(np.einsum("bpp->bp", matrix), 1e-12)
            matrix = matrix + np.eye(at.shape[1]) * (size * damping[on, None] + 1e-12)[:, None, :]
            step = np.linalg.solve(matrix, score[..., None])[..., 0]
            step = np.clip(np.nan_to_num(step), -LONGEST, LONGEST)
            moved = np.clip(at + step, problem.lower, problem.upper)
            tried = residuals(moved)
            reached = cost_of(tried, moved)
            better = reached < costs[on]
            gain = np.where(better, costs[on] - reached, 0.0)
            points[on[better]], away[on[better]] = moved[better], tried[better]
            damping[on] = np.where(better, np.maximum(damping[on] / 5.0, 1e-9), damping[on] * 4.0)
            still = (better & (gain < 1e-10 * (1.0 + reached))) | (damping[on] > 1e12)
            costs[on[better]] = reached[better]
            live[on[still]] = False
    return points, costs
