"""NVFP4: E2M1 elements in blocks of 16 whose scale is an E4M3 float, and one float32 scale for the whole tensor.

    t = max|tensor| / (448 * 6)        b = E4M3(clamp((max|block| / 6) / t, 2^-6, 448))        value = t b E2M1(w / (t b))

Elements are clamped to -6 .. 6, ties go to even, in the scale too. `_single` leaves the tensor's scale out: t = 1, so that
blocks above 2688 are clamped and blocks below 6 * 2^-6 lose precision. The arithmetic is that of torchao's nvfp4_quantize,
operation by operation: w is multiplied by the reciprocal (1 / t) / b. A tensor of zeros has t = 1 and stays zero (torchao
makes NaN of it). A block that holds NaN or infinity does not come out finite, nor, with a tensor scale, does its tensor.
Bits per weight: 4 + 8 / 16, and 32 bits a tensor. Any other block size can be asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self, cast

import torch

from bitlaw.errors import InputError
from bitlaw.formats.base import Format
from bitlaw.formats.elements import FloatElement
from bitlaw.formats.powers import divided
from bitlaw.formats.scope import BLOCK_PATTERN, Scoped, parse_scope, prepared

ELEMENT = FloatElement(exponent_bits=2, mantissa_bits=1)
SCALE = FloatElement(exponent_bits=4, mantissa_bits=3)
SCALE_BITS = 8
TENSOR_SCALE_BITS = 32


@dataclass(frozen=True, kw_only=True)
class NvFp4Format(Scoped):
    """NVFP4, two-level or `single`. Names: `nvfp4_k16`, `nvfp4_k16_single`."""

    group_size: int = 16
    single: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.group_size:
            raise InputError(f"An NVFP4 block needs a size of at least 1, group_size={self.group_size} was given.")

    @property
    def name(self) -> str:
        """Canonical name."""
        return f"nvfp4_k{self.group_size}" + "_short" * self.short + "_single" * self.single

    @property
    def bits(self) -> float:
        """Bits of an element."""
        return ELEMENT.bits

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `nvfp4_k16`."""
        match = re.fullmatch(rf"nvfp4_({BLOCK_PATTERN})(_single)?", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form nvfp4_k<block size>, with _short and then _single for one level of "
                "scales. For example nvfp4_k16."
            )
        return cls(**parse_scope(match.group(1), name), single=bool(match.group(2)))

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        return ("nvfp4_k16", "nvfp4_k16_single", "nvfp4_k32", "nvfp4_k16_short")

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        return ELEMENT.describe()

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        return "E4M3 of max |w| / 6" + ("" if self.single else ", times a float32 per tensor") + "; ties even"

    @property
    def group_bits(self) -> float:
        """Bits of one block's scale."""
        return float(SCALE_BITS)

    @property
    def tensor_bits(self) -> float:
        """Bits of the tensor's scale."""
        return 0.0 if self.single else float(TENSOR_SCALE_BITS)

    def prepare(self, weight: torch.Tensor) -> Format:
        """Return the format with the tensor's scale settled."""
        if self.single or not weight.numel():
            return cast(Format, self)
        tensor_scale = self.tensor_scale(weight)
        return prepared(self, lambda group: self._scales(group, tensor_scale))

    def tensor_scale(self, weight: torch.Tensor) -> torch.Tensor:
        """Return t, float32; 1 under `single` and for a tensor of zeros. weight, any shape -> []."""
        if self.single or not weight.numel():
            return torch.ones((), device=weight.device)
        scale = divided(weight.abs().amax().float(), SCALE.largest * ELEMENT.largest)
        return torch.where(scale == 0, 1.0, scale)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the block scale and its reciprocal. group [..., n] -> [..., 2]."""
        assert self.single or not group.numel(), f"{self.name} has a scale per tensor: use what prepare(weight) returns"
        return self._scales(group, torch.ones((), device=group.device))

    def _scales(self, group: torch.Tensor, tensor_scale: torch.Tensor) -> torch.Tensor:
        """Return t b and (1 / t) / b. group [..., n], tensor_scale [] -> [..., 2]."""
        wanted = divided(group.abs().amax(-1).float(), ELEMENT.largest) / tensor_scale
        block_scale = SCALE.round_(wanted.clamp(2.0**SCALE.emin, SCALE.largest))
        block_scale = torch.where(wanted.isfinite(), block_scale, torch.nan)
        return torch.stack((tensor_scale * block_scale, 1 / tensor_scale / block_scale), -1).to(group.dtype)

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest grid value. values [..., m], parameters [..., 2] -> [..., m]."""
        rounded = ELEMENT.round_((values * parameters[..., 1:2]).float())
        return rounded.to(values.dtype).mul_(parameters[..., 0:1])

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every value of a block, ascending. parameters [..., 2] -> [..., 15]."""
        grid = torch.tensor(ELEMENT.values(), device=parameters.device, dtype=parameters.dtype)
        return grid * parameters[..., 0:1]
