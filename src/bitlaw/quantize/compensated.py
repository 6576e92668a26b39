"""A probe of what GPTQ would gain, with nothing quantized: random noise, compensated as GPTQ compensates its rounding errors.

GPTQ's loop is linear in the errors it meets. With U^T U = (H + lambda I)^-1 and cells of `micro_block` columns rounded at once,
a cell's rounding errors r_c become E_c = r_c U_cc^-1 and the weights end as w + E U (quantize.columns): what the format does is in r
alone. So

perturb_compensated    w + E U,  r = |w| 10^(-SNR / 20) e    e: the unit direction that perturb_random draws of the same seed

is where GPTQ would put a format whose rounding errors are like noise of that SNR. `snr_db` is that of r; the recorded SQNR, of E U,
is lower: GPTQ spends noise to spare the output. Beside perturb_random at the same SNR and seed it says how many dB compensation is
worth in this network, which the statistics of its inputs decide.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format
from bitlaw.formats.unrounded import Unrounded
from bitlaw.quantize.error import row_errors
from bitlaw.quantize.gptq import GptqOptions, dampings
from bitlaw.quantize.method import DIRECTION, INPUTS, Method, Quantized, require_between, require_whole
from bitlaw.quantize.perturb import WIDEST_DB, decibels, moved_to
from bitlaw.quantize.statistics import CalibratedDirection, Statistics, require_inputs


@dataclass(frozen=True, kw_only=True)
class CompensatedOptions(GptqOptions):
    """Settings of compensated noise: its distance and seed, and of GPTQ's options `micro_block` and the damping.

    snr_db   20 log10(|w| / |r|) of the noise before it is compensated, dB
    seed     of the direction, as in perturb_random
    """

    snr_db: float = 20.0
    seed: int = 0
    upstream: str = "full_precision"
    damping_rule: str = "search"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("snr_db", self.snr_db, -WIDEST_DB, WIDEST_DB)
        require_whole("seed", self.seed, 0)
        object.__setattr__(self, "snr_db", float(self.snr_db))
        defaults = {f.name: f.default for f in dataclasses.fields(GptqOptions)} | {"upstream": "full_precision"}
        for name in ("upstream", "on_failure", "order", "scales", "block_size"):
            if getattr(self, name) != defaults[name]:
                raise InputError(
                    f"perturb_compensated with {name}={getattr(self, name)!r}: nothing is rounded, and inputs come from the 16-bit "
                    f"network. Leave {name} at {defaults[name]!r}; micro_block, damping and damping_rule may change."
                )

    @property
    def layers(self) -> str:
        """Which layers move: all."""
        return "all"


def perturb_compensated(
    weight: torch.Tensor, statistics: Statistics, format: Format, options: CompensatedOptions
) -> Quantized:
    """Return the weight moved by compensated noise. weight [out, in] -> [out, in]; 16 bits a weight.

    Raises HessianError where GPTQ would, NonFiniteError if the moved weights are not finite.
    """
    if not isinstance(statistics, CalibratedDirection) or statistics.direction.noise.shape != weight.shape:
        raise InputError(
            f"perturb_compensated needs a direction and inputs for a weight of shape {list(weight.shape)}."
        )
    inputs = require_inputs(weight, statistics.inputs)
    direction = statistics.direction
    noise = direction.noise.to(weight.device)
    factors = dampings(inputs, options, [])

    def chosen() -> tuple[torch.Tensor, int]:
        if len(factors) == 1:
            return direction.noise, 0
        hessian = inputs.hessian  # one table at a time, and the host waits once
        errors = [row_errors(compensated(noise, f, options.micro_block), hessian).double().sum() for f in factors]
        return direction.noise, int(torch.stack(errors).nan_to_num(torch.inf).argmin())

    # Distances along one direction share the damping. The noise is kept with it, so that no other can have its id.
    key = ("compensated", id(direction.noise), options.micro_block, options.damping_rule, options.damping)
    _, best = inputs.derived(key, chosen)
    spread = compensated(noise, factors[best], options.micro_block) * (direction.length * decibels(options.snr_db))
    return moved_to(weight + spread, f"compensated noise of {options.snr_db:g} dB")


def compensated(noise: torch.Tensor, factor: torch.Tensor, micro_block: int) -> torch.Tensor:
    """Return E U of noise r [out, in]: E_c = r_c U_cc^-1 in every cell of columns. factor U [in, in], upper triangular."""
    columns = noise.shape[1]
    cells = -(-columns // micro_block)
    padding = cells * micro_block - columns
    padded = torch.nn.functional.pad(factor, (0, padding, 0, padding))
    if padding:
        padded.diagonal()[columns:] = 1.0
    corners = padded.reshape(cells, micro_block, cells, micro_block).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    of_cells = torch.nn.functional.pad(noise, (0, padding)).reshape(len(noise), cells, micro_block).transpose(0, 1)
    errors = torch.linalg.solve_triangular(corners, of_cells, upper=True, left=False)
    spread: torch.Tensor = errors.transpose(0, 1).reshape(len(noise), -1)[:, :columns] @ factor
    return spread


PERTURB_COMPENSATED = Method(
    name="perturb_compensated",
    options=CompensatedOptions,
    function=perturb_compensated,
    needs=lambda options: frozenset({INPUTS, DIRECTION}),
    only_format=Unrounded(),
)
