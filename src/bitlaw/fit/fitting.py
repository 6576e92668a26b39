"""`fit(law, table)`: the one function of this room. It returns a new Fit and changes nothing it was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit.bootstrap import checkpoint_weights, model_weights, replicate, simulated_tables
from bitlaw.fit.clustered import Clustered, Groups, clustered
from bitlaw.fit.design import design_warnings
from bitlaw.fit.problem import Problem, from_point
from bitlaw.fit.result import Data, Fit, Scatter, Scores
from bitlaw.fit.settings import Intervals, Noise
from bitlaw.fit.solve import Solution, robust_growth, robust_weights, solve, start_points
from bitlaw.fit.table import NUMBERS, Table
from bitlaw.laws import Law, load_law
from bitlaw.laws.law import Array

FEWEST_GROUPS = 3  # models or checkpoints below which they cannot be the groups of default intervals
SCORE_THRESHOLD = 5e-4  # nats: below it, paired noise of a few thousand tokens is as large as the degradation


def fit(
    law: Law | str,
    table: Table,
    *,
    noise: Noise | None = None,
    intervals: Intervals | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: int = 8,
    seed: int = 0,
    threshold: float = SCORE_THRESHOLD,
) -> Fit:
    """Fit a law to a table.

    law: a Law or a name in the catalog. fixed: parameters held at a value. starts: how many starting points.
    seed: of the generator behind starts and replicates; the same seed gives the same Fit. threshold: smallest
    measured value, nats, that counts in the scores on a log scale. A law of the 16-bit loss is fitted to one row a
    checkpoint. Raises InputError for missing columns or fewer rows than free parameters.
    """
    law = load_law(law) if isinstance(law, str) else law
    noise, intervals, fixed = noise or Noise(), intervals or Intervals(), dict(fixed or {})
    rows = _usable(law, table)
    problem = Problem.of(law, rows, fixed)
    if len(rows) < len(problem.free):
        raise InputError(
            f"{len(rows)} rows cannot determine the {len(problem.free)} parameters of {law.name!r} "
            f"({', '.join(problem.free)}). Measure more checkpoints, or fix parameters with fixed={{name: value}}."
        )
    generator = np.random.default_rng(seed)
    solution = solve(problem, noise, start_points(problem, starts, generator))
    warnings = [*rows.warnings, *design_warnings(law, rows, problem, solution)]
    groups = {by: rows.clusters(by) for by in ("model", "checkpoint")} | {"row": np.arange(len(rows))}
    kind = _choose(intervals.kind, groups)
    clusters, points, words = _uncertainty(problem, solution, kind, intervals, groups, rows, generator)
    warnings += [f"{words[1]}"] if words[1] else []
    errors, freedom, bounds = _intervals(problem, solution, clusters, points, intervals.level)
    values = {name: float(value) for name, value in problem.values(solution.point).items()}
    drawn = from_point(law, problem.free, {}, points) if len(points) else {}
    return Fit(
        law=law.name,
        target=law.target,
        values={name: values[name] for name in law.names},
        standard_errors=errors,
        intervals=bounds,
        degrees_of_freedom=freedom,
        level=intervals.level,
        interval_kind=kind,
        interval_words=words[0],
        free=problem.free,
        fixed=fixed,
        outcome=solution.outcome,
        starts=solution.starts,
        starts_agreeing=solution.agreeing,
        scatter=Scatter(
            kind=noise.kind,
            relative=solution.relative,
            floor=solution.floor,
            freedom=solution.freedom,
        ),
        scores=score(problem.y, problem.mean(solution.point), threshold),
        fitted={
            name: (float(rows[name].min()), float(rows[name].max()))
            for name in ("parameters", "tokens", "bits")
            if name in rows and np.all(np.isfinite(rows[name]))
        },
        data=_describe(rows),
        seed=seed,
        warnings=tuple(warnings),
        covariance=clusters.matrix() if clusters else np.cov(points.T).reshape(len(problem.free), -1),
        clusters=clusters,
        draws=np.concatenate([drawn[name] for name in problem.free], axis=1)
        if drawn
        else np.zeros((0, len(problem.free))),
    )


def score(y: Array, mean: Array, threshold: float) -> Scores:
    """Return how well `mean` follows the measured `y`, both [n] nats; see Scores."""
    above = (y > threshold) & (mean > 0)
    total = float(np.sum((y - y.mean()) ** 2))
    log_y, log_mean = np.log(y[above]), np.log(mean[above])
    log_total = float(np.sum((log_y - log_y.mean()) ** 2)) if above.any() else 0.0
    enough = above.sum() >= 3 and log_total > 0
    return Scores(
        r2=1.0 - float(np.sum((y - mean) ** 2)) / total if total > 0 else float("nan"),
        log_r2=1.0 - float(np.sum((log_y - log_mean) ** 2)) / log_total if enough else float("nan"),
        median_relative_error=float(np.median(np.abs(mean[above] / y[above] - 1.0))) if above.any() else float("nan"),
        threshold=threshold,
        points=len(y),
        points_above=int(above.sum()),
    )


def _usable(law: Law, table: Table) -> Table:
    """Return the rows a law can be fitted to, all of its columns known."""
    needed = (*law.variables, law.target)
    for name in needed:
        if name not in table:
            raise InputError(
                f"Law {law.name!r} needs column {name!r} ({NUMBERS[name]}). {UnknownName('column', name, table.columns)}"
            )
    rows = table.one_row_a_checkpoint() if law.target == "baseline_loss" else table
    known = np.all([np.isfinite(rows[name]) for name in needed], axis=0)
    for name in law.variables:
        if np.any(rows[name][known] <= 0):
            raise InputError(
                f"Column {name!r} of {table.source} has values of 0 or less. Law {law.name!r} needs them above 0."
            )
    if known.all():
        return rows
    left_out = {**rows.left_out, f"rows without {', '.join(needed)}": int(np.sum(~known))}
    kept = rows.take(known)
    return Table(columns=kept.columns, source=kept.source, left_out=left_out, warnings=kept.warnings)


def _describe(rows: Table) -> Data:
    def distinct(name: str) -> tuple[Any, ...]:
        return tuple(v.item() for v in np.unique(rows[name])) if name in rows else ()

    return Data(
        source=rows.source,
        rows=len(rows),
        models=len(np.unique(rows.clusters("model"))) if "model" in rows or "parameters" in rows else 0,
        checkpoints=len(np.unique(rows.clusters("checkpoint"))),
        sizes=len(distinct("parameters")),
        methods=distinct("method"),
        bits=distinct("bits"),
        suites=distinct("suite"),
        left_out=dict(rows.left_out),
    )


def _choose(kind: str, groups: Mapping[str, Groups]) -> str:
    if kind != "auto":
        return kind
    for by in ("model", "checkpoint"):
        if len(np.unique(groups[by])) >= FEWEST_GROUPS:
            return f"clustered-{by}"
    return "clustered-row"


def _uncertainty(
    problem: Problem,
    solution: Solution,
    kind: str,
    intervals: Intervals,
    groups: Mapping[str, Groups],
    rows: Table,
    generator: np.random.Generator,
) -> tuple[Clustered | None, Array, tuple[str, str]]:
    """Return (clusters or None, replicate points [B, p], (how in words, a warning or nothing))."""
    none = np.zeros((0, len(problem.free)))
    family, _, by = kind.partition("-")
    if family == "clustered":
        mean = problem.mean(solution.point)
        variance = solution.variance(mean, problem.se)
        squared = (problem.y - mean) ** 2 / variance
        weights = robust_weights(squared, solution.freedom)
        scale = np.sqrt(weights / variance)
        residuals = (problem.y - mean) * scale * robust_growth(squared, solution.freedom)
        found = clustered(problem.slopes(solution.point) * scale[:, None], residuals, groups[by])
        count = len(np.unique(groups[by]))
        words = f"sandwich covariance over {count} {by}s (CR2), Student t with Satterthwaite degrees of freedom"
        return found, none, (words, "")
    y, counts = problem.y[None], np.ones((1, len(rows)))
    if kind == "bootstrap-model" and groups["model"].max() == 0:
        raise InputError("One model cannot be resampled: every draw is the same. Use intervals by checkpoint.")
    if kind == "bootstrap-model":
        sizes = rows["parameters"] if "parameters" in rows else groups["model"].astype(float)
        distinct = min(2, len(np.unique(sizes)))
        counts = model_weights(groups["model"], sizes, intervals.replicates, generator, distinct)
        words = f"{intervals.replicates} bootstrap draws of {groups['model'].max() + 1} models"
    elif kind == "bootstrap-checkpoint":
        counts = checkpoint_weights(groups["model"], groups["checkpoint"], intervals.replicates, generator)
        words = f"{intervals.replicates} bootstrap draws of checkpoints within each model"
    else:
        y = simulated_tables(problem, solution, groups["model"], groups["checkpoint"], intervals.replicates, generator)
        words = f"{intervals.replicates} tables simulated from the fitted law and scatter"
    points, restless = replicate(problem, solution, counts, y)
    said = f"{restless} of {len(points)} bootstrap replicates did not converge" if restless else ""
    return None, points, (words, said)


def _intervals(
    problem: Problem, solution: Solution, clusters: Clustered | None, points: Array, level: float
) -> tuple[dict[str, float], dict[str, float], dict[str, tuple[float, float]]]:
    """Return standard errors (fitting scale), degrees of freedom and intervals (natural scale) by parameter."""
    from scipy.special import stdtrit

    if clusters is None:
        spread = points.std(axis=0, ddof=1)
        freedom = np.full(len(problem.free), np.inf)
        low, high = np.quantile(points, [(1 - level) / 2, (1 + level) / 2], axis=0)
    else:
        contrasts = np.eye(len(problem.free))
        spread = np.sqrt(clusters.variance(contrasts))
        freedom = clusters.degrees_of_freedom(contrasts)
        reach = stdtrit(freedom, (1 + level) / 2) * spread
        low, high = solution.point - reach, solution.point + reach
    low, high = np.clip(low, problem.lower, problem.upper), np.clip(high, problem.lower, problem.upper)
    lows, highs = problem.values(low), problem.values(high)
    return (
        {name: float(value) for name, value in zip(problem.free, spread)},
        {name: float(value) for name, value in zip(problem.free, freedom)},
        {name: (float(lows[name]), float(highs[name])) for name in problem.free},
    )
