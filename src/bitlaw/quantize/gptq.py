"""GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1): columns in order, each error moved to the columns after it.

With H = X X^T damped and U upper triangular, U^T U = H^-1:

    q_j = round(w_j)        e_j = (w_j - q_j) / U_jj        w_k -= e_j U_jk  for every k > j

"GPTQ" is several algorithms. What differs between implementations is an option here and part of the record:
scales from the group as updated so far (`dynamic`, the paper's code and AutoGPTQ) or from the original weights (`static`,
llm-compressor), damping as a share of the mean diagonal, the order of columns, and where inputs come from
(`CalibratedOptions`). With `order=activation`, dynamic groups are runs of the reordered columns (AutoGPTQ's desc_act) and
static ones runs of the stored columns (llm-compressor's static actorder).
Inputs that were zero on every calibration token carry no weight: their columns are set to 0, as in the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bitlaw.errors import HessianError, InputError, NonFiniteError
from bitlaw.formats import Format
from bitlaw.formats.grouping import group_parameters, group_width
from bitlaw.quantize.method import CalibratedOptions, Method, require_choice
from bitlaw.quantize.statistics import InputStatistics


@dataclass(frozen=True, kw_only=True)
class GptqOptions(CalibratedOptions):
    """Settings of GPTQ; `damping` is a share of the mean diagonal of H, `block_size` only sets how updates are batched."""

    scales: str = "dynamic"
    damping: float = 0.01
    order: str = "none"
    block_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("scales", self.scales, ("dynamic", "static"))
        require_choice("order", self.order, ("none", "activation"))
        if not (isinstance(self.damping, int | float) and math.isfinite(self.damping) and self.damping >= 0):
            raise InputError(f"damping={self.damping} is not usable. Give a share of the mean diagonal such as 0.01.")
        if not isinstance(self.block_size, int) or self.block_size < 1:
            raise InputError(f"block_size={self.block_size} is not usable. Give a whole number of columns such as 128.")


def gptq(
    weight: torch.Tensor, statistics: InputStatistics | None, format: Format, options: GptqOptions
) -> torch.Tensor:
    """Return the GPTQ-quantized weight. weight [out, in] float32 -> [out, in].

    Raises HessianError for statistics of the wrong size or that cannot be factorised, NonFiniteError for a bad weight.
    """
    in_features = weight.shape[1]
    if statistics is None or statistics.features != in_features:
        given = "none" if statistics is None else f"[{statistics.features}, {statistics.features}]"
        raise HessianError(
            f"a weight of {in_features} inputs needs a Hessian [{in_features}, {in_features}], given {given}"
        )
    if not torch.isfinite(weight).all():
        raise NonFiniteError("the weight holds NaN or infinite values")
    width = group_width(in_features, format)
    factor = statistics.inverse_factor(options.damping, options.order)
    order = statistics.order(options.order)
    work = torch.where(statistics.unused(), torch.zeros((), device=weight.device), weight)
    stored_group = (order // width).tolist()
    static = group_parameters(work, format) if options.scales == "static" else None  # [out, groups, p]
    # Columns as rows: a column is contiguous, and the update of later columns is one rank-1 product.
    rest = work.T[order].contiguous()
    done = torch.empty_like(rest)
    parameters = torch.empty(0)
    for start, stop in _blocks(in_features, width, options.block_size):
        block = rest[start:stop]
        block_factor = factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for j in range(stop - start):
            column = start + j
            if static is not None:
                parameters = static[:, stored_group[column]]
            elif column % width == 0:
                parameters = format.parameters(rest[column : column + width].T)
            value = format.round(block[j].unsqueeze(-1), parameters).squeeze(-1)
            done[column] = value
            errors[j] = (block[j] - value) / block_factor[j, j]
            block[j + 1 :].addr_(block_factor[j, j + 1 :], errors[j], alpha=-1.0)
        rest[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1.0)
    quantized = torch.empty_like(done)
    quantized[order] = done
    return quantized.T.contiguous()


def _blocks(columns: int, width: int, block_size: int) -> list[tuple[int, int]]:
    """Return column ranges that are updated together: at most `block_size` long, and no group starts behind stale columns.

    Groups of 48, block_size 128: (0, 96), (96, 192), ...      groups of 192: (0, 128), (128, 192), (192, 320), ...
    """
    step = max(block_size // width, 1) * width
    ranges = []
    for outer in range(0, columns, step):
        end = min(outer + step, columns)
        ranges += [(start, min(start + block_size, end)) for start in range(outer, end, block_size)]
    return ranges


GPTQ = Method(name="gptq", options=GptqOptions, function=gptq)
