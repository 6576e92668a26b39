"""Quantization methods: functions on (weight, statistics, format). They know no layer, hook or device.

To add one: write `quantize/<name>.py` with an options dataclass, a function `(weight, statistics, format, options) ->
weight`, and a `Method` that joins them; add one line to `catalog.METHODS`. `tests/quantize/test_conformance.py` picks
it up with every format it can serve.
"""

from bitlaw.quantize.method import Method, Quantized, find_method, make_variant, needs_calibration
from bitlaw.quantize.statistics import InputStatistics, WeightGradients

__all__ = [
    "InputStatistics",
    "Method",
    "Quantized",
    "WeightGradients",
    "find_method",
    "make_variant",
    "needs_calibration",
]
