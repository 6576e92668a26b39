"""GPTQ of several layers and variants that read the same input, in as few walks over the columns as there are kinds of group.

Rows never meet in GPTQ, so weights that share a factor can be stacked: query, key and value of a block, and all bit
widths of a sweep. Stacked are jobs with equal options and group widths, whose format the kernel serves; every other job is
solved by itself. The numbers are those of `gptq` either way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import torch

from bitlaw.errors import HessianError
from bitlaw.formats import Format
from bitlaw.formats.grouping import group_parameters
from bitlaw.quantize.columns import Arrangement, arrange, group_ranges, solve_stacked, stackable
from bitlaw.quantize.gptq import GptqOptions, gptq, order_width
from bitlaw.quantize.method import Method, WeightJob
from bitlaw.quantize.statistics import InputStatistics, Statistics, require_inputs

ROWS_AT_ONCE = 1 << 17
"""Rows stacked at most: with 16384 columns, two float32 tables of them take 16 GiB."""


def gptq_together(jobs: Sequence[WeightJob], statistics: Statistics) -> list[torch.Tensor | HessianError]:
    """Return the quantized weight of every job, or the error that its Hessian raised, in order.

    Raises NonFiniteError for a weight that is not finite.
    """
    try:
        inputs = require_inputs(jobs[0].weight, statistics)
    except HessianError as error:
        return [error] * len(jobs)
    made: dict[int, torch.Tensor | HessianError] = {}
    stacks: dict[Hashable, list[int]] = {}
    for number, job in enumerate(jobs):
        stacks.setdefault(_kind(job, number, inputs), []).append(number)
    for numbers in stacks.values():
        for part in _parts(jobs, numbers):
            try:
                done = _solve([jobs[n] for n in part], inputs)
            except HessianError as error:
                done = [error] * len(part)
            made.update(zip(part, done, strict=True))
    return [made[number] for number in range(len(jobs))]


def _kind(job: WeightJob, number: int, inputs: InputStatistics) -> Hashable:
    """Return what jobs of one stack have in common; a job that cannot be stacked has its own number."""
    options: GptqOptions = job.options
    if options.damping_rule == "search" or options.scales == "block":
        return number
    ranges = group_ranges(job.weight.shape[1], job.format)
    places = _arrangement(inputs, options.order, ranges)
    if not stackable(job.format, job.weight.device, places, options.micro_block, options.block_size):
        return number
    alike = dataclasses.replace(options, upstream="quantized", within_block="parallel", on_failure="raise")
    return (alike, tuple(ranges))


def _arrangement(inputs: InputStatistics, order: str, ranges: list[tuple[int, int]]) -> Arrangement:
    """Return the arrangement of the columns, made once for each kind of group."""
    key = ("arrangement", order, tuple(ranges))
    made: Arrangement = inputs.derived(
        key, lambda: arrange(inputs.order(order, order_width(order, ranges)), order, ranges)
    )
    return made


def _parts(jobs: Sequence[WeightJob], numbers: Sequence[int]) -> list[list[int]]:
    """Return the numbers in runs of at most ROWS_AT_ONCE rows."""
    parts: list[list[int]] = []
    rows = ROWS_AT_ONCE
    for number in numbers:
        here = len(jobs[number].weight)
        if rows + here > ROWS_AT_ONCE:
            parts.append([])
            rows = 0
        parts[-1].append(number)
        rows += here
    return parts


def _solve(jobs: Sequence[WeightJob], inputs: InputStatistics) -> list[torch.Tensor | HessianError]:
    first = jobs[0]
    options: GptqOptions = first.options
    if len(jobs) == 1:
        return [gptq(first.weight, inputs, first.format, options)]
    for job in jobs:
        require_inputs(job.weight, inputs)
    zero = torch.zeros((), device=first.weight.device)
    works = [torch.where(inputs.unused(), zero, job.weight) for job in jobs]
    ranges = group_ranges(first.weight.shape[1], first.format)
    width = order_width(options.order, ranges)
    rule = "absolute" if options.damping_rule == "absolute" else "relative"
    factor = inputs.inverse_factor(options.damping, options.order, width=width, rule=rule)
    statics = [_static(work, job.format, options) for work, job in zip(works, jobs, strict=True)]
    return list(
        solve_stacked(
            works,
            [job.format for job in jobs],
            factor,
            _arrangement(inputs, options.order, ranges),
            statics=statics,
            block_size=options.block_size,
        )
    )


def _static(work: torch.Tensor, format: Format, options: GptqOptions) -> torch.Tensor | None:
    return group_parameters(work, format) if options.scales == "static" else None


GPTQ = Method(name="gptq", options=GptqOptions, function=gptq, together=gptq_together)
