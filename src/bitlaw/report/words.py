"""Numbers as people read them."""

from __future__ import annotations

import math

_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def count(value: float) -> str:
    """Return a count with three digits and a suffix: 25k, 2.46M, 70B."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def plain(value: float, digits: int = 3) -> str:
    """Return a number with that many significant digits, without an exponent between 1e-4 and 1e6."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "unknown")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -4 <= size < 6:
        return f"{value:.{max(digits - 1 - size, 0)}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def measured(value: float, error: float) -> str:
    """Return `value ± error`, both to two digits of the error; four decimals where the error is unknown."""
    if not math.isfinite(error) or error <= 0:
        return f"{value:.4f}"
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 7)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def interval(low: float, high: float) -> str:
    """Return `[low, high]` with three digits."""
    return f"[{plain(low)}, {plain(high)}]"


def bits_name(bits: float) -> str:
    """Return `2 bits`, `1 bit`, `2.5 bits`."""
    return f"{bits:g} bit" if bits == 1 else f"{bits:g} bits"


def several(number: int, noun: str) -> str:
    """Return `1 checkpoint`, `3 checkpoints`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(parts: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
