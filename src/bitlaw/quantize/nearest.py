"""Round to nearest (RTN): every weight to the nearest value of its group's grid. Looks at weights only."""

from __future__ import annotations

import torch

from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.method import Method, NoOptions
from bitlaw.quantize.statistics import Statistics


def nearest(weight: torch.Tensor, statistics: Statistics, format: Format, options: NoOptions) -> torch.Tensor:
    """Return the nearest grid value of each weight. weight [out, in] -> [out, in]; statistics are not looked at."""
    return quantize_groups(weight, format)


NEAREST = Method(name="nearest", options=NoOptions, function=nearest)
