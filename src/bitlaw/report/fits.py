"""Which fit belongs to which setup, and the unified law fitted where the caller gave none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.fit import Fit, Table, fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup

UNIFIED = "ouyang2024-unified"


def fit_setups(experiment: Experiment) -> tuple[dict[Setup, list[Fit]], list[str]]:
    """Fit the unified law to each setup -> its fits, and a sentence for every setup that cannot be fitted."""
    found: dict[Setup, list[Fit]] = {}
    said: list[str] = []
    for setup, rows in experiment.quantized.items():
        try:
            found[setup] = [fit(UNIFIED, Table.from_measurements(rows, source=f"{experiment.suite}, {setup.label}"))]
        except InputError as error:
            said.append(f"No law is fitted to {setup.label}: {error}")
    return found, said


def assign_fits(
    fits: Iterable[Fit] | Mapping[str, Fit], experiments: Sequence[Experiment]
) -> dict[tuple[str, Setup], list[Fit]]:
    """Return (experiment title, setup) -> the fits made from its method and suite; raises InputError for one of neither."""
    found: dict[tuple[str, Setup], list[Fit]] = {}
    for one in fits.values() if isinstance(fits, Mapping) else fits:
        homes = [
            (experiment.title, setup)
            for experiment in experiments
            for setup in experiment.quantized
            if setup.method in one.data.methods and (not one.data.suites or experiment.suite in one.data.suites)
        ]
        if not homes:
            raise InputError(
                f"The fit of {one.law!r} was made from methods {', '.join(one.data.methods) or 'unknown'} of suites "
                f"{', '.join(one.data.suites) or 'unknown'}, which these measurements do not hold. "
                "Report it with the measurements it was fitted to."
            )
        for home in homes:
            found.setdefault(home, []).append(one)
    return found


def law_columns(rows: Sequence[Measurement]) -> dict[str, NDArray[np.float64]]:
    """Return the columns a law may read, each [n]; NaN where a measurement does not know one."""

    def column(values: Iterable[Any]) -> NDArray[np.float64]:
        return np.array([np.nan if v is None else v for v in values], dtype=float)

    checkpoints = [m.asked.checkpoint for m in rows]
    return {
        "parameters": column(c.parameters for c in checkpoints),
        "tokens": column(c.tokens for c in checkpoints),
        "learning_rate": column(c.learning_rate for c in checkpoints),
        "peak_learning_rate": column(c.peak_learning_rate for c in checkpoints),
        "bits": column(m.asked.variant.bits for m in rows),
        "group_size": column(m.asked.variant.group_size for m in rows),
        "bits_per_weight": column(m.seen.bits_per_weight for m in rows),
        "baseline_loss": column(m.baseline_loss for m in rows),
    }


def draws_curves(one: Fit) -> bool:
    """Whether the law is a degradation of size, tokens and bits alone, so that its curve can be drawn between points."""
    return one.target == "qid" and set(one.formula().variables) <= {"parameters", "tokens", "bits"}
