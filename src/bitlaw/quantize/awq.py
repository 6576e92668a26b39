"""AWQ (Lin et al., arXiv 2306.00978): channels with large inputs get a finer share of the grid, and groups are clipped.

    W' = Q(W s) / s        s_j = m_j^r / sqrt(max m^r min m^r), m = mean |x|        r of 0, 1/20, ... 19/20

The exponent r with the least layer-output error tr(dW H dW^T) is taken (section 3.2; the authors measure the same error
on sampled tokens). Then each group of each row is clipped to the share of its largest magnitude, 1, 0.95, ... 0.55, with
the least error on the group's own inputs, if that lowers the error of the whole layer. r = 0 without clipping is nearest,
so a layer's output error is never above nearest's. The authors let query, key and value share one s, which they fold
into the norm before them; here every layer has its own. `awq_gptq` runs GPTQ on W s with the Hessian of x / s instead
of rounding to nearest, with the clipped groups' parameters. Stored: 16 bits for each s_j.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bitlaw.formats import Format
from bitlaw.kernels.grouped import group_parameters, quantize_groups
from bitlaw.quantize.arrangement import group_ranges
from bitlaw.quantize.error import output_error, row_errors
from bitlaw.quantize.gptq import GptqOptions, solve
from bitlaw.quantize.method import CalibratedOptions, Method, Quantized, require_flag, require_whole
from bitlaw.quantize.scaled import from_scaled, scaled_statistics
from bitlaw.quantize.statistics import InputStatistics, Statistics, require_inputs

CLIP_STEPS = 20
CLIP_TRIED = 10  # of them: down to 0.55 of the largest magnitude


@dataclass(frozen=True, kw_only=True)
class AwqOptions(CalibratedOptions):
    """Settings of AWQ: how many exponents of the input scale are tried, and whether groups are clipped."""

    grid: int = 20
    clip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("grid", self.grid, 1)
        require_flag("clip", self.clip)


@dataclass(frozen=True, kw_only=True)
class AwqGptqOptions(GptqOptions):
    """Settings of AWQ, then of GPTQ on the scaled weight. With `clip`, parameters are those of the clipped groups."""

    scales: str = "static"
    grid: int = 20
    clip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("grid", self.grid, 1)
        require_flag("clip", self.clip, only_if=self.scales == "static", instead="scales='static', or clip=false")


def awq(weight: torch.Tensor, statistics: Statistics, format: Format, options: AwqOptions) -> Quantized:
    """Return the AWQ-quantized weight. weight [out, in] float32 -> [out, in].

    Raises HessianError for statistics that are missing, of the wrong size or not finite; NonFiniteError for a bad weight.
    """
    inputs = require_inputs(weight, statistics)
    scale = search_scale(weight, inputs, format, options.grid)
    scaled = weight * scale
    quantized = quantize_groups(scaled, format)
    if options.clip:
        of_scaled = scaled_statistics(inputs, scale).hessian
        clipped = quantize_groups(clip_groups(scaled, of_scaled, format), format)
        if output_error(scaled, clipped, of_scaled) < output_error(scaled, quantized, of_scaled):
            quantized = clipped
    return from_scaled(quantized, scale, format)


def awq_gptq(weight: torch.Tensor, statistics: Statistics, format: Format, options: AwqGptqOptions) -> Quantized:
    """Return the weight quantized by GPTQ under AWQ's scales and clips. weight [out, in] float32 -> [out, in].

    Raises HessianError and NonFiniteError as gptq does.
    """
    inputs = require_inputs(weight, statistics)
    scale = search_scale(weight, inputs, format, options.grid)
    scaled = weight * scale
    of_scaled = scaled_statistics(inputs, scale)
    quantized = solve(scaled, of_scaled, format, options)
    if options.clip:
        parameters = group_parameters(clip_groups(scaled, of_scaled.hessian, format), format)
        clipped = solve(scaled, of_scaled, format, options, static=parameters)
        if output_error(scaled, clipped, of_scaled.hessian) < output_error(scaled, quantized, of_scaled.hessian):
            quantized = clipped
    return from_scaled(quantized, scale, format)


def search_scale(weight: torch.Tensor, inputs: InputStatistics, format: Format, grid: int) -> torch.Tensor:
    """Return the input scale s, [in], of the least output error. weight [out, in]; grid: exponents tried."""
    magnitude = inputs.magnitude
    best = torch.ones_like(magnitude)
    least = math.inf
    for step in range(grid):
        scale = magnitude.pow(step / grid).clamp_min(1e-4)
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = output_error(weight, quantize_groups(weight * scale, format) / scale, inputs.hessian)
        if error < least:
            best, least = scale, error
    return best


def clip_groups(weight: torch.Tensor, hessian: torch.Tensor, format: Format) -> torch.Tensor:
    """Return the weight with each group of each row clipped where that lowers the error on the group's own inputs.

    weight [out, in], hessian [in, in] -> [out, in].
    """
    clipped = weight.clone()
    bound = format.prepare(weight)
    for start, stop in group_ranges(weight.shape[1], format):
        group = weight[:, start:stop].contiguous()
        corner = hessian[start:stop, start:stop]
        largest = group.abs().amax(1, keepdim=True)
        least = torch.full((len(group),), math.inf, device=weight.device)
        for step in range(CLIP_TRIED):
            limit = largest * (1.0 - step / CLIP_STEPS)
            tried = group.clamp(-limit, limit)
            errors = row_errors(bound.round(tried, bound.parameters(tried)) - group, corner)
            better = errors < least
            least = torch.where(better, errors, least)
            clipped[:, start:stop] = torch.where(better.unsqueeze(1), tried, clipped[:, start:stop])
    return clipped


AWQ = Method(name="awq", options=AwqOptions, function=awq)
AWQ_GPTQ = Method(name="awq_gptq", options=AwqGptqOptions, function=awq_gptq)
