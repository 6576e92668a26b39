"""Integers of 2-8 bits with a scale and, unless symmetric, a zero point per group.

    code = clamp(round(w / scale) + zero_point, 0, 2^bits - 1)        value = (code - zero_point) * scale

Rounding is to nearest, ties to even; values beyond the ends are clamped. The rules for scale and zero point are those
of GPTQ (Frantar et al., arXiv 2210.17323, public code):

    asymmetric   lo = min(w, 0), hi = max(w, 0), scale = (hi - lo) / (2^bits - 1), zero_point = round(-lo / scale)
    symmetric    scale = 2 max|w| / (2^bits - 1), zero_point = 2^(bits - 1)     (levels -2^(bits-1) .. 2^(bits-1) - 1)

`_p99.9` takes percentiles for the ends, `_mse` searches a shrunk range (`scale_rules`). A group of zeros has lo = -1,
hi = 1, and stays zero. A group that holds NaN or infinity does not come out finite. Stored cost of a group: a 16-bit
scale and, unless symmetric, a zero point of `bits` bits; scales are not rounded to 16 bits here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.powers import divided
from bitlaw.formats.scale_rules import RULE_PATTERN, describe, reach, require_rule, search
from bitlaw.formats.scope import GROUP_FORM, GROUP_PATTERN, Scoped, parse_scope

SCALE_BITS = 16


def whole_bits(bits: object) -> int:
    """Return the width, a whole number from 2 to 8, given as a number or its digits; else raise InputError."""
    if str(bits) not in {"2", "3", "4", "5", "6", "7", "8"}:
        raise InputError(f"bits={bits} is not an integer width bitlaw has. Give a whole number from 2 to 8.")
    return int(str(bits))


@dataclass(frozen=True, kw_only=True)
class IntegerFormat(Scoped):
    """Integer grid of `bits` bits. Names: `int4_g128`, `int3_row_sym`, `int4_g32_mse`, `int8_tensor_sym_p99.9`."""

    bits: int
    symmetric: bool = False
    rule: str = "absmax"

    def __post_init__(self) -> None:
        whole_bits(self.bits)
        super().__post_init__()
        require_rule(self.rule)

    @property
    def name(self) -> str:
        """Canonical name."""
        rule = "" if self.rule == "absmax" else f"_{self.rule}"
        return f"int{self.bits}_{self.scope}" + "_sym" * self.symmetric + rule

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `int4_g128_sym`."""
        match = re.fullmatch(rf"int([0-9.]+)_({GROUP_PATTERN})(_sym)?(?:_({RULE_PATTERN}))?", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form int<bits>_<{GROUP_FORM}>, with _sym for symmetric and then _mse or "
                "_p<percentile> for another scale rule. For example int4_g128."
            )
        bits, scope, symmetric, rule = match.groups()
        return cls(bits=whole_bits(bits), **parse_scope(scope, name), symmetric=bool(symmetric), rule=rule or "absmax")

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        widths = [f"int{bits}_{rest}" for bits in range(2, 9) for rest in ("g128", "g128_sym")]
        scopes = [f"int4_{rest}" for rest in ("row", "row_sym", "tensor", "tensor_sym", "g32_short")]
        rules = [f"int4_{rest}" for rest in ("g128_mse", "g128_sym_mse", "row_p99.9", "tensor_sym_p99.9")]
        return (*widths, *scopes, *rules)

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        if self.symmetric:
            return f"whole numbers {-(2 ** (self.bits - 1))} to {2 ** (self.bits - 1) - 1}"
        return f"whole numbers 0 to {self.highest_code}, minus the zero point"

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        if self.symmetric:
            return f"2 x {describe(self.rule)} / {self.highest_code}; ties even"
        ends = {"absmax": "min and max", "mse": "shrunk min and max"}.get(self.rule, f"{self.rule[1:]} % quantiles")
        return f"(hi - lo) / {self.highest_code}, {ends} of w and 0; ties even"

    @property
    def group_bits(self) -> float:
        """Bits of one group's scale and zero point."""
        return SCALE_BITS + (0 if self.symmetric else self.bits)

    @property
    def highest_code(self) -> int:
        """The largest code, 2^bits - 1."""
        return int(2**self.bits - 1)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return scale and zero point. group [..., n] -> [..., 2]."""
        if self.symmetric:
            hi = reach(group.abs(), self.rule)
            lo = -hi
        else:
            hi = reach(group, self.rule).clamp_min(0.0)
            lo = -reach(-group, self.rule).clamp_min(0.0)
        empty = hi == lo
        limits = torch.stack((torch.where(empty, -1.0, lo), torch.where(empty, 1.0, hi)), -1)
        return search(group, limits, self._settle, self.round) if self.rule == "mse" else self._settle(limits)

    def _settle(self, limits: torch.Tensor) -> torch.Tensor:
        """Return scale and zero point for the range from limits[0] to limits[1]. limits [..., 2] -> [..., 2]."""
        lo, hi = limits.unbind(-1)
        scale = divided(hi - lo, self.highest_code)
        zero = torch.full_like(scale, 2.0 ** (self.bits - 1)) if self.symmetric else torch.round(-lo / scale)
        return torch.stack((scale, zero), -1)

    def codes(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the code of each value, as floats. values [..., m], parameters [..., 2] -> [..., m]."""
        scale, zero = parameters[..., 0:1], parameters[..., 1:2]
        return torch.clamp(torch.round(values / scale) + zero, 0, self.highest_code)

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest grid value. values [..., m], parameters [..., 2] -> [..., m]."""
        scale, zero = parameters[..., 0:1], parameters[..., 1:2]
        levels = (values / scale).round_()
        if self.symmetric:
            half = 2 ** (self.bits - 1)
            levels.clamp_(-half, half - 1)
        else:
            levels.add_(zero).clamp_(0, self.highest_code).sub_(zero)
        return levels.mul_(scale)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every value of a group, ascending. parameters [..., 2] -> [..., 2^bits]."""
        codes = torch.arange(2.0**self.bits, device=parameters.device, dtype=parameters.dtype)
        return (codes - parameters[..., 1:2]) * parameters[..., 0:1]
