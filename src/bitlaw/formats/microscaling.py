"""Microscaling (OCP MX 1.0): blocks of weights share a power-of-two scale of 8 bits (E8M0), elements have 2-8 bits.

    X = 2^s, s from -127 to 127        value = X * round(w / X)        bits per weight: P + 8 / k

Scale rules, named as in torchao, with m = max|w| of the block and emax = floor(log2(largest element)):

    floor   s = floor(log2 m) - emax              the standard; a maximum above the largest element is clamped (unnamed)
    ceil    s = ceil(log2 m) - emax
    rceil   s = ceil(log2(m / largest element))   the smallest scale with which nothing is clamped
    even    as floor, with m first rounded to the element's fraction bits, halves up

s is taken from the bits of m, never by log2, which is wrong beside powers of two. It is clamped to -127 .. 127. A block of
zeros has s = -127 and stays zero. A block that holds NaN or infinity becomes NaN in all its values, as the scale's NaN code
says (the standard leaves this open; torchao takes infinity as 2^128). Ties: even, or `_away` from zero as in microxcaling.
Elements: `elements`; mxintP is the standard's INT8 in P bits. A product beyond float32 (weights above 2^126) is infinite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.elements import TIES, Element, FloatElement, IntElement, parse_float_element
from bitlaw.formats.powers import BIAS, FRACTION_BITS, ceil_log2, divided, floor_log2, power_of_two
from bitlaw.formats.scope import BLOCK_PATTERN, Scoped, parse_scope

SCALE_BITS = 8
SCALE_RULES = {
    "floor": "2^(floor(log2 max) - emax)",
    "ceil": "2^(ceil(log2 max) - emax)",
    "rceil": "2^ceil(log2(max / largest))",
    "even": "floor rule on max rounded to the element's precision",
}


@dataclass(frozen=True, kw_only=True)
class MicroscalingFormat(Scoped):
    """Elements with a shared E8M0 scale. Names: `mxint4_k32`, `mxfp4_e2m1_k32`, `mxfp8_e4m3_k32_rceil_away`."""

    element: FloatElement | IntElement
    group_size: int = 32
    rule: str = "floor"
    ties: str = "even"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.group_size:
            raise InputError(
                f"A microscaling block needs a size of at least 1, group_size={self.group_size} was given."
            )
        if self.rule not in SCALE_RULES:
            raise InputError(f"Scale rule {self.rule!r} is not known. Known: {', '.join(SCALE_RULES)}.")
        if self.ties not in TIES:
            raise InputError(f"ties={self.ties!r} is not known. Known: {', '.join(TIES)}.")

    @property
    def name(self) -> str:
        """Canonical name."""
        return self._named(self.element, self.rule, self.short)

    @property
    def canonical(self) -> str:
        """mxfp(y+2)_e1my has the grid, the emax up to its unit, and so every rounding of mxint(y+2)."""
        element: Element = self.element
        if isinstance(element, FloatElement) and element.exponent_bits == 1:
            element = IntElement(bits=element.bits)
        # An element whose largest value is a power of two: max / largest and max / 2^emax are one.
        rule = "ceil" if self.rule == "rceil" and element.largest == 2.0**element.emax else self.rule
        return self._named(element, rule, short=False)

    def _named(self, element: Element, rule: str, short: bool) -> str:
        kind = f"fp{element.bits}_{element.name}" if isinstance(element, FloatElement) else f"int{element.bits}"
        rest = "" if rule == "floor" else f"_{rule}"
        return f"mx{kind}_k{self.group_size}" + "_short" * short + rest + "_away" * (self.ties == "away")

    @property
    def bits(self) -> float:
        """Bits of an element."""
        return self.element.bits

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `mxint4_k32` or `mxfp4_e2m1_k32_even`."""
        match = re.fullmatch(
            rf"mx(int|fp)(\d+)(?:_(e\w+?))?_({BLOCK_PATTERN})(?:_({'|'.join(SCALE_RULES)}))?(_away)?", name
        )
        if not match or (match.group(1) == "fp") != bool(match.group(3)) or match.group(5) == "floor":
            raise InputError(
                f"Format {name!r} is not of the form mxint<bits>_k<block size> or mxfp<bits>_e<x>m<y>_k<block size>, with "
                "_short, then _ceil, _rceil or _even, then _away. For example mxint4_k32 or mxfp4_e2m1_k32."
            )
        kind, bits, element, block, rule, away = match.groups()
        return cls(
            element=parse_float_element(element, int(bits)) if kind == "fp" else IntElement(bits=int(bits)),
            **parse_scope(block, name),
            rule=rule or "floor",
            ties="away" if away else "even",
        )

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        integers = [f"mxint{bits}_k32" for bits in range(2, 9)]
        named = ["8_e4m3", "8_e5m2", "6_e2m3", "6_e3m2", "5_e2m2", "4_e2m1", "4_e1m2", "4_e3m0", "3_e1m1", "2_e1m0"]
        rules = ["mxfp4_e2m1_k32_ceil", "mxfp4_e2m1_k32_rceil", "mxfp4_e2m1_k32_even", "mxfp4_e2m1_k32_away"]
        blocks = ["mxint4_k16", "mxint4_k128", "mxint3_k32_short_rceil", "mxint4_k32_even_away", "mxfp4_e2m1_k1"]
        return (*integers, *(f"mxfp{element}_k32" for element in named), *rules, *blocks)

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        return self.element.describe()

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        return f"{SCALE_RULES[self.rule]}; ties {self.ties}"

    @property
    def group_bits(self) -> float:
        """Bits of one scale."""
        return float(SCALE_BITS)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the scale X. group [..., n] -> [..., 1]."""
        largest = group.abs().amax(-1, keepdim=True).float()
        exponent = self._exponent(torch.where(largest.isfinite(), largest, 0.0))
        scale = power_of_two(exponent.clamp(-BIAS, BIAS))
        return torch.where(largest.isfinite(), scale, torch.nan).to(group.dtype)

    def _exponent(self, largest: torch.Tensor) -> torch.Tensor:
        """Return s before clamping. largest float32, finite -> int32."""
        emax = self.element.emax
        if self.rule == "ceil":
            return ceil_log2(largest) - emax
        if self.rule == "rceil":
            return ceil_log2(divided(largest, self.element.largest))
        if self.rule == "even":
            half = 1 << (FRACTION_BITS - self.element.mantissa_bits - 1)
            return floor_log2((largest.view(torch.int32) + half).view(torch.float32)) - emax
        return floor_log2(largest) - emax

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest grid value. values [..., m], parameters [..., 1] -> [..., m]."""
        unit = parameters.float() * self.element.unit
        return self.element.round_(values.float() / unit, self.ties).mul_(unit).to(values.dtype)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every value of a group, ascending. parameters [..., 1] -> [..., v]."""
        return torch.tensor(self.element.values(), device=parameters.device) * parameters
