"""Find the parameters: several starts, then least squares and scatter in turn until neither moves.

1. From every start: robust least squares of log y over the clearly positive rows (a power law is linear there, so any
   start gets near), then robust least squares of y over every row.
2. From the best: weighted least squares with the variance of each row held, then the scatter (relative, floor) that
   makes the residuals most likely, n/(n-p) correcting for the fitted parameters; repeated until both stand still.

The second step solves sum_i (y_i - f_i) f_i' / variance_i = 0: right on average whenever the law is, whatever the
shape of the noise (generalised least squares, Carroll and Ruppert 1988, chapter 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlaw.fit.problem import Problem, to_point
from bitlaw.fit.settings import Noise
from bitlaw.laws.law import Array

ROUNDS = 60
FULL_ROUNDS = 4  # then half steps: where scatter is large the two halves of a round can chase each other
STILL = 1e-6  # largest move of a point, on the fitting scale, that counts as standing still
START_SCATTER = 0.3  # relative scatter assumed until it is fitted
AGREE = 1e-4  # starts whose parameters differ by less than this on the fitting scale found the same optimum


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Where the solver ended: point [p], scatter, freedom of Student noise (inf for normal), and how it went."""

    point: Array
    relative: float
    floor: float
    freedom: float
    outcome: str
    at_bound: tuple[str, ...]
    starts: int
    agreeing: int

    def variance(self, mean: Array, se: Array) -> Array:
        """Return the variance of rows with that mean and standard error."""
        return np.asarray(se**2 + (self.relative * mean) ** 2 + self.floor**2)


def robust_weights(squared: Array, freedom: float) -> Array:
    """Return how much rows count, by their squared residual over variance: 1 for normal noise, less far out for Student's."""
    if np.isinf(freedom):
        return np.ones_like(squared)
    return np.asarray((freedom + 1.0) / (freedom + squared))


def robust_growth(squared: Array, freedom: float) -> float:
    """Return the factor by which weighting rows down makes the usual standard errors too small: 1 for normal noise.

    The weights w act in the fit as psi(r) = w r, whose slope, not w itself, says how fast the optimum moves:
    sum w / sum psi' (Huber 1981, section 7.6).
    """
    if np.isinf(freedom):
        return 1.0
    slopes = (freedom + 1.0) * (freedom - squared) / (freedom + squared) ** 2
    return float(np.sum(robust_weights(squared, freedom)) / max(float(np.sum(slopes)), 1e-3 * len(squared)))


def start_points(problem: Problem, count: int, generator: np.random.Generator) -> Array:
    """Return `count` starts [count, p]: the law's first one, then random picks, spread a little and kept in bounds."""
    parameters = [problem.law.parameter(name) for name in problem.free]
    first = to_point(problem.law, problem.free, {p.name: p.starts[0] for p in parameters})
    points = [first]
    for _ in range(count - 1):
        picks = {p.name: p.starts[int(generator.integers(len(p.starts)))] for p in parameters}
        point = to_point(problem.law, problem.free, picks)
        points.append(point + 0.1 * generator.standard_normal(len(point)) * np.maximum(np.abs(point), 1.0))
    inside = 1e-6 * (problem.upper - problem.lower)
    return np.clip(np.stack(points), problem.lower + inside, problem.upper - inside)


def solve(problem: Problem, noise: Noise, starts: Array) -> Solution:
    """Return the solution of a problem from start points [S, p]."""
    ends = [_first_guess(problem, start) for start in starts]
    costs = np.array([cost for _, cost in ends])
    best = int(np.argmin(costs))
    point = ends[best][0]
    spread = np.array([np.max(np.abs(end - point)) for end, _ in ends])
    agreeing = int(np.sum((spread < AGREE * np.maximum(1.0, np.max(np.abs(point)))) | (costs <= costs[best] * 1.0001)))
    relative, floor = START_SCATTER, max(_smallest_scale(problem), 1e-12)
    freedom = noise.freedom if noise.kind == "student" else np.inf
    outcome = f"stopped after {ROUNDS} rounds without standing still"
    for turn in range(ROUNDS):
        mean = problem.mean(point)
        relative, floor = fit_scatter(problem, mean, noise, (relative, floor))
        variance = problem.se**2 + (relative * mean) ** 2 + floor**2
        weights = robust_weights((problem.y - mean) ** 2 / variance, freedom)
        moved = _weighted(problem, point, np.sqrt(variance / weights))
        still = np.max(np.abs(moved - point)) < STILL * max(1.0, float(np.max(np.abs(point))))
        point = moved if turn < FULL_ROUNDS else 0.5 * (point + moved)
        if still:
            outcome = "converged"
            break
    edge = 1e-6 * (problem.upper - problem.lower)
    low, high = point <= problem.lower + edge, point >= problem.upper - edge
    stopped = tuple(name for name, hit in zip(problem.free, low | high) if hit)
    if stopped and outcome == "converged":
        point = np.where(low, problem.lower, np.where(high, problem.upper, point))
        values = problem.values(point)
        outcome = "stopped at a bound: " + ", ".join(f"{name} = {float(values[name]):g}" for name in stopped)
    return Solution(
        point=point,
        relative=relative,
        floor=floor,
        freedom=freedom,
        outcome=outcome,
        at_bound=stopped,
        starts=len(starts),
        agreeing=agreeing,
    )


def _smallest_scale(problem: Problem) -> float:
    """Return a scatter floor to begin with: a tenth of the typical size of the small degradations."""
    return 0.1 * float(np.quantile(np.abs(problem.y), 0.25))


def _first_guess(problem: Problem, start: Array) -> tuple[Array, float]:
    from scipy.optimize import least_squares

    bounds = (problem.lower, problem.upper)
    point = start
    positive = (problem.y > 0) & (problem.y > 2.0 * problem.se)
    if positive.sum() > len(start):
        log_y = np.log(problem.y[positive])
        point = least_squares(
            lambda at: np.log(np.maximum(problem.mean(at)[positive], 1e-300)) - log_y,
            point,
            jac=lambda at: problem.slopes(at)[positive] / np.maximum(problem.mean(at)[positive], 1e-300)[:, None],
            bounds=bounds,
            loss="soft_l1",
            f_scale=0.5,
            x_scale="jac",
            max_nfev=100,
        ).x
    spread = np.sqrt(problem.se**2 + (START_SCATTER * problem.y) ** 2 + _smallest_scale(problem) ** 2 + 1e-300)
    end = least_squares(
        lambda at: (problem.mean(at) - problem.y) / spread,
        _inside(problem, point),
        jac=lambda at: problem.slopes(at) / spread[:, None],
        bounds=bounds,
        loss="soft_l1",
        x_scale="jac",
        max_nfev=100,
    )
    return end.x, float(end.cost)


def _inside(problem: Problem, point: Array) -> Array:
    edge = 1e-9 * (problem.upper - problem.lower)
    return np.clip(point, problem.lower + edge, problem.upper - edge)


def _weighted(problem: Problem, point: Array, spread: Array) -> Array:
    from scipy.optimize import least_squares

    result = least_squares(
        lambda at: (problem.mean(at) - problem.y) / spread,
        _inside(problem, point),
        jac=lambda at: problem.slopes(at) / spread[:, None],
        bounds=(problem.lower, problem.upper),
        x_scale="jac",
        xtol=1e-10,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=60,
    )
    return np.asarray(result.x)


def fit_scatter(problem: Problem, mean: Array, noise: Noise, start: tuple[float, float]) -> tuple[float, float]:
    """Return (relative, floor) that make the residuals around `mean` most likely; a given one is kept."""
    from scipy.optimize import minimize

    n, p = len(problem.y), len(problem.free)
    squared = (problem.y - mean) ** 2 * n / max(n - p, 1)
    tiny = 1e-9 * max(float(np.max(np.abs(problem.y))), 1e-12)
    given = (noise.relative, noise.floor)
    parts = np.stack([mean**2, np.ones(n)])

    def objective(logs: Array) -> tuple[float, Array]:
        scales = np.array([np.exp(2.0 * s) if g is None else g**2 for s, g in zip(logs, given)])
        variance = problem.se**2 + scales @ parts + tiny**2
        ratio = squared / variance
        if noise.kind == "student":
            loss = np.sum(0.5 * np.log(variance) + 0.5 * (noise.freedom + 1.0) * np.log1p(ratio / noise.freedom))
            slope = 0.5 / variance - 0.5 * (noise.freedom + 1.0) * ratio / (variance * (noise.freedom + ratio))
        else:
            loss = np.sum(0.5 * np.log(variance) + 0.5 * ratio)
            slope = 0.5 / variance * (1.0 - ratio)
        free = np.array([g is None for g in given], dtype=float)
        return float(loss), 2.0 * scales * (parts @ slope) * free

    bounds = [(np.log(1e-4), np.log(10.0)), (np.log(tiny), np.log(1e9 * tiny))]
    begin = np.clip(np.log(np.maximum(start, 1e-12)), [low for low, _ in bounds], [high for _, high in bounds])
    result = minimize(objective, begin, jac=True, method="L-BFGS-B", bounds=bounds)
    relative, floor = (float(np.exp(s)) if g is None else g for s, g in zip(result.x, given))
    return relative, floor
