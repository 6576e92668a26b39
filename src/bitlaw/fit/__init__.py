"""Measurements -> table -> Fit: parameters with intervals, a noise model, and words about how it went.

    from bitlaw.fit import Table, fit
    table = Table.from_measurements(store.measurements())        # or Table.from_csv("mine.csv")
    result = fit("ouyang2024-unified", table.where(method="gptq"))
    result.values, result.intervals, result.outcome, result.warnings, result.scores
    curve = result.predict({"parameters": n, "tokens": d, "bits": 2.0})
    low, high = result.band({"parameters": n, "tokens": d, "bits": 2.0})
    result.to_json("fit.json"); Fit.from_json(Path("fit.json"))

To add a kind of interval: write it in a file of its own beside bootstrap.py, name it in `settings.INTERVAL_KINDS`, call
it in `fitting._uncertainty`; benchmarks/fit_coverage.py measures whether it covers. To add a law see `bitlaw.laws`.
Importing this room loads numpy only; scipy is loaded by the first fit.
"""

from bitlaw.fit.fitting import fit, score
from bitlaw.fit.result import Data, Fit, Scatter, Scores
from bitlaw.fit.settings import INTERVAL_KINDS, Intervals, Noise
from bitlaw.fit.table import Table

__all__ = ["INTERVAL_KINDS", "Data", "Fit", "Intervals", "Noise", "Scatter", "Scores", "Table", "fit", "score"]
