"""Integers of 2-8 bits with a scale and, unless symmetric, a zero point per group.

    code = clamp(round(w / scale) + zero_point, 0, 2^bits - 1)        value = (code - zero_point) * scale

Rounding is to nearest, ties to even; values beyond the ends are clamped. The rules for scale and zero point are those
of GPTQ (Frantar et al., arXiv 2210.17323, public code):

    asymmetric   lo = min(w, 0), hi = max(w, 0), scale = (hi - lo) / (2^bits - 1), zero_point = round(-lo / scale)
    symmetric    scale = 2 max|w| / (2^bits - 1), zero_point = 2^(bits - 1)     (levels -2^(bits-1) .. 2^(bits-1) - 1)

A group of zeros has lo = -1, hi = 1, and stays zero. Stored cost of a group: a 16-bit scale and, unless symmetric, a
zero point of `bits` bits; scales are not rounded to 16 bits here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.base import require_group_size

SCALE_BITS = 16


def whole_bits(bits: object) -> int:
    """Return the width, a whole number from 2 to 8, given as a number or its digits; else raise InputError."""
    if str(bits) not in {"2", "3", "4", "5", "6", "7", "8"}:
        raise InputError(f"bits={bits} is not an integer width bitlaw has. Give a whole number from 2 to 8.")
    return int(str(bits))


@dataclass(frozen=True, kw_only=True)
class IntegerFormat:
    """Integer grid of `bits` bits; `group_size` 0 is one group a row. Names: `int4_g128`, `int3_row_sym`."""

    bits: int
    group_size: int = 128
    symmetric: bool = False

    def __post_init__(self) -> None:
        whole_bits(self.bits)
        require_group_size(self.group_size)

    @property
    def name(self) -> str:
        """Canonical name."""
        group = f"g{self.group_size}" if self.group_size else "row"
        return f"int{self.bits}_{group}" + ("_sym" if self.symmetric else "")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `int4_g128_sym`."""
        match = re.fullmatch(r"int([0-9.]+)_(?:g(\d+)|row)(_sym)?", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form int<bits>_g<group size> or int<bits>_row, with _sym for symmetric. "
                "For example int4_g128."
            )
        bits, group, symmetric = match.groups()
        return cls(bits=whole_bits(bits), group_size=int(group) if group else 0, symmetric=bool(symmetric))

    @property
    def parameter_bits(self) -> float:
        """Bits of one group's scale and zero point."""
        return SCALE_BITS + (0 if self.symmetric else self.bits)

    @property
    def highest_code(self) -> int:
        """The largest code, 2^bits - 1."""
        return int(2**self.bits - 1)

    def parameters(self, group: torch.Tensor) -> torch.Tensor:
        """Return scale and zero point. group [..., n] -> [..., 2]."""
        if self.symmetric:
            hi = group.abs().amax(-1)
            lo = -hi
        else:
            hi = group.amax(-1).clamp_min(0.0)
            lo = group.amin(-1).clamp_max(0.0)
        empty = hi == lo
        hi = torch.where(empty, 1.0, hi)
        lo = torch.where(empty, -1.0, lo)
        scale = (hi - lo) / self.highest_code
        zero = torch.full_like(scale, 2.0 ** (self.bits - 1)) if self.symmetric else torch.round(-lo / scale)
        return torch.stack((scale, zero), -1)

    def codes(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the code of each value, as floats. values [..., m], parameters [..., 2] -> [..., m]."""
        scale, zero = parameters[..., 0:1], parameters[..., 1:2]
        return torch.clamp(torch.round(values / scale) + zero, 0, self.highest_code)

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest grid value. values [..., m], parameters [..., 2] -> [..., m]."""
        return (self.codes(values, parameters) - parameters[..., 1:2]) * parameters[..., 0:1]
