"""`fit(law, table)`: the one function of this room. It returns a new Fit and changes nothing it was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit.bootstrap import checkpoint_weights, model_weights, replicate, simulated_tables
from bitlaw.fit.clustered import Clustered, Groups, clustered
from bitlaw.fit.collapsed import collapsed
from bitlaw.fit.criteria import criteria
from bitlaw.fit.design import design_warnings
from bitlaw.fit.ends import drifts_of
from bitlaw.fit.huber import solve_huber
from bitlaw.fit.offsets import indicators, indices, levels_of, with_offsets
from bitlaw.fit.problem import Beforehand, Problem, from_point
from bitlaw.fit.result import Data, Fit, Scatter, Scores
from bitlaw.fit.settings import Collapse, Intervals, Noise
from bitlaw.fit.solve import Solution, solve, start_points
from bitlaw.fit.table import NUMBERS, Table
from bitlaw.laws import VARIABLES, Law, definition, law_names, load_law
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
    tied: Mapping[str, str] | None = None,
    free: Iterable[str] = (),
    offsets: Iterable[str] = (),
    collapse: Collapse | None = None,
    weights: str | None = None,
    priors: Beforehand = True,
    starts: int = 8,
    seed: int = 0,
    threshold: float = SCORE_THRESHOLD,
) -> Fit:
    """Fit a law to a table.

    law: a Law or a name in the catalog. fixed: parameters held at a value; tied: parameter -> the one it equals;
    free: parameters that the law itself would hold or tie. offsets: text columns (`method`, `family`, `suite`, ...)
    whose values each get a factor of their own, shrunk towards 1. collapse: what becomes of broken models; without it
    they stay as measured. weights: a column that says how much each row counts. priors: whether what a law knows of its
    parameters beforehand takes part, or what is known instead: {parameter: (centre, standard deviation)} on the fitting
    scale (logarithms of positive scales). starts: how many starting points.
    seed: of the generator behind starts and replicates; the same seed gives the same Fit. threshold: smallest
    measured value, nats, that counts in the scores on a log scale. A law of the 16-bit loss is fitted to one row a
    checkpoint. Raises InputError for missing columns or fewer rows than free parameters.
    """
    intervals = intervals or Intervals()
    found = solved(
        law,
        table,
        noise=noise,
        fixed=fixed,
        tied=tied,
        free=free,
        offsets=offsets,
        collapse=collapse,
        weights=weights,
        priors=priors,
        starts=starts,
        seed=seed,
    )
    base, law, rows, censored, levels = found.base, found.law, found.rows, found.problem.censored, found.levels
    noise, problem, solution, generator = found.noise, found.problem, found.solution, found.generator
    warnings = [*rows.warnings, *design_warnings(law, rows, problem, solution, tuple(levels))]
    groups = {by: rows.clusters(by) for by in ("model", "checkpoint")} | {"row": np.arange(len(rows))}
    kind = _choose(intervals.kind, groups)
    clusters, points, words = _uncertainty(problem, solution, kind, intervals, groups, rows, generator)
    warnings += [f"{words[1]}"] if words[1] else []
    errors, freedom, bounds = _intervals(problem, solution, clusters, points, intervals.level)
    if unjudged := [name for name in problem.free if not np.isfinite(errors[name])]:
        warnings.append(
            f"nothing is left to judge {', '.join(unjudged)} by: single groups of rows determine them, so their intervals "
            "are as wide as the law allows; add models or fix parameters"
        )
    values = {name: float(value) for name, value in problem.values(solution.point).items()}
    drawn = from_point(law, problem.free, {}, points) if len(points) else {}
    likelihood, aic, bic = criteria(problem, solution, noise)
    scores = score(rows[law.target][~censored], problem.nats(solution.point)[~censored], threshold)
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
        fixed=dict(problem.fixed),
        outcome=solution.outcome,
        starts=solution.starts,
        starts_agreeing=solution.agreeing,
        scatter=Scatter(
            kind=noise.kind,
            relative=solution.relative,
            floor=solution.floor,
            freedom=solution.robust.freedom,
        ),
        scores=replace(scores, log_likelihood=likelihood, aic=aic, bic=bic),
        fitted={
            name: (float(rows[name].min()), float(rows[name].max()))
            for name in dict.fromkeys(("parameters", "tokens", "bits", *base.variables))
            if name in rows and np.all(np.isfinite(rows[name]))
        },
        data=_describe(rows, int(censored.sum())),
        seed=seed,
        warnings=tuple(warnings),
        covariance=clusters.matrix() if clusters else np.cov(points.T).reshape(len(problem.free), -1),
        clusters=clusters,
        draws=np.concatenate([drawn[name] for name in problem.free], axis=1)
        if drawn
        else np.zeros((0, len(problem.free))),
        tied=dict(problem.tied),
        levels=levels,
        offset_spreads=dict(solution.spreads),
        drift=drifts_of(problem, solution, rows),
        definition=None if law.name in law_names() and load_law(law.name) is base else definition(base),
        own_law=None if law.name in law_names() and load_law(law.name) is base else base,
    )


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A fit before anyone asked how sure it is: the law with and without offsets, its rows, its arrays, where it ended."""

    base: Law
    law: Law
    rows: Table
    levels: Mapping[str, tuple[str, ...]]
    noise: Noise
    problem: Problem
    solution: Solution
    generator: np.random.Generator


def solved(
    law: Law | str,
    table: Table,
    *,
    noise: Noise | None = None,
    fixed: Mapping[str, float] | None = None,
    tied: Mapping[str, str] | None = None,
    free: Iterable[str] = (),
    offsets: Iterable[str] = (),
    collapse: Collapse | None = None,
    weights: str | None = None,
    priors: Beforehand = True,
    starts: int = 8,
    seed: int = 0,
) -> Solved:
    """Return the solution of a fit, without intervals. Arguments and errors: as for `fit`."""
    law = base = load_law(law) if isinstance(law, str) else law
    noise = noise or Noise()
    logs = noise.kind == "huber"
    rows = _usable(law, table, logs)
    rows, censored = collapsed(rows, law.target, collapse)
    levels = levels_of(rows, offsets)
    law = with_offsets(law, levels)
    if levels:
        rows = replace(rows, columns={**rows.columns, **indicators(rows.columns, levels)})
    problem = Problem.of(
        law,
        rows,
        fixed or {},
        tied,
        free,
        weights=_weights(rows, weights),
        censored=censored,
        log=logs,
        priors=priors,
    )
    count = len(problem.free) - sum(map(len, levels.values())) - int(np.sum(np.isfinite(problem.prior)))
    if len(rows) < count:
        raise InputError(
            f"{len(rows)} rows cannot determine the {count} parameters of {law.name!r} "
            f"({', '.join(problem.free)}). Measure more checkpoints, or fix parameters with fixed={{name: value}}."
        )
    generator = np.random.default_rng(seed)
    begin, factors = start_points(problem, starts, generator), indices(problem.free, levels)
    solution = solve_huber(problem, noise, begin) if logs else solve(problem, noise, begin, factors)
    problem = replace(problem, prior=_prior(problem, solution, factors))
    return Solved(
        base=base,
        law=law,
        rows=rows,
        levels=levels,
        noise=noise,
        problem=problem,
        solution=solution,
        generator=generator,
    )


def _prior(problem: Problem, solution: Solution, factors: Mapping[str, Array]) -> Array:
    prior = np.array(problem.prior)
    for name, where in factors.items():
        prior[where] = solution.spreads[name]
    return prior


def _weights(rows: Table, column: str | None) -> Array | None:
    if column is None:
        return None
    found = np.asarray(rows[column], dtype=float)
    if not np.all(np.isfinite(found) & (found > 0)):
        raise InputError(f"Weights in column {column!r} must be finite and above 0. Leave rows out with where(...).")
    return found


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


def _usable(law: Law, table: Table, logs: bool) -> Table:
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
        zero = VARIABLES[name].zero
        if np.any(rows[name][known] < 0) or (not zero and np.any(rows[name][known] == 0)):
            raise InputError(
                f"Column {name!r} of {table.source} has values {'below 0' if zero else 'of 0 or less'}. "
                f"Law {law.name!r} needs them {'at least' if zero else 'above'} 0."
            )
    if logs:
        rows = _without(
            rows, rows[law.target] > 0, known, f"rows with {law.target} of 0 or less, which have no logarithm"
        )
        known = np.all([np.isfinite(rows[name]) for name in needed], axis=0)
    return _without(rows, known, known, f"rows without {', '.join(needed)}")


def _without(rows: Table, keep: NDArray[np.bool_], known: NDArray[np.bool_], reason: str) -> Table:
    """Return the rows to keep; rows that are not known are judged elsewhere, unless `keep` says so."""
    out = ~keep if keep is known else ~keep & known
    if not out.any():
        return rows
    left_out = {**rows.left_out, reason: int(out.sum())}
    return replace(rows.take(~out), left_out=left_out)


def _describe(rows: Table, censored: int) -> Data:
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
        censored=censored,
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
        variance = solution.variance(mean, problem.se) / problem.weights
        y = problem.complete(mean, np.sqrt(variance))
        squared = (y - mean) ** 2 / variance
        scale = np.sqrt(solution.robust.weights(squared) / variance)
        residuals = (y - mean) * scale * solution.robust.growth(squared)
        slopes = problem.slopes(solution.point) * scale[:, None]
        found = clustered(slopes, residuals, groups[by], problem.beyond_slopes())
        count = len(np.unique(groups[by]))
        words = f"sandwich covariance over {count} {by}s (CR2), Student t with Satterthwaite degrees of freedom"
        return found, none, (words, "")
    if kind == "posterior":
        from bitlaw.fit.posterior import sample

        drawn = sample(problem, solution, groups["model"], groups["checkpoint"], intervals.replicates, generator)
        return None, drawn.points, (drawn.words, drawn.warning)
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
    errors = {name: float(value) for name, value in zip(problem.free, spread)}
    freedoms = {name: float(value) for name, value in zip(problem.free, freedom)}
    bounds = {name: (float(lows[name]), float(highs[name])) for name in problem.free}
    for name, leader in problem.tied.items():
        errors[name], freedoms[name], bounds[name] = errors[leader], freedoms[leader], bounds[leader]
    return errors, freedoms, bounds
