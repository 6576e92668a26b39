"""GPTAQ (Li et al., arXiv 2504.02692): GPTQ that also mends what the layers before it have already changed.

GPTQ matches the layer's output on the quantized network's inputs x; GPTAQ matches its output on the 16-bit network's inputs
x' of the same tokens. With D = mean (x' - x)^T x and U^T U = H^-1, each column j adds to the later columns

    w_k += w_j P_jk        P = alpha triu(D U^T, 1) U

beside moving its rounding error as GPTQ does. alpha = 0.25 is the authors' setting; alpha = 0, or no drift, is GPTQ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format
from bitlaw.quantize.gptq import GptqOptions, solve
from bitlaw.quantize.method import INPUTS, PAIRS, Method, require_between
from bitlaw.quantize.statistics import Statistics, require_inputs


@dataclass(frozen=True, kw_only=True)
class GptaqOptions(GptqOptions):
    """Settings of GPTAQ: those of GPTQ and `alpha`, the share of the drift that is mended, 0 to 1."""

    alpha: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("alpha", self.alpha, 0.0, 1.0)
        if self.upstream != "quantized":
            raise InputError(
                "gptaq mends the drift of the quantized network's inputs, and upstream='full_precision' has none. "
                "Use upstream='quantized', or the method gptq."
            )
        if self.damping_rule == "search":
            raise InputError(
                "gptaq aims at other outputs than the error that damping_rule='search' minimises. "
                "Use damping_rule='relative' or 'absolute'."
            )


def gptaq(weight: torch.Tensor, statistics: Statistics, format: Format, options: GptaqOptions) -> torch.Tensor:
    """Return the GPTAQ-quantized weight. weight [out, in] float32 -> [out, in]; statistics carry the drift.

    Raises HessianError and NonFiniteError as gptq does.
    """
    return solve(weight, require_inputs(weight, statistics), format, options, alpha=options.alpha)


GPTAQ = Method(name="gptaq", options=GptaqOptions, function=gptaq, needs=lambda options: frozenset({INPUTS, PAIRS}))
