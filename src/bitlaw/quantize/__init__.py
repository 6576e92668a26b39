"""Quantization methods: functions on (weight, statistics, format). They know no layer, hook or device.

To add one: write `quantize/<name>.py` with an options dataclass (a child of `CalibratedOptions` if it looks at layer inputs), a
function `(weight, statistics, format, options) -> weight` (or a `Quantized`, where storage takes other bits than the
format's), and a `Method` that joins them; add one line to `catalog.METHODS` and one to `docs/methods.md`.
`tests/quantize/test_conformance.py` picks it up with every format.

method.py      what a method is; statistics.py  what it may look at (triangular.py: its factor's inverse); error.py  what it does to a layer's output
columns.py     the column loop of every GPTQ; scaled.py, rotation.py, outliers.py  parts that methods share
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
