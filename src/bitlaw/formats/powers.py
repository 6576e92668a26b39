"""Arithmetic that must be exact on every device: powers of two by their bits (log2 is wrong beside one), division.

float32: 1 sign bit, 8 exponent bits, 23 fraction bits. Subnormals (below 2^-126) have no leading one.
"""

from __future__ import annotations

import torch

FRACTION_BITS = 23
EXPONENT_MASK = 0x7F800000
BIAS = 127


def floor_log2(x: torch.Tensor) -> torch.Tensor:
    """Return floor(log2 x) of positive finite float32 values, int32; -127 for zero and subnormals, which lie below 2^-126."""
    return (x.view(torch.int32) >> FRACTION_BITS) - BIAS


def ceil_log2(x: torch.Tensor) -> torch.Tensor:
    """Return ceil(log2 x) of positive finite float32 values, subnormals included, int32. Of 0 it is -127."""
    mantissa, exponent = torch.frexp(x)
    return torch.where(x == 0, -BIAS, exponent - (mantissa == 0.5).int())


def power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Return 2^exponent as float32. exponent int32 from -127 to 127 (2^-127 is subnormal)."""
    normal = ((exponent + BIAS) << FRACTION_BITS).view(torch.float32)
    return torch.where(exponent == -BIAS, 2.0**-BIAS, normal)


def binade_(x: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """Fill scratch with 2^floor(log2 |x|), elementwise (0 for subnormals, inf for NaN and inf), and return it."""
    torch.bitwise_and(x.view(torch.int32), EXPONENT_MASK, out=scratch.view(torch.int32))
    return scratch


def divided(x: torch.Tensor, number: float) -> torch.Tensor:
    """Return x / number, rounded once. CUDA multiplies by the reciprocal of a Python number, which rounds twice."""
    return x / torch.full((), number, dtype=x.dtype, device=x.device)
