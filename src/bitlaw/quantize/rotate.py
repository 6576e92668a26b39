"""Rotation of the input side, weights only: W' = Q(W R) R^T with R orthogonal and seeded (QuaRot, arXiv 2404.00456).

R spreads every outlier over its row, so groups have near-Gaussian weights whatever they had before. The layer is fed x R;
with R folded into the neighbours nothing else changes, and here R^T is applied back to the weight, which gives the same
output. `rotate` rounds to nearest and looks at weights only; `rotate_gptq` runs GPTQ with R^T H R. R is made again from
its seed: nothing is stored for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.gptq import GptqOptions, solve
from bitlaw.quantize.method import Method, require_whole
from bitlaw.quantize.rotation import Rotation, rotation
from bitlaw.quantize.statistics import InputStatistics, Statistics, require_finite, require_inputs


@dataclass(frozen=True, kw_only=True)
class RotateOptions:
    """Settings: the seed of R."""

    seed: int = 0

    def __post_init__(self) -> None:
        require_whole("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class RotateGptqOptions(GptqOptions):
    """Settings of GPTQ in rotated space, and the seed of R."""

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("seed", self.seed, 0)


def rotate(weight: torch.Tensor, statistics: Statistics, format: Format, options: RotateOptions) -> torch.Tensor:
    """Return the weight rounded to nearest in rotated space. weight [out, in] float32 -> [out, in]; no statistics.

    Raises NonFiniteError for a bad weight.
    """
    require_finite(weight)
    turn = rotation(weight.shape[1], options.seed, weight.device)
    return turn.undo(quantize_groups(turn.apply(weight), format))


def rotate_gptq(
    weight: torch.Tensor, statistics: Statistics, format: Format, options: RotateGptqOptions
) -> torch.Tensor:
    """Return the weight quantized by GPTQ in rotated space. weight [out, in] float32 -> [out, in].

    Raises HessianError and NonFiniteError as gptq does.
    """
    inputs = require_inputs(weight, statistics)
    turn = rotation(weight.shape[1], options.seed, weight.device)
    rotated = inputs.derived(("rotated", options.seed), lambda: rotated_statistics(inputs, turn))
    return turn.undo(solve(turn.apply(weight), rotated, format, options))


def rotated_statistics(inputs: InputStatistics, turn: Rotation) -> InputStatistics:
    """Return the statistics of x R: R^T H R."""
    hessian = turn.apply(turn.apply(inputs.hessian).T).T
    return InputStatistics.from_hessian((hessian + hessian.T) / 2.0)


ROTATE = Method(name="rotate", options=RotateOptions, function=rotate)
ROTATE_GPTQ = Method(name="rotate_gptq", options=RotateGptqOptions, function=rotate_gptq)
