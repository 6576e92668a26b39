"""Scaling a layer's inputs: W x = (W s)(x / s). Shared by awq, awq_gptq and smooth, which choose s differently."""

from __future__ import annotations

import torch

from bitlaw.formats import Format
from bitlaw.quantize.method import Quantized, format_bits
from bitlaw.quantize.statistics import InputStatistics

SCALE_BITS = 16


def scaled_statistics(inputs: InputStatistics, scale: torch.Tensor) -> InputStatistics:
    """Return the statistics of x / s. scale [in]."""
    return InputStatistics.from_hessian(inputs.hessian / torch.outer(scale, scale))


def from_scaled(quantized: torch.Tensor, scale: torch.Tensor, format: Format) -> Quantized:
    """Return Q(W s) / s with its storage: the format's, and 16 bits for each s_j. quantized [out, in], scale [in].

    Runtimes fold s into the operation before the layer where there is one, and then store nothing; it is counted here.
    """
    bits = format_bits(quantized, format) + SCALE_BITS * scale.numel()
    return Quantized(weight=quantized / scale, stored_bits=bits)
