"""Bootstrap replicates of a fit, many at once: the estimating equations solved for weights or tables by Gauss-Newton.

Each replicate starts at the fitted point, with the fitted scatter held. A row's variance follows the replicate's own
law value, as in the fit. Replicates are solved together in blocks, so a thousand cost a few hundred law evaluations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitlaw.fit.clustered import Groups
from bitlaw.fit.problem import Problem
from bitlaw.fit.solve import Solution
from bitlaw.laws.law import Array

STEPS = 40
STILL = 1e-6
LONGEST_STEP = 2.0  # on the fitting scale: a factor 7 for k
ELEMENTS = 400_000  # rows x replicates in one block


def model_weights(
    groups: Groups, sizes: Array, replicates: int, generator: np.random.Generator, distinct: int
) -> Array:
    """Return row weights [B, n] of tables whose models were drawn with replacement.

    groups [n]: model of each row; sizes [n]: N of each row. A draw with fewer than `distinct` sizes cannot tell the
    exponent of size and is drawn again.
    """
    models = int(groups.max()) + 1
    size_of = np.array([sizes[groups == model][0] for model in range(models)])
    weights = np.empty((replicates, len(groups)))
    for index in range(replicates):
        while True:
            drawn = generator.integers(models, size=models)
            if len(np.unique(size_of[drawn])) >= distinct:
                break
        weights[index] = np.bincount(drawn, minlength=models)[groups]
    return weights


def checkpoint_weights(models: Groups, checkpoints: Groups, replicates: int, generator: np.random.Generator) -> Array:
    """Return row weights [B, n]: checkpoints drawn with replacement within each model, which all stay."""
    weights = np.zeros((replicates, len(models)))
    for model in np.unique(models):
        rows = models == model
        members, index = np.unique(checkpoints[rows], return_inverse=True)
        drawn = generator.multinomial(len(members), np.full(len(members), 1.0 / len(members)), size=replicates)
        weights[:, rows] = drawn[:, index]
    return weights


def simulated_tables(
    problem: Problem,
    solution: Solution,
    models: Groups,
    checkpoints: Groups,
    replicates: int,
    generator: np.random.Generator,
) -> Array:
    """Return measured values [B, n] drawn around the fitted law, rows of a model and of a checkpoint correlated.

    The shares of the variance that a model and a checkpoint have in common are the mean products of standardised
    residuals of different rows of the same group, at least 0.
    """
    mean = problem.mean(solution.point)
    spread = np.sqrt(solution.variance(mean, problem.se) / problem.weights)
    z = (problem.complete(mean, spread) - mean) / spread
    z = z / max(float(np.sqrt(np.mean(z**2))), 1e-12)
    by_checkpoint = _shared(z, checkpoints)
    by_model = min(_shared(z, models), by_checkpoint)
    count_models, count_checkpoints = int(models.max()) + 1, int(checkpoints.max()) + 1
    noise = np.sqrt(by_model) * generator.standard_normal((replicates, count_models))[:, models]
    noise += (
        np.sqrt(by_checkpoint - by_model) * generator.standard_normal((replicates, count_checkpoints))[:, checkpoints]
    )
    noise += np.sqrt(1.0 - by_checkpoint) * generator.standard_normal((replicates, len(mean)))
    if solution.robust.kind == "student":
        freedom = solution.robust.freedom
        noise *= np.sqrt(freedom / generator.chisquare(freedom, (replicates, len(mean))))
    drawn = mean + spread * noise
    return np.asarray(np.where(problem.censored, np.minimum(drawn, problem.y), drawn))


def _shared(z: Array, groups: Groups) -> float:
    """Return the mean product of two different rows of one group, between 0 and 0.99."""
    sums = np.bincount(groups, z)
    counts = np.bincount(groups)
    pairs = float(np.sum(counts * (counts - 1.0)))
    products = float(np.sum(sums**2) - np.sum(z**2))
    return float(np.clip(products / pairs, 0.0, 0.99)) if pairs else 0.0


def replicate(
    problem: Problem, solution: Solution, weights: Array, y: Array, *, steps: int = STEPS, still: float = STILL
) -> tuple[Array, int]:
    """Return points [B, p] and how many replicates did not stand still.

    weights [B, n] or [1, n]: how often each row counts. y [B, n] or [1, n]: measured values. steps: after which a
    replicate is left where it is; still: largest move, on the fitting scale, that counts as standing still.
    """
    replicates = max(len(weights), len(y))
    block = max(1, ELEMENTS // len(problem.y))
    points, restless = [], 0
    for begin in range(0, replicates, block):
        rows = slice(begin, begin + block)
        count = min(block, replicates - begin)
        own, measured = weights[rows] if len(weights) > 1 else weights, y[rows] if len(y) > 1 else y
        part, moving = _solve_block(problem, solution, own, measured, count, steps, still)
        points.append(part)
        restless += moving
    return np.concatenate(points), restless


def _solve_block(
    problem: Problem, solution: Solution, weights: Array, y: Array, count: int, steps: int, still: float
) -> tuple[Array, int]:
    point = np.tile(solution.point, (count, 1))
    moving = np.ones(count, dtype=bool)
    shrinking = 1.0 / problem.prior**2  # 0 for parameters of which nothing is known beforehand
    for step_number in range(steps):
        live = np.flatnonzero(moving)
        if not len(live):
            break
        at = point[live]
        mean, slopes = problem.mean(at), problem.slopes(at)
        variance = solution.variance(mean, problem.se) / problem.weights
        residuals = problem.complete(mean, np.sqrt(variance), y[live] if len(y) > 1 else y) - mean
        scaled = (weights[live] if len(weights) > 1 else weights) / variance
        scaled = scaled * solution.robust.weights(residuals**2 / variance)
        weighted = slopes * scaled[..., None]
        matrix = np.swapaxes(weighted, 1, 2) @ slopes + np.diag(shrinking)
        score = np.einsum("bni,bn->bi", weighted, residuals) - (at - problem.centre) * shrinking
        stuck = ((at <= problem.lower) & (score < 0)) | ((at >= problem.upper) & (score > 0))
        step = _solve_free(matrix, score, ~stuck)
        length = np.max(np.abs(step), axis=1, keepdims=True)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(length, 1e-300)) * (1.0 if step_number < steps / 2 else 0.5)
        new = np.clip(at + step, problem.lower, problem.upper)
        point[live] = new
        moving[live] = np.max(np.abs(new - at), axis=1) > still * np.maximum(1.0, np.max(np.abs(at), axis=1))
    return point, int(moving.sum())


def _solve_free(matrix: Array, score: Array, free: NDArray[np.bool_]) -> Array:
    """Return the Gauss-Newton steps [B, p] of the free coordinates; the others stay. A flat direction gets no step."""
    mask = free[:, :, None] & free[:, None, :]
    scale = 1.0 / np.sqrt(np.maximum(np.einsum("bii->bi", matrix), 1e-300))
    normed = np.where(mask, matrix * scale[:, :, None] * scale[:, None, :], 0.0)
    values, vectors = np.linalg.eigh(normed)
    kept = np.where(values > 1e-12, 1.0 / np.maximum(values, 1e-12), 0.0)
    turned = np.einsum("bij,bi->bj", vectors, np.where(free, score * scale, 0.0)) * kept
    return np.asarray(np.einsum("bij,bj->bi", vectors, turned) * scale)
