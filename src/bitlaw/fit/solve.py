"""Find the parameters: several starts, then least squares and scatter in turn until neither moves.

1. From every start: robust least squares of log y over the clearly positive rows (a power law is linear there, so any
   start gets near), then robust least squares of y over every row.
2. From the best: weighted least squares with the variance of each row held, then the scatter (relative, floor) that
   makes the residuals most likely, n/(n-p) correcting for the fitted parameters; repeated until both stand still.

The second step solves sum_i (y_i - f_i) f_i' / variance_i = 0: right on average whenever the law is, whatever the
shape of the noise (generalised least squares, Carroll and Ruppert 1988, chapter 2). Censored rows take part with the
value expected of them; shrunk parameters (offsets) with a row of their own, whose spread is found in the same rounds.
A fit with Huber's loss in log space is `huber.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.problem import Problem, to_point
from bitlaw.fit.robust import Robust
from bitlaw.fit.settings import Noise
from bitlaw.fit.together import distinct_ends
from bitlaw.laws.law import Array

ROUNDS = 60
FULL_ROUNDS = 4  # then half steps: where scatter is large the two halves of a round can chase each other
STILL = 1e-6  # largest move of a point, on the fitting scale, that counts as standing still
START_SCATTER = 0.3  # relative scatter assumed until it is fitted
AGREE = 1e-4  # starts whose parameters differ by less than this on the fitting scale found the same optimum
FEW = 2  # starts that are solved one by one; more are first brought together, all at once
MOST = 16  # distinct ends that are solved one by one
LEAST_SPREAD = 0.02  # of offsets, in logarithms: they never shrink to nothing


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Where the solver ended: point [p], scatter, how far rows count, and how it went.

    In log space (`log`) the scatter is of logarithms and there is no floor.
    """

    point: Array
    relative: float
    floor: float
    robust: Robust
    outcome: str
    at_bound: tuple[str, ...]
    starts: int
    agreeing: int
    log: bool = False
    spreads: Mapping[str, float] = field(default_factory=dict)

    def variance(self, mean: Array, se: Array) -> Array:
        """Return the variance of rows with that mean and standard error, not yet divided by their weights."""
        if self.log:
            return np.broadcast_to(np.asarray(self.relative**2), np.shape(mean))
        return np.asarray(se**2 + (self.relative * mean) ** 2 + self.floor**2)


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


def solve(problem: Problem, noise: Noise, starts: Array, factors: Mapping[str, Array] | None = None) -> Solution:
    """Return the solution of a problem from start points [S, p].

    factors: name -> indices of the free parameters that are its offsets; their common spread is fitted.
    """
    if factors:
        problem = _with_spreads(problem, factors, dict.fromkeys(factors, 0.5))
    guess = first_guesses(problem, starts)
    point = guess.point
    relative, floor = START_SCATTER, max(_smallest_scale(problem), 1e-12)
    robust = Robust(kind=noise.kind, freedom=noise.freedom) if noise.kind == "student" else Robust()
    spreads: dict[str, float] = {}
    outcome = f"stopped after {ROUNDS} rounds without standing still"
    for turn in range(ROUNDS):
        mean = problem.mean(point)
        relative, floor = fit_scatter(problem, mean, noise, (relative, floor))
        variance = (problem.se**2 + (relative * mean) ** 2 + floor**2) / problem.weights
        y = problem.complete(mean, np.sqrt(variance))
        weights = robust.weights((y - mean) ** 2 / variance)
        spread = np.sqrt(variance / weights)
        if factors:
            spreads = fit_spreads(problem, point, spread, factors)
            problem = _with_spreads(problem, factors, spreads)
        moved = weighted(problem.with_y(y), point, spread)
        still = np.max(np.abs(moved - point)) < STILL * max(1.0, float(np.max(np.abs(point))))
        point = moved if turn < FULL_ROUNDS else 0.5 * (point + moved)
        if still:
            outcome = "converged"
            break
    point, outcome, stopped = at_bounds(problem, point, outcome)
    return Solution(
        point=point,
        relative=relative,
        floor=floor,
        robust=robust,
        outcome=outcome,
        at_bound=stopped,
        starts=len(starts),
        agreeing=guess.agreeing,
        spreads=spreads,
    )


@dataclass(frozen=True, kw_only=True)
class Guess:
    """The best end of many starts, and how many starts ended there."""

    point: Array
    agreeing: int


def best_of(step: Callable[[Problem, Array], tuple[Array, float]], problem: Problem, starts: Array) -> Guess:
    """Return the end with the least cost, and how many starts ended there. Raises InputError if none is finite.

    Many starts are first brought together to their distinct ends (together.py).
    """
    counts = np.ones(len(starts), dtype=int)
    if len(starts) > FEW:
        starts, counts = distinct_ends(problem, starts)
        starts = starts[:MOST]
    ends = [guarded(step, problem, start) for start in starts]
    costs = np.array([cost for _, cost in ends])
    if not np.isfinite(costs).any() or not len(costs):
        raise InputError("The law has no finite value at any of its starts. Give it other starts or bounds.")
    best = int(np.nanargmin(np.where(np.isfinite(costs), costs, np.nan)))
    point = ends[best][0]
    spread = np.array([np.max(np.abs(end - point)) for end, _ in ends])
    same = (spread < AGREE * np.maximum(1.0, np.max(np.abs(point)))) | (costs <= costs[best] * 1.0001)
    return Guess(point=point, agreeing=int(np.sum(counts[: len(same)][same])))


def first_guesses(problem: Problem, starts: Array) -> Guess:
    """Return the best of robust fits from every start."""
    return best_of(_first_guess, problem, starts)


def at_bounds(problem: Problem, point: Array, outcome: str) -> tuple[Array, str, tuple[str, ...]]:
    """Return (point, outcome, names): parameters that ended at a bound are put on it and named."""
    edge = 1e-6 * (problem.upper - problem.lower)
    low, high = point <= problem.lower + edge, point >= problem.upper - edge
    stopped = tuple(name for name, hit in zip(problem.free, low | high) if hit)
    if stopped and outcome == "converged":
        point = np.where(low, problem.lower, np.where(high, problem.upper, point))
        values = problem.values(point)
        outcome = "stopped at a bound: " + ", ".join(f"{name} = {float(values[name]):g}" for name in stopped)
    return point, outcome, stopped


def _with_spreads(problem: Problem, factors: Mapping[str, Array], spreads: Mapping[str, float]) -> Problem:
    prior = np.array(problem.prior)
    for name, where in factors.items():
        prior[where] = spreads[name]
    return replace(problem, prior=prior)


def fit_spreads(problem: Problem, point: Array, spread: Array, factors: Mapping[str, Array]) -> dict[str, float]:
    """Return the spread of each factor's offsets: root of their mean square plus mean posterior variance (one EM step)."""
    slopes = problem.slopes(point) / spread[:, None]
    information = slopes.T @ slopes + np.diag(1.0 / problem.prior**2)
    posterior = np.diag(np.linalg.pinv(information))
    return {
        name: max(float(np.sqrt(np.mean(point[where] ** 2 + posterior[where]))), LEAST_SPREAD)
        for name, where in factors.items()
    }


def _smallest_scale(problem: Problem) -> float:
    """Return a scatter floor to begin with: a tenth of the typical size of the small degradations."""
    return 0.1 * float(np.quantile(np.abs(problem.y), 0.25))


def guarded(
    step: Callable[[Problem, Array], tuple[Array, float]], problem: Problem, start: Array
) -> tuple[Array, float]:
    """Return what a solver finds from a start; infinite cost where the law has no finite value there."""
    with np.errstate(all="ignore"):
        if not np.all(np.isfinite(problem.mean(start))):
            return start, np.inf
        try:
            return step(problem, start)
        except (ValueError, np.linalg.LinAlgError):  # not finite on the way
            return start, np.inf


def _first_guess(problem: Problem, start: Array) -> tuple[Array, float]:
    from scipy.optimize import least_squares

    bounds = (problem.lower, problem.upper)
    point = start
    positive = (problem.y > 0) & (problem.y > 2.0 * problem.se)
    root = np.sqrt(problem.weights)
    if positive.sum() > len(start):
        log_y, share, censored = np.log(problem.y[positive]), root[positive], problem.censored[positive]

        def away(at: Array) -> Array:
            found = np.log(np.maximum(problem.mean(at)[positive], 1e-300)) - log_y
            return shrunk(problem, at, np.where(censored, np.minimum(found, 0.0), found) * share)

        def slopes(at: Array) -> Array:
            found = problem.slopes(at)[positive] / np.maximum(problem.mean(at)[positive], 1e-300)[:, None]
            return shrunk_slopes(problem, found * share[:, None])

        point = least_squares(
            away, point, jac=slopes, bounds=bounds, loss="soft_l1", f_scale=0.5, x_scale="jac", max_nfev=100
        ).x
    spread = np.sqrt(problem.se**2 + (START_SCATTER * problem.y) ** 2 + _smallest_scale(problem) ** 2 + 1e-300) / root

    def residuals(at: Array) -> Array:
        found = problem.mean(at) - problem.y
        return shrunk(problem, at, np.where(problem.censored, np.minimum(found, 0.0), found) / spread)

    end = least_squares(
        residuals,
        inside(problem, point),
        jac=lambda at: shrunk_slopes(problem, problem.slopes(at) / spread[:, None]),
        bounds=bounds,
        loss="soft_l1",
        x_scale="jac",
        max_nfev=100,
    )
    return end.x, float(end.cost)


def shrunk(problem: Problem, point: Array, residuals: Array) -> Array:
    """Return residuals [n] with those of what is known beforehand, [n + q]."""
    return np.concatenate([residuals, problem.beyond(point)])


def shrunk_slopes(problem: Problem, slopes: Array) -> Array:
    """Return slopes [n, p] with those of what is known beforehand, [n + q, p]."""
    return np.concatenate([slopes, problem.beyond_slopes()])


def inside(problem: Problem, point: Array) -> Array:
    """Return the point a little inside the bounds, where a solver may begin."""
    edge = 1e-9 * (problem.upper - problem.lower)
    return np.clip(point, problem.lower + edge, problem.upper - edge)


def weighted(problem: Problem, point: Array, spread: Array) -> Array:
    """Return the weighted least-squares solution from a point, with the standard deviation of each row held."""
    from scipy.optimize import least_squares

    result = least_squares(
        lambda at: shrunk(problem, at, (problem.mean(at) - problem.y) / spread),
        inside(problem, point),
        jac=lambda at: shrunk_slopes(problem, problem.slopes(at) / spread[:, None]),
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
    spread = np.sqrt((problem.se**2 + (start[0] * mean) ** 2 + start[1] ** 2) / problem.weights)
    squared = _squared(problem, mean, spread) * problem.weights * n / max(n - p, 1)
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


def _squared(problem: Problem, mean: Array, spread: Array) -> Array:
    """Return squared residuals [n], of censored rows the expected one: spread^2 (1 + z h(z)), z = (y - mean)/spread."""
    found = (problem.y - mean) ** 2
    if not problem.censored.any():
        return np.asarray(found)
    from bitlaw.fit.problem import hazard

    z = (problem.y - mean) / spread
    return np.where(problem.censored, spread**2 * (1.0 + z * hazard(z)), found)
