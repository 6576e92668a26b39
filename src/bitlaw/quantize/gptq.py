"""GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1): columns in order, each error moved to the columns after it.

The loop itself is in columns.py. "GPTQ" is several algorithms. What differs between implementations is an option here
and part of the record: where a group's scale is chosen from (`scales`), damping, the order of columns, micro-blocks, and
where inputs come from (`CalibratedOptions`). With `order=activation`, groups chosen on the way are runs of the reordered
columns (AutoGPTQ's desc_act) and static ones runs of the stored columns (llm-compressor's static actorder); with
`group_aware` (GPTQModel) the groups are the stored ones either way. Inputs that were zero on every calibration token carry
no weight: their columns are set to 0, as in the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bitlaw.errors import HessianError, InputError
from bitlaw.formats import Format
from bitlaw.kernels.grouped import group_parameters
from bitlaw.quantize import damping_search
from bitlaw.quantize.arrangement import Arrangement, ColumnSettings, arrange, group_ranges
from bitlaw.quantize.columns import solve_columns
from bitlaw.quantize.error import output_error
from bitlaw.quantize.method import CalibratedOptions, require_choice, require_whole
from bitlaw.quantize.stacked import solve_stacked, stackable
from bitlaw.quantize.statistics import InputStatistics, Statistics, require_inputs

DAMPING_GRID = tuple(10.0**exponent for exponent in range(-3, 5))
"""Shares of the mean diagonal that `damping_rule=search` tries (arXiv 2410.12119: 1e-3 .. 1e4)."""


@dataclass(frozen=True, kw_only=True)
class GptqOptions(CalibratedOptions):
    """Settings of GPTQ; `block_size` only sets how updates are batched, unless scales is `block`.

    scales         weights that a group's parameters are chosen from: `dynamic`, the group as updated so far (the article's
                   "most current"); `block`, the group as it was before its block of `block_size` columns was begun (the
                   authors' code, AutoGPTQ, GPTQModel; the same as dynamic where groups are whole blocks); `static`, the
                   original weights (llm-compressor)
    damping_rule   `relative`: damping is a share of the mean diagonal of H; `absolute`: in squared input units, H being the
                   mean of x^T x; `search`: each layer takes the share of DAMPING_GRID with the least output error
                   tr(dW H dW^T), the smallest share where equal, and `damping` is not looked at
    micro_block    columns rounded at once without compensation inside; a multiple or a divisor of the group size
    """

    scales: str = "dynamic"
    damping: float = 0.01
    damping_rule: str = "relative"
    order: str = "none"
    micro_block: int = 1
    block_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("scales", self.scales, ("dynamic", "block", "static"))
        require_choice("order", self.order, ("none", "activation", "group_aware"))
        require_choice("damping_rule", self.damping_rule, ("relative", "absolute", "search"))
        if not (isinstance(self.damping, int | float) and math.isfinite(self.damping) and self.damping >= 0):
            raise InputError(f"damping={self.damping} is not usable. Give a share of the mean diagonal such as 0.01.")
        require_whole("micro_block", self.micro_block, 1)
        if not isinstance(self.block_size, int) or self.block_size < 1:
            raise InputError(f"block_size={self.block_size} is not usable. Give a whole number of columns such as 128.")
        if self.scales == "block" and self.micro_block > 1:
            raise InputError(
                f"scales='block' chooses scales before the columns that micro_block={self.micro_block} rounds at once. "
                "Use scales='dynamic' or 'static', or micro_block=1."
            )


def gptq(weight: torch.Tensor, statistics: Statistics, format: Format, options: GptqOptions) -> torch.Tensor:
    """Return the GPTQ-quantized weight. weight [out, in] float32 -> [out, in].

    Raises HessianError for statistics of the wrong size or that cannot be factorised, NonFiniteError for a bad weight.
    """
    return solve(weight, require_inputs(weight, statistics), format, options)


def solve(
    weight: torch.Tensor,
    inputs: InputStatistics,
    format: Format,
    options: GptqOptions,
    *,
    static: torch.Tensor | None = None,
    alpha: float = 0.0,
) -> torch.Tensor:
    """Return the weight quantized with the options' damping. static [out, groups, p]: parameters chosen by the caller.

    alpha: share of GPTAQ's drift correction. Raises HessianError if no damping tried gives a positive definite H.
    """
    work = torch.where(inputs.unused(), torch.zeros((), device=weight.device), weight)
    if options.damping_rule != "search":
        return _solve_damped(work, inputs, format, options, options.damping, static, alpha)
    if alpha == 0.0 and damping_search.small(work, len(DAMPING_GRID)):
        if static is None and options.scales == "static":
            static = group_parameters(work, format)
        tried = _solve_dampings(work, inputs, format, options, static)
        if tried is not None:
            return damping_search.best_of(tried, [weight], inputs.hessian)[0]
    best: torch.Tensor | None = None
    least = math.inf
    failure: HessianError | None = None
    for share in DAMPING_GRID:
        try:
            quantized = _solve_damped(work, inputs, format, options, share, static, alpha)
        except HessianError as error:
            failure = error
            continue
        error_now = output_error(weight, quantized, inputs.hessian)
        if best is None or error_now < least:
            best, least = quantized, error_now
    if best is None:
        raise failure or HessianError("no damping was tried")
    return best


def _solve_dampings(
    work: torch.Tensor,
    inputs: InputStatistics,
    format: Format,
    options: GptqOptions,
    static: torch.Tensor | None,
) -> torch.Tensor | None:
    """Return the weight quantized with every damping of the search side by side, [dampings, out, in].

    None where nothing does that for this format, these options and this device.
    """
    ranges = group_ranges(work.shape[1], format)
    arrangement = arranged(inputs, options.order, ranges)
    settings = column_settings(options)
    if stackable(work, format, arrangement, static=static is not None, **settings):
        factors = dampings(inputs, options, ranges)
        return solve_stacked([work], [format], factors, arrangement, statics=[static], **settings)
    if static is not None or not damping_search.serves(work, options.micro_block):
        return None
    return damping_search.solve_dampings(
        work,
        dampings(inputs, options, ranges),
        arrangement,
        format.prepare(work),
        micro_block=options.micro_block,
        block_size=options.block_size,
    )


def dampings(inputs: InputStatistics, options: GptqOptions, ranges: list[tuple[int, int]]) -> torch.Tensor:
    """Return the factors of the dampings that the options ask for, of a search those that can be factorised, [dampings, in, in].

    Raises HessianError if no damping gives a positive definite H.
    """
    width = order_width(options.order, ranges)
    if options.damping_rule == "search":
        return inputs.inverse_factors(DAMPING_GRID, options.order, width=width)
    return inputs.inverse_factor(options.damping, options.order, width=width, rule=options.damping_rule)[None]


def arranged(inputs: InputStatistics, order: str, ranges: list[tuple[int, int]]) -> Arrangement:
    """Return the arrangement of the columns, made once for each kind of group."""
    key = ("arrangement", order, tuple(ranges))
    made: Arrangement = inputs.derived(
        key, lambda: arrange(inputs.order(order, order_width(order, ranges)), order, ranges)
    )
    return made


def column_settings(options: GptqOptions) -> ColumnSettings:
    """Return what the loop of columns takes of the options."""
    by_block = options.scales == "block"
    return {"micro_block": options.micro_block, "block_size": options.block_size, "by_block": by_block}


def order_width(order: str, ranges: list[tuple[int, int]]) -> int:
    """Return the width of the groups that the order of columns keeps together; 0 where it keeps none."""
    return ranges[0][1] if order == "group_aware" else 0


def _solve_damped(
    work: torch.Tensor,
    inputs: InputStatistics,
    format: Format,
    options: GptqOptions,
    damping: float,
    static: torch.Tensor | None,
    alpha: float,
) -> torch.Tensor:
    ranges = group_ranges(work.shape[1], format)
    width = order_width(options.order, ranges)
    rule = "absolute" if options.damping_rule == "absolute" else "relative"
    factor = inputs.inverse_factor(damping, options.order, width=width, rule=rule)
    arrangement = arranged(inputs, options.order, ranges)
    if static is None and options.scales == "static":
        static = group_parameters(work, format)  # [out, groups, p]
    return solve_columns(
        work,
        factor,
        arrangement,
        format.prepare(work),
        static=static,
        drift=_drift(inputs, factor, arrangement.order, alpha) if alpha else None,
        **column_settings(options),
    )


def _drift(inputs: InputStatistics, factor: torch.Tensor, order: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return GPTAQ's P = alpha triu(D U^T, 1) U, [in, in] in the order's places; D is the drift, U the factor."""
    drift = inputs.drift[order][:, order]
    return alpha * torch.triu(drift @ factor.T, diagonal=1) @ factor
