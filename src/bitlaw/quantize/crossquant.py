"""CrossQuant (Liu et al., arXiv 2410.07505): the scale of element (i, j) is row maximum^a times column maximum^(1 - a).

    W' = Q(W / t) t        t_ij = r_i^a c_j^(1 - a), r_i = max_j |W_ij|, c_j = max_i |W_ij|

W / t lies within -1 and 1 and touches it, so one grid serves the whole matrix: the format's parameters are chosen from
W / t as one group. With groups, r_i is the maximum of the row's group. a = 1 with symmetric integers is nearest. The
authors quantize activations so, where columns hold the outliers, with a near 0; `crossquant_round` works on any matrix, and
`error.kernel_share` measures the quantization kernel that the method is made to shrink. For weights, whose outliers are in no
column, the default a = 0.9 stays near nearest. Stored: the code, 16 bits for each r and each c, and the one grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.quantize.arrangement import group_ranges
from bitlaw.quantize.method import Method, Quantized, require_between
from bitlaw.quantize.statistics import Statistics, require_finite

SCALE_BITS = 16


@dataclass(frozen=True, kw_only=True)
class CrossquantOptions:
    """Settings: `alpha`, the row's share of the exponent, 0 to 1."""

    alpha: float = 0.9

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 0.0, 1.0)


def crossquant(weight: torch.Tensor, statistics: Statistics, format: Format, options: CrossquantOptions) -> Quantized:
    """Return the weight rounded on row-and-column scales. weight [out, in] float32 -> [out, in]; no statistics.

    Raises NonFiniteError for a bad weight.
    """
    require_finite(weight)
    rows, columns = weight.shape
    scales = rows * len(group_ranges(columns, format)) + columns
    grid_bits = format.parameter_bits + format.tensor_bits
    bits = weight.numel() * format.bits + scales * SCALE_BITS + grid_bits
    return Quantized(weight=crossquant_round(weight, format, options.alpha), stored_bits=bits)


def crossquant_round(values: torch.Tensor, format: Format, alpha: float) -> torch.Tensor:
    """Return values on row-and-column scales. values [rows, columns] (weights, or tokens x features) -> same shape."""
    of_rows = torch.empty_like(values)
    for start, stop in group_ranges(values.shape[1], format):
        of_rows[:, start:stop] = values[:, start:stop].abs().amax(1, keepdim=True)
    scale = of_rows.pow(alpha) * values.abs().amax(0).pow(1.0 - alpha)
    scale = torch.where(scale > 0, scale, 1.0)
    flat = (values / scale).reshape(1, -1)
    bound = format.prepare(flat)
    return bound.round(flat, bound.parameters(flat)).reshape(values.shape) * scale


CROSSQUANT = Method(name="crossquant", options=CrossquantOptions, function=crossquant)
