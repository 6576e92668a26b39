"""GPTQ of several layers and variants that read the same input, in as few walks over the columns as there are kinds of group.

Rows never meet in GPTQ, so weights that share a factor can be stacked: query, key and value of a block, and all bit
widths of a sweep. Stacked are jobs with equal options and group widths and formats of one family, which the kernel serves;
every other job is solved by itself. A search takes all its dampings along. The numbers are those of `gptq` either way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import torch

from bitlaw.errors import HessianError
from bitlaw.formats import Format
from bitlaw.kernels.grouped import group_parameters
from bitlaw.quantize.arrangement import group_ranges
from bitlaw.quantize.damping_search import best_of
from bitlaw.quantize.gptq import DAMPING_GRID, GptqOptions, arranged, column_settings, dampings, gptq
from bitlaw.quantize.method import Method, WeightJob
from bitlaw.quantize.stacked import solve_stacked, stackable
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
    ranges = group_ranges(job.weight.shape[1], job.format)
    places = arranged(inputs, options.order, ranges)
    static = options.scales == "static"
    family = stackable(job.weight, job.format, places, static=static, **column_settings(options))
    if family is None:
        return number
    alike = dataclasses.replace(options, upstream="quantized", within_block="parallel", on_failure="raise")
    return (alike, tuple(ranges), family)


def _parts(jobs: Sequence[WeightJob], numbers: Sequence[int]) -> list[list[int]]:
    """Return the numbers in runs of at most ROWS_AT_ONCE rows, a row counted once for each damping."""
    parts: list[list[int]] = []
    rows = ROWS_AT_ONCE
    for number in numbers:
        here = len(jobs[number].weight) * (len(DAMPING_GRID) if jobs[number].options.damping_rule == "search" else 1)
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
    distinct = {id(job.weight): job.weight for job in jobs}  # one for all formats of a layer
    zero, unused = torch.zeros((), device=first.weight.device), inputs.unused()
    used = {}
    for key, weight in distinct.items():
        require_inputs(weight, inputs)
        used[key] = torch.where(unused, zero, weight)
    works = [used[id(job.weight)] for job in jobs]
    ranges = group_ranges(first.weight.shape[1], first.format)
    made = solve_stacked(
        works,
        [job.format for job in jobs],
        dampings(inputs, options, ranges),
        arranged(inputs, options.order, ranges),
        statics=[_static(work, job.format, options) for work, job in zip(works, jobs, strict=True)],
        **column_settings(options),
    )
    if options.damping_rule == "search":
        return list(best_of(made, [job.weight for job in jobs], inputs.hessian))
    return list(torch.split(made[0], [len(work) for work in works]))


def _static(work: torch.Tensor, format: Format, options: GptqOptions) -> torch.Tensor | None:
    return group_parameters(work, format) if options.scales == "static" else None


GPTQ = Method(name="gptq", options=GptqOptions, function=gptq, together=gptq_together)
