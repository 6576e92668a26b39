"""Huber's loss of ln(measured / law), the objective of Hoffmann et al. 2022: robust, all rows alike.

From every start: a smooth robust fit, then Huber's loss with its corner drawn in step by step to `delta`, so that a
narrow corner (1e-3 is nearly the sum of absolute residuals) does not stop a start on the way.
"""

from __future__ import annotations

import numpy as np

from bitlaw.fit.problem import Problem
from bitlaw.fit.robust import Robust
from bitlaw.fit.settings import Noise
from bitlaw.fit.solve import Solution, at_bounds, best_of, inside
from bitlaw.laws.law import Array

EFFICIENT = 1.345  # standard deviations: 95 % as precise as least squares where the noise is normal (Huber 1964)
TO_DEVIATION = 1.4826  # median absolute residual to standard deviation, for normal noise
STEPS = (0.3, 0.03, 0.003)
EVALUATIONS = 300
ROUNDS = 20


def solve_huber(problem: Problem, noise: Noise, starts: Array) -> Solution:
    """Return the solution of a problem in log space from start points [S, p]."""
    first = noise.delta or 0.1

    def descend(problem: Problem, start: Array) -> tuple[Array, float]:
        point, _, _ = minimum(problem, start, 0.5, "soft_l1", 100)
        for delta in (*[d for d in STEPS if d > first], first):
            point, cost, _ = minimum(problem, point, delta, "huber", EVALUATIONS)
        return point, cost

    guess = best_of(descend, problem, starts)
    point, done = guess.point, True
    delta = first
    for _ in range(ROUNDS):
        scatter = scatter_of(problem, point)
        delta = noise.delta or max(EFFICIENT * scatter, 1e-12)
        moved, _, done = minimum(problem, point, delta, "huber", 3 * EVALUATIONS, scatter)
        still = bool(np.max(np.abs(moved - point)) < 1e-7 * max(1.0, float(np.max(np.abs(point)))))
        point = moved
        if still:
            break
    point, outcome, stopped = at_bounds(
        problem, point, "converged" if done else f"stopped after {3 * EVALUATIONS} evaluations without standing still"
    )
    scatter = scatter_of(problem, point)
    return Solution(
        point=point,
        relative=scatter,
        floor=0.0,
        robust=Robust(kind="huber", cut=delta / scatter),
        outcome=outcome,
        at_bound=stopped,
        starts=len(starts),
        agreeing=guess.agreeing,
        log=True,
    )


def scatter_of(problem: Problem, point: Array) -> float:
    """Return the robust standard deviation of the logarithmic residuals."""
    n, p = len(problem.y), len(problem.free)
    away = np.abs(problem.y - problem.mean(point))[~problem.censored]
    return max(TO_DEVIATION * float(np.median(away)) * float(np.sqrt(n / max(n - p, 1))), 1e-9)


def minimum(
    problem: Problem, start: Array, delta: float, loss: str, evaluations: int, scatter: float = 0.1
) -> tuple[Array, float, bool]:
    """Return (point, cost, whether it stood still) of a robust loss of the residuals.

    What is known beforehand counts like rows with this scatter.
    """
    from scipy.optimize import least_squares

    root = np.sqrt(problem.weights)

    def residuals(at: Array) -> Array:
        found = problem.mean(at) - problem.y
        found = np.where(problem.censored, np.minimum(found, 0.0), found) * root
        return np.concatenate([found, scatter * problem.beyond(at)])

    end = least_squares(
        residuals,
        inside(problem, start),
        jac=lambda at: np.concatenate([problem.slopes(at) * root[:, None], scatter * problem.beyond_slopes()]),
        bounds=(problem.lower, problem.upper),
        loss=loss,
        f_scale=delta,
        x_scale="jac",
        xtol=1e-12,
        ftol=1e-14,
        gtol=1e-12,
        max_nfev=evaluations,
    )
    return np.asarray(end.x), float(end.cost), bool(end.status > 0)
