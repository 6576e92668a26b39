"""From a plan to records: which variants of which checkpoints are missing in the store, measured and kept one checkpoint at a time.

plan.py      what to measure: variants, texts, windows; read from TOML or made by flags
job.py       one checkpoint with all its missing variants -> measurements; runs anywhere, writes nothing
foreign.py   what other tools quantized, beside its 16-bit original
running.py   skip what the store has, run jobs here, in processes or on Ray, store each result as it comes
"""

from bitlaw.measure.plan import MeasurePlan, measure_plan, read_plan
from bitlaw.measure.running import MeasureSummary, measure

__all__ = ["MeasurePlan", "MeasureSummary", "measure", "measure_plan", "read_plan"]
