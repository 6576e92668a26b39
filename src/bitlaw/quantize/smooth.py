"""SmoothQuant's migration (Xiao et al., arXiv 2211.10438, equation 4), weights only: W' = Q(W s) / s.

    s_j = max|x_j|^alpha / max_i|W_ij|^(1 - alpha)

s moves the outliers of inputs into the weights, so that both quantize: made for quantized activations. With weights alone
it gives channels with large inputs a finer share of the grid, as awq does, but without looking at the error it makes: at
few bits it can lose to nearest. Inputs never seen, and columns of zeros, keep s = 1. Stored: 16 bits for each s_j.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.method import CalibratedOptions, Method, Quantized, require_between
from bitlaw.quantize.scaled import from_scaled
from bitlaw.quantize.statistics import Statistics, require_inputs


@dataclass(frozen=True, kw_only=True)
class SmoothOptions(CalibratedOptions):
    """Settings: `alpha`, 0 to 1, how much of the inputs' range moves into the weights."""

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("alpha", self.alpha, 0.0, 1.0)


def smooth(weight: torch.Tensor, statistics: Statistics, format: Format, options: SmoothOptions) -> Quantized:
    """Return the weight rounded to nearest under the migration scale. weight [out, in] float32 -> [out, in].

    Raises HessianError for statistics that are missing, of the wrong size or not finite; NonFiniteError for a bad weight.
    """
    inputs = require_inputs(weight, statistics)
    scale = migration(inputs.largest, weight.abs().amax(0), options.alpha)
    return from_scaled(quantize_groups(weight * scale, format), scale, format)


def migration(largest_input: torch.Tensor, largest_weight: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return s of equation 4, [in], 1 where either side is 0."""
    scale = largest_input.pow(alpha) / largest_weight.pow(1.0 - alpha)
    return torch.where((largest_input > 0) & (largest_weight > 0), scale.clamp_min(1e-5), 1.0)


SMOOTH = Method(name="smooth", options=SmoothOptions, function=smooth)
