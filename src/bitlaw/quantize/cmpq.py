"""CMPQ (Chen et al., arXiv 2410.13056): every input channel its own width and its own grid, for any average from 2 to 4 bits.

A channel is a column W[:, j]: what one input is multiplied with. Widths 2, 3 or 4 follow the activation norm
h_j = mean x_j^2. The paper's own allocation was not at hand in full: here every channel begins at 2 bits, and single bits
go where the modelled error h_j 4^-b falls most, until the average is reached. Each column is then rounded on its own grid: a
codebook where the format is one (k-means, as the authors have it), else uniform. Two protections keep weights in 16 bits:
the `channel_outliers` share of channels with the largest mean |x|, and the `weight_outliers` share of the others with the
largest |W - Q|. Stored: each column's codes and grid, 2 bits a column for its width, and the protected weights.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.method import CalibratedOptions, Method, Quantized, format_bits, require_between
from bitlaw.quantize.outliers import VALUE_BITS, sparse_bits, top_share
from bitlaw.quantize.statistics import Statistics, require_inputs

WIDTHS = (2, 3, 4)
WIDTH_BITS = 2


@dataclass(frozen=True, kw_only=True)
class CmpqOptions(CalibratedOptions):
    """Settings: `average_bits` from 2 to 4, 0 for the format's own width; shares of channels and weights kept in 16 bits."""

    average_bits: float = 0.0
    channel_outliers: float = 0.005
    weight_outliers: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average_bits != 0:
            require_between("average_bits", self.average_bits, WIDTHS[0], WIDTHS[-1])
        require_between("channel_outliers", self.channel_outliers, 0.0, 1.0)
        require_between("weight_outliers", self.weight_outliers, 0.0, 1.0)


def cmpq(weight: torch.Tensor, statistics: Statistics, format: Format, options: CmpqOptions) -> Quantized:
    """Return the weight with every column on its own grid. weight [out, in] float32 -> [out, in].

    Raises InputError for a format without the widths 2, 3 and 4; HessianError and NonFiniteError for bad statistics
    or weights.
    """
    average = nominal_bits(format, options)
    column_formats = {bits: column_format(format, bits) for bits in WIDTHS}
    inputs = require_inputs(weight, statistics)
    protected = top_share(inputs.magnitude, options.channel_outliers)
    widths = allocate(inputs.hessian.diagonal(), average)
    quantized = weight.clone()
    stored = protected.sum().item() * (len(weight) * VALUE_BITS + math.ceil(math.log2(max(weight.shape[1], 2))))
    for bits, of_column in column_formats.items():
        chosen = torch.nonzero((widths == bits) & ~protected).flatten()
        if len(chosen):
            columns = weight[:, chosen].T.contiguous()  # a column as a row: one group
            quantized[:, chosen] = quantize_groups(columns, of_column).T
            stored += format_bits(columns, of_column) + WIDTH_BITS * len(chosen)
    kept = top_share((weight - quantized).abs(), options.weight_outliers) & ~protected
    stored += sparse_bits(int(kept.sum()), weight.numel())
    return Quantized(weight=torch.where(kept, weight, quantized), stored_bits=stored)


def nominal_bits(format: Format, options: CmpqOptions) -> float:
    """Return the average bits of a code. Raises InputError for a format's own width outside 2 to 4."""
    average = options.average_bits or float(format.bits)
    if not WIDTHS[0] <= average <= WIDTHS[-1]:
        raise InputError(f"cmpq averages 2 to 4 bits, {format.name} has {format.bits}. Give average_bits=3.")
    return average


def column_format(format: Format, bits: int) -> Format:
    """Return the format at another width, one group a column. Raises InputError for a format that has no such width."""
    try:
        narrowed = dataclasses.replace(cast(Any, format), bits=bits, group_size=0, short=False, per_tensor=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"cmpq needs a format with widths of 2, 3 and 4 bits, such as int3_row or kmeans3_row, not {format.name}."
        ) from error
    return cast(Format, narrowed)


def allocate(norms: torch.Tensor, average: float) -> torch.Tensor:
    """Return the width of each channel, [in], int64, whose mean is `average` to within half a channel's bit.

    norms [in], mean squared inputs. A bit from b to b + 1 saves norms * (4^-b - 4^-(b + 1)); the largest savings win.
    """
    channels = len(norms)
    bits = round((average - WIDTHS[0]) * channels)
    savings = torch.cat([norms * (4.0**-b - 4.0 ** -(b + 1)) for b in WIDTHS[:-1]])
    given = torch.zeros_like(savings, dtype=torch.int64)
    given[torch.argsort(savings, descending=True, stable=True)[:bits]] = 1
    return WIDTHS[0] + given.reshape(-1, channels).sum(0)


CMPQ = Method(name="cmpq", options=CmpqOptions, function=cmpq, bits=nominal_bits)
