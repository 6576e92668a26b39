"""Profile likelihood: how much worse the fit gets when one parameter is held elsewhere and all others follow.

    found = profile("ouyang2024-unified", table, "alpha")
    found.interval, found.values, found.deviance

deviance(v) = sum (y - f)^2 / variance with the parameter at v and the others refitted, less the same at the best; each
row's variance as at the best. The interval is where it stays below the chi-squared quantile (1 degree of freedom). It
shows a shape that a standard error cannot: lopsided, or open at one end where no row says stop. Rows count as
independent, so where rows of a model are related it is narrower than the Fit's own interval: use it for shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.fitting import Solved, solved
from bitlaw.fit.solve import weighted
from bitlaw.fit.table import Table
from bitlaw.laws import Law
from bitlaw.laws.law import Array

FARTHEST = 12  # doublings of the first step that are tried on each side
INSIDE = 4  # further values on each side, for the shape
SECANTS = 12
CLOSE = 0.01  # share of the quantile by which the deviance at an end may miss it
FIRST = 0.02  # of the parameter on its fitting scale


@dataclass(frozen=True, kw_only=True)
class Profile:
    """values [m] of the parameter in order, deviance [m] at them, and the interval; an open end is the law's bound."""

    name: str
    best: float
    level: float
    values: Array
    deviance: Array
    interval: tuple[float, float]


def profile(law: Law | str, table: Table, name: str, *, level: float = 0.9, **options: Any) -> Profile:
    """Return the profile likelihood of one free parameter. options: as for `fit`. Raises InputError."""
    from scipy.stats import chi2

    found = solved(law, table, **options)
    if found.noise.kind == "huber":
        raise InputError("Huber's loss is no likelihood: profile with noise of kind normal or student.")
    if name not in found.problem.free:
        raise InputError(f"{name!r} is not a free parameter of this fit. Free: {', '.join(found.problem.free)}.")
    if not 0.0 < level < 1.0:
        raise InputError(f"level={level} must lie between 0 and 1, for example 0.9.")
    index = found.problem.free.index(name)
    best = float(found.solution.point[index])
    deviance = _deviance(found, index)
    points: dict[float, float] = {best: 0.0}
    bounds = (float(found.problem.lower[index]), float(found.problem.upper[index]))
    allowed = float(chi2.ppf(level, 1))
    ends = [_end(deviance, points, best, bound, FIRST * max(abs(best), 0.1), allowed) for bound in bounds]
    for end in ends:
        for share in np.linspace(0.0, 1.0, INSIDE, endpoint=False)[1:]:
            point = best + float(share) * (end - best)
            points.setdefault(point, deviance(point))
    order = sorted(points)
    back: Callable[[Array], Array] = np.exp if found.law.parameter(name).log else np.asarray
    return Profile(
        name=name,
        best=float(back(np.asarray(best))),
        level=level,
        values=np.asarray(back(np.array(order)), dtype=float),
        deviance=np.maximum(np.array([points[point] for point in order]), 0.0),
        interval=(float(back(np.asarray(ends[0]))), float(back(np.asarray(ends[1])))),
    )


def _deviance(found: Solved, index: int) -> Callable[[float], float]:
    """Return the deviance as a function of one coordinate of the point."""
    problem, solution = found.problem, found.solution
    mean = problem.mean(solution.point)
    variance = solution.variance(mean, problem.se) / problem.weights
    y = problem.complete(mean, np.sqrt(variance))
    spread = np.sqrt(variance / solution.robust.weights((y - mean) ** 2 / variance))
    fitted = problem.with_y(y)
    others = np.arange(len(problem.free)) != index
    name = problem.free[index]
    log = found.law.parameter(name).log
    last = np.array(solution.point[others])

    def cost(point: Array) -> float:
        away = (y - fitted.mean(point)) / spread
        return float(np.sum(away**2) + np.sum(fitted.beyond(point) ** 2))

    least = cost(solution.point)

    def deviance(value: float) -> float:
        nonlocal last
        held: Mapping[str, float] = {**problem.fixed, name: float(np.exp(value)) if log else value}
        part = replace(
            fitted,
            free=tuple(other for other in problem.free if other != name),
            fixed=held,
            lower=problem.lower[others],
            upper=problem.upper[others],
            centre=problem.centre[others],
            prior=problem.prior[others],
            tied={k: v for k, v in problem.tied.items() if v != name},
        )
        part = replace(part, fixed={**held, **{k: held[name] for k, v in problem.tied.items() if v == name}})
        if len(part.free):
            last = weighted(part, last, spread)
        whole = np.empty(len(problem.free))
        whole[others], whole[index] = last, value
        return cost(whole) - least

    return deviance


def _end(
    deviance: Callable[[float], float],
    points: dict[float, float],
    best: float,
    bound: float,
    step: float,
    allowed: float,
) -> float:
    """Return where the deviance reaches `allowed` on the way to the bound, or the bound."""
    sign = 1.0 if bound > best else -1.0
    inner, outer = best, best
    for doubling in range(FARTHEST):
        reach = min(step * 2.0**doubling, abs(bound - best))
        outer = best + sign * reach
        points[outer] = deviance(outer)
        if points[outer] >= allowed:
            break
        if reach == abs(bound - best):
            return bound
        inner = outer
    else:
        return outer
    for _ in range(SECANTS):  # the root of the deviance is nearly straight
        roots = np.sqrt(np.maximum([points[inner], points[outer]], 0.0))
        share = (np.sqrt(allowed) - roots[0]) / max(float(roots[1] - roots[0]), 1e-12)
        middle = inner + float(np.clip(share, 0.02, 0.98)) * (outer - inner)
        points[middle] = deviance(middle)
        if abs(points[middle] - allowed) < CLOSE * allowed:
            return middle
        inner, outer = (middle, outer) if points[middle] < allowed else (inner, middle)
    return 0.5 * (inner + outer)
