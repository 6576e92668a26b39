"""Can this table tell the parameters apart? Warnings in words about designs that cannot."""

from __future__ import annotations

import numpy as np

from bitlaw.fit.problem import Problem
from bitlaw.fit.solve import Solution, shrunk_slopes
from bitlaw.fit.table import Table
from bitlaw.laws import VARIABLES, Law

RAY = 0.999  # correlation of log D with log N above which they are one direction
BEFOREHAND = 0.5  # variance left of a prior's from which the rows hardly told the parameter
DECAY = -0.8  # correlation of log learning rate with log D, within models, from which their effects are confounded
FLAT = 1e-10  # smallest over largest eigenvalue of the scaled information below which a direction is unknown


def design_warnings(
    law: Law, rows: Table, problem: Problem, solution: Solution, factors: tuple[str, ...] = ()
) -> list[str]:
    """Return sentences about what the rows cannot tell. factors: the text columns that have offsets."""
    said = []
    variables = [name for name in law.variables if name in VARIABLES]
    single = [name for name in variables if len(np.unique(rows[name])) == 1]
    for name in single:
        what = VARIABLES[name]
        said.append(
            f"all rows have one value of {name} ({what.symbol} = {rows[name][0]:g}): its exponent cannot be told from "
            "the scale; fix it, or add rows"
        )
    if "parameters" in law.variables and "parameters" in rows and len(np.unique(rows["parameters"])) == 2:
        said.append("two sizes determine the exponent of size exactly: nothing is left to judge it by")
    if {"parameters", "tokens"} <= set(law.variables) and not single:
        correlation = np.corrcoef(np.log(rows["parameters"]), np.log(rows["tokens"]))[0, 1]
        if abs(correlation) > RAY:
            said.append("tokens grow in step with parameters (one ray of D/N): their exponents cannot be told apart")
    if "tokens" in law.variables and "learning_rate" not in law.variables:
        said += _decay(rows)
    if "method" in rows and "method" not in factors and len(methods := np.unique(rows["method"])) > 1:
        said.append(f"{len(methods)} methods in one fit ({', '.join(methods)}): filter with where(method=...)")
    if "suite" in rows and "suite" not in factors and len(suites := np.unique(rows["suite"])) > 1:
        said.append(f"{len(suites)} suites in one fit ({', '.join(suites)}): constants differ between families")
    if problem.censored.any() and problem.censored.mean() > 0.5:
        said.append(f"{int(problem.censored.sum())} of {len(rows)} rows collapsed: the law is told by few")
    slopes = shrunk_slopes(problem, problem.slopes(solution.point))
    length = np.sqrt(np.sum(slopes**2, axis=0))
    if np.any(length == 0.0):
        flat = [name for name, size in zip(problem.free, length) if size == 0.0]
        said.append(f"no row depends on {', '.join(flat)}: its value is a starting value, not a result")
    else:
        spread = np.linalg.eigvalsh((slopes / length).T @ (slopes / length))
        if spread[0] < FLAT * spread[-1] and not single:
            said.append(f"some combination of {', '.join(problem.free)} is not determined by these rows")
    said += _told_beforehand(problem, solution)
    if solution.agreeing < solution.starts / 2:
        said.append(f"only {solution.agreeing} of {solution.starts} starts ended at the same optimum")
    if solution.at_bound:
        said.append(f"{solution.outcome}; its interval reaches only into the allowed side")
    return said


def _told_beforehand(problem: Problem, solution: Solution) -> list[str]:
    """Return a sentence about parameters that the law's priors tell and the rows hardly do."""
    mean = problem.mean(solution.point)
    slopes = problem.slopes(solution.point) * np.sqrt(problem.weights / solution.variance(mean, problem.se))[:, None]
    covariance = np.linalg.pinv(slopes.T @ slopes + np.diag(1.0 / problem.prior**2))
    share = np.diag(covariance) / problem.prior**2
    told = [name for name, part in zip(problem.free, share) if part > BEFOREHAND and not name.startswith("offset:")]
    return [f"{', '.join(told)}: told by what is known beforehand, hardly by these rows"] if told else []


def _decay(rows: Table) -> list[str]:
    """Return a sentence if within models tokens grow while the learning rate falls: two causes, one column."""
    if "learning_rate" not in rows or not {"model", "parameters"} & set(rows.columns):
        return []
    known = np.isfinite(rows["learning_rate"]) & (rows["learning_rate"] > 0)
    models = rows.clusters("model")[known]
    pair = np.stack([np.log(rows["tokens"][known]), np.log(rows["learning_rate"][known])])
    for model in np.unique(models):
        pair[:, models == model] -= pair[:, models == model].mean(axis=1, keepdims=True)
    spread = pair.std(axis=1) if pair.size else np.zeros(2)
    if np.any(spread < 1e-6):
        return []
    together = float(np.mean(pair[0] * pair[1]) / np.prod(spread))
    if together > DECAY:
        return []
    return [
        f"within models the learning rate falls as tokens grow (correlation {together:.2f}): degradation that decay "
        "causes counts as the tokens', and a schedule of another length will differ"
    ]
