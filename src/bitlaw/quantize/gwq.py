"""GWQ (Shao et al., arXiv 2411.00850): the 1 % of weights with the largest gradients stay 16 bit, the rest go to nearest.

Gradients are those of the calibration loss in the unquantized model, mean |g| over batches (`bitlaw.sweep.gradients`); the
authors need one batch, more only lower the noise. Kept weights do not widen their group's range. Stored: the format's
bits for every weight, and 16 bits and an index of log2(out in) bits for each weight that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.method import GRADIENTS, Method, Quantized, format_bits, require_between
from bitlaw.quantize.outliers import sparse_bits, top_share
from bitlaw.quantize.statistics import Statistics, require_gradients


@dataclass(frozen=True, kw_only=True)
class GwqOptions:
    """Settings: the share of a layer's weights that stay 16 bit."""

    share: float = 0.01

    def __post_init__(self) -> None:
        require_between("share", self.share, 0.0, 1.0)


def gwq(weight: torch.Tensor, statistics: Statistics, format: Format, options: GwqOptions) -> Quantized:
    """Return the weight rounded to nearest but for the kept weights. weight [out, in] float32 -> [out, in].

    Raises InputError for gradients that are missing or of another shape, NonFiniteError for NaN or infinite values.
    """
    gradients = require_gradients(weight, statistics)
    kept = top_share(gradients.absolute, options.share)
    rest = quantize_groups(weight.masked_fill(kept, 0.0), format)
    bits = format_bits(weight, format) + sparse_bits(int(kept.sum()), weight.numel())
    return Quantized(weight=torch.where(kept, weight, rest), stored_bits=bits)


GWQ = Method(name="gwq", options=GwqOptions, function=gwq, needs=lambda options: frozenset({GRADIENTS}))
