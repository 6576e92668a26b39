"""Element types: the grids that a scale is put on. ExMy floats and fixed-point integers, of at most 8 bits with the sign.

ExMy      bias 2^(x-1) - 1, subnormals kept, value (-1)^s 2^(e-bias) (1 + m/2^y), with e = 0: (-1)^s 2^(1-bias) m/2^y.
          No code is reserved, except in the two 8-bit types of the OCP standard (OFP8): E4M3 ends at 448 because its last
          code is NaN, E5M2 at 57344 because its last exponent is infinity and NaN, as in IEEE 754.
INTb      step 2^(2-b), from -max to max = (2^(b-1) - 1) 2^(2-b) (OCP MX 1.0, INT8 with b = 8). The lowest code, -2, stays
          unused, so that the grid is symmetric.

Rounding is to nearest. Ties: `even` to the value that is an even multiple of the step, `away` away from zero. Values beyond
the ends become the ends, infinities too; NaN stays NaN. A negative value that rounds to zero becomes +0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats.powers import FRACTION_BITS, binade_

TIES = ("even", "away")
BELOW_HALF = 0.5 - 2.0**-25
"""The largest float32 below one half: trunc(x + BELOW_HALF) rounds halves up and nothing else."""


class Element(Protocol):
    """A grid symmetric about zero. `unit` is what `round_` counts in: 1 for floats, the step for integers."""

    @property
    def bits(self) -> int:
        """Bits of a code, the sign counted."""

    @property
    def mantissa_bits(self) -> int:
        """Fraction bits of the largest values."""

    @property
    def emax(self) -> int:
        """floor(log2(largest))."""

    @property
    def largest(self) -> float:
        """The largest finite value."""

    @property
    def unit(self) -> float:
        """A power of two: `round_` rounds multiples of it."""

    def encodings(self) -> list[float]:
        """Return the value of every code, in the order of the codes; NaN and infinities where they are reserved."""

    def values(self) -> list[float]:
        """Return the values rounding may give, ascending, zero once."""

    def describe(self) -> str:
        """Return the values in words, for tables."""

    def round_(self, x: torch.Tensor, ties: str = "even") -> torch.Tensor:
        """Round values divided by `unit` to the grid divided by `unit`, in place; float32, any shape. Return x."""


@dataclass(frozen=True, kw_only=True)
class FloatElement:
    """ExMy: `exponent_bits` x and `mantissa_bits` y."""

    exponent_bits: int
    mantissa_bits: int

    def __post_init__(self) -> None:
        if self.exponent_bits < 1 or self.mantissa_bits < 0 or not 2 <= self.bits <= 8:
            raise InputError(
                f"e{self.exponent_bits}m{self.mantissa_bits} is out of range: 1 sign bit, at least 1 exponent bit and "
                f"0 mantissa bits, at most 8 in all. For example e2m1 or e4m3."
            )

    @property
    def bits(self) -> int:
        """Bits of a code, the sign counted."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def name(self) -> str:
        """Such as `e2m1`."""
        return f"e{self.exponent_bits}m{self.mantissa_bits}"

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent code."""
        return int(2 ** (self.exponent_bits - 1) - 1)

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """floor(log2(largest))."""
        reserved = 1 if self.name == "e5m2" else 0
        return int(2**self.exponent_bits - 1 - reserved - self.bias)

    @property
    def largest(self) -> float:
        """The largest finite value."""
        reserved = 1 if self.name == "e4m3" else 0
        fraction = 1 + (2**self.mantissa_bits - 1 - reserved) / 2**self.mantissa_bits
        return float(fraction * 2.0**self.emax)

    @property
    def unit(self) -> float:
        """`round_` takes values as they are."""
        return 1.0

    def encodings(self) -> list[float]:
        """Return the value of every code, sign bit highest, in the order of the codes."""
        half = [self._decode(code) for code in range(2 ** (self.bits - 1))]
        return half + [-value for value in half]

    def _decode(self, code: int) -> float:
        exponent, fraction = divmod(code, 2**self.mantissa_bits)
        last = exponent == 2**self.exponent_bits - 1
        if self.name == "e5m2" and last:
            return float("nan") if fraction else float("inf")
        if self.name == "e4m3" and last and fraction == 2**self.mantissa_bits - 1:
            return float("nan")
        if exponent == 0:
            return float(2.0**self.emin * fraction / 2**self.mantissa_bits)
        return float(2.0 ** (exponent - self.bias) * (1 + fraction / 2**self.mantissa_bits))

    def values(self) -> list[float]:
        """Return the finite values, ascending, zero once."""
        return sorted({value + 0.0 for value in self.encodings() if abs(value) <= self.largest})

    def describe(self) -> str:
        """Return the values in words."""
        return _in_words(self.values())

    def round_(self, x: torch.Tensor, ties: str = "even") -> torch.Tensor:
        """Round a float32 tensor to the grid in place.

        The step beside x is 2^(max(floor(log2|x|), emin) - mantissa_bits). Adding 1.5 * 2^23 steps leaves float32 no bits
        below the step, so the sum is rounded to even by the addition itself; subtracting it again is exact.
        """
        x.clamp_(-self.largest, self.largest)
        magnet = binade_(x, torch.empty_like(x)).clamp_(min=2.0**self.emin)
        if ties == "even":
            times = 1.5 * 2.0 ** (FRACTION_BITS - self.mantissa_bits)
            return x.add_(magnet, alpha=times).sub_(magnet, alpha=times)
        step = magnet.mul_(2.0**-self.mantissa_bits)
        return round_away_(x.div_(step)).mul_(step)


@dataclass(frozen=True, kw_only=True)
class IntElement:
    """INTb: `bits` from 2 to 8."""

    bits: int

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise InputError(f"A microscaling integer has 2 to 8 bits, not {self.bits}.")

    @property
    def mantissa_bits(self) -> int:
        """Fraction bits of the largest values, which lie in [1, 2)."""
        return self.bits - 2

    @property
    def emax(self) -> int:
        """floor(log2(largest))."""
        return 0

    @property
    def unit(self) -> float:
        """The step between neighbouring values."""
        return float(2.0 ** (2 - self.bits))

    @property
    def largest(self) -> float:
        """The largest value."""
        return float((2 ** (self.bits - 1) - 1) * self.unit)

    def encodings(self) -> list[float]:
        """Return the value of every two's complement code, in the order of the codes; the lowest is never given."""
        half = 2 ** (self.bits - 1)
        return [(code if code < half else code - 2 * half) * self.unit for code in range(2 * half)]

    def values(self) -> list[float]:
        """Return the values, ascending."""
        half = 2 ** (self.bits - 1)
        return [code * self.unit for code in range(1 - half, half)]

    def describe(self) -> str:
        """Return the values in words."""
        return _in_words(self.values())

    def round_(self, x: torch.Tensor, ties: str = "even") -> torch.Tensor:
        """Round values counted in steps to whole numbers within the ends, in place."""
        end = 2 ** (self.bits - 1) - 1
        x.clamp_(-end, end)
        return x.round_() if ties == "even" else round_away_(x)


def round_away_(x: torch.Tensor) -> torch.Tensor:
    """Round to whole numbers in place, halves away from zero. x float32, |x| below 2^22."""
    return x.add_(torch.full_like(x, BELOW_HALF).copysign_(x)).trunc_()


def _in_words(values: list[float]) -> str:
    magnitudes = [v for v in values if v >= 0]
    if len(values) <= 17:
        return "±(" + ", ".join(f"{v:g}" for v in magnitudes) + ")"
    return f"{len(values)} values, ±{magnitudes[1]:g} to ±{magnitudes[-1]:g} and 0"


def parse_float_element(text: str, bits: int) -> FloatElement:
    """Return the element of a name such as `e2m1`. Raises UnknownName with near matches among those of that many bits."""
    match = re.fullmatch(r"e(\d+)m(\d+)", text)
    known = [f"e{e}m{bits - 1 - e}" for e in range(1, bits)] if 2 <= bits <= 8 else ["2 to 8 bits in all"]
    if not match or text not in known:
        raise UnknownName(f"{bits}-bit element format", text, known)
    return FloatElement(exponent_bits=int(match.group(1)), mantissa_bits=int(match.group(2)))
