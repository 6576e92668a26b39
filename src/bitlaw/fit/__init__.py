"""Measurements -> table -> Fit: parameters with intervals, a noise model, and words about how it went.

    from bitlaw.fit import Table, fit
    table = Table.from_measurements(store.measurements())        # or Table.from_csv("mine.csv")
    result = fit("ouyang2024-unified", table.where(method="gptq"))
    result.values, result.intervals, result.outcome, result.warnings, result.scores
    curve = result.predict({"parameters": n, "tokens": d, "bits": 2.0})
    low, high = result.band({"parameters": n, "tokens": d, "bits": 2.0})
    result.to_json("fit.json"); Fit.from_json(Path("fit.json"))
    print(compare(["bitlaw-growth", "ouyang2024-unified"], table).text())      # judged on rows left out

To add a kind of interval: write it in a file of its own beside bootstrap.py, name it in `settings.INTERVAL_KINDS`, call
it in `fitting._uncertainty`; benchmarks/fit_coverage.py measures whether it covers. To add a law see `bitlaw.laws`.
Importing this room loads nothing but what is asked of it, so that `bitlaw predict` starts fast: a `Fit` is read without
the solver, and scipy is loaded by the first fit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitlaw.fit.comparing import Comparison, Contender, compare
    from bitlaw.fit.fitting import fit, score
    from bitlaw.fit.holdout import Holdout
    from bitlaw.fit.joining import joined
    from bitlaw.fit.paired import Difference, difference
    from bitlaw.fit.profiling import Profile, profile
    from bitlaw.fit.public import public_table
    from bitlaw.fit.result import Data, Fit, Scatter, Scores
    from bitlaw.fit.settings import INTERVAL_KINDS, Collapse, Intervals, Noise
    from bitlaw.fit.stored_bits import frontier
    from bitlaw.fit.table import Table

_WHERE = {
    "frontier": "stored_bits",
    "profile": "profiling",
    "Profile": "profiling",
    "public_table": "public",
    "compare": "comparing",
    "Comparison": "comparing",
    "Contender": "comparing",
    "Difference": "paired",
    "difference": "paired",
    "fit": "fitting",
    "Holdout": "holdout",
    "joined": "joining",
    "score": "fitting",
    "Data": "result",
    "Fit": "result",
    "Scatter": "result",
    "Scores": "result",
    "INTERVAL_KINDS": "settings",
    "Collapse": "settings",
    "Intervals": "settings",
    "Noise": "settings",
    "Table": "table",
}

__all__ = [
    "INTERVAL_KINDS",
    "Collapse",
    "Comparison",
    "Contender",
    "Data",
    "Difference",
    "Fit",
    "Holdout",
    "Intervals",
    "Noise",
    "Profile",
    "Scatter",
    "Scores",
    "Table",
    "compare",
    "difference",
    "fit",
    "frontier",
    "joined",
    "profile",
    "public_table",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"bitlaw.fit has no {name!r}. It has: {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"bitlaw.fit.{_WHERE[name]}"), name)
