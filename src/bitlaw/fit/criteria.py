"""Likelihood and information criteria of a fit, on the scale of the measured values, so that fits of the same rows compare.

    AIC = 2k - 2 ln L       BIC = k ln n - 2 ln L       k: free parameters and fitted scatters

They treat rows as independent, which rows of one model are not: they flatter laws with many parameters. Held-out scores
(`compare`) are the judge; these stand beside them because people ask for them.
"""

from __future__ import annotations

import numpy as np

from bitlaw.fit.problem import Problem
from bitlaw.fit.settings import Noise
from bitlaw.fit.solve import Solution
from bitlaw.laws.law import Array


def criteria(problem: Problem, solution: Solution, noise: Noise) -> tuple[float, float, float]:
    """Return (ln L, AIC, BIC)."""
    scatters = 1 if solution.log else (noise.relative is None) + (noise.floor is None)
    k, n = len(problem.free) + scatters, len(problem.y)
    value = float(np.sum(log_likelihood(problem, solution)))
    return value, 2.0 * k - 2.0 * value, k * float(np.log(n)) - 2.0 * value


def log_likelihood(problem: Problem, solution: Solution) -> Array:
    """Return ln density of each measured value (of censored rows, ln probability of at least it), [n]."""
    from scipy.special import gammaln, log_ndtr

    mean = problem.mean(solution.point)
    variance = solution.variance(mean, problem.se) / problem.weights
    z = (problem.y - mean) / np.sqrt(variance)
    found = -0.5 * (np.log(2.0 * np.pi * variance) + z**2)
    if solution.robust.kind == "student":
        f = solution.robust.freedom
        found = gammaln(0.5 * (f + 1.0)) - gammaln(0.5 * f) - 0.5 * (np.log(f * np.pi * variance))
        found = found - 0.5 * (f + 1.0) * np.log1p(z**2 / f)
    if solution.log:
        found = found - problem.y  # d ln y = dy / y
    return np.where(problem.censored, log_ndtr(-z), found)
