"""HQQ (Badri & Shaji 2023, half-quadratic quantization): the zero point that makes the error sparse; no calibration.

Minimises sum |W - dequantize(W)|^p with p = 0.7 over the zero point z of each group, the scale s kept, by alternating

    Q = clamp(round(W s + z), 0, 2^bits - 1)        R = (Q - z) / s
    E = shrink(W - R)                               z = mean over the group of Q - (W - E) s
    shrink(x) = sign(x) max(|x| - |x|^(p - 1) / beta, 0)

until the mean |W - R| of the whole weight stops falling, at most `iterations` times. As in the authors' package (hqq
0.2.8, axis 1, the default solver), s = (2^bits - 1) / (max - min), z starts at -min s (rounded at 4 bits), the last z is
kept even where it was the one that stopped the search, and beta stays 10: the article has it grow by kappa = 1.01 with
every iteration, but that solver does not. The grid has a real-valued zero point, so the format gives the width and the
groups only: asymmetric integers without another scale rule. Stored: code, 16-bit scale, 16-bit zero point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format
from bitlaw.formats.grouping import group_starts, group_width
from bitlaw.formats.integer import IntegerFormat
from bitlaw.quantize.method import Method, Quantized, require_between, require_whole
from bitlaw.quantize.statistics import Statistics, require_finite

SCALE_AND_ZERO_BITS = 32


@dataclass(frozen=True, kw_only=True)
class HqqOptions:
    """Settings: `norm` is p, 0 to 1; `iterations` at most; `beta` and its growth `kappa` weigh the shrinking."""

    norm: float = 0.7
    beta: float = 10.0
    kappa: float = 1.0
    iterations: int = 20

    def __post_init__(self) -> None:
        require_between("norm", self.norm, 0.0, 1.0)
        require_between("beta", self.beta, 1e-6, 1e12)
        require_between("kappa", self.kappa, 1.0, 100.0)
        require_whole("iterations", self.iterations, 1)


def hqq(weight: torch.Tensor, statistics: Statistics, format: Format, options: HqqOptions) -> Quantized:
    """Return the HQQ-quantized weight. weight [out, in] float32 -> [out, in]; no statistics.

    Raises InputError for a format that is not asymmetric integers, NonFiniteError for a bad weight.
    """
    if not isinstance(format, IntegerFormat) or format.symmetric or format.per_tensor or format.rule != "absmax":
        raise InputError(
            f"hqq chooses scale and zero point itself: it serves asymmetric integers such as int4_g64, not {format.name}."
        )
    require_finite(weight)
    columns = weight.shape[1]
    width = group_width(columns, format)
    whole = columns // width * width
    parts = [weight[:, :whole].reshape(len(weight), -1, width)]
    if whole < columns:
        parts.append(weight[:, whole:].unsqueeze(1))
    quantized = torch.cat([half_quadratic(part, format.bits, options).flatten(1) for part in parts], 1)
    groups = len(weight) * len(group_starts(columns, format))
    return Quantized(weight=quantized, stored_bits=weight.numel() * format.bits + groups * SCALE_AND_ZERO_BITS)


def half_quadratic(groups: torch.Tensor, bits: int, options: HqqOptions) -> torch.Tensor:
    """Return the groups rounded on the grids that the search ends with. groups [..., n], float32 -> [..., n]."""
    highest = 2**bits - 1
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = torch.where(high - low <= 1e-4, 1.0, highest / (high - low)).clamp_max(2e4)
    zero = -low * scale
    if bits == 4:
        zero = torch.round(zero)
    beta = options.beta
    least = math.inf
    for _ in range(options.iterations):
        codes = torch.round(groups * scale + zero).clamp(0, highest)
        values = (codes - zero) / scale
        zero = (codes - (groups - shrink(groups - values, beta, options.norm)) * scale).mean(-1, keepdim=True)
        beta *= options.kappa
        error = float((groups - values).abs().mean())
        if error >= least:
            break
        least = error
    codes = torch.round(groups * scale + zero).clamp(0, highest)
    return (codes - zero) / scale


def shrink(x: torch.Tensor, beta: float, norm: float) -> torch.Tensor:
    """Return the generalised soft threshold of x, the proximal step of |x|^norm / beta. Any shape."""
    magnitude = x.abs()
    return torch.sign(x) * (magnitude - magnitude.pow(norm - 1.0) / beta).clamp_min(0.0)


HQQ = Method(name="hqq", options=HqqOptions, function=hqq)
