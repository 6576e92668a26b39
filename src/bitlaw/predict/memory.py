"""Bytes of a quantized model, by one stated convention, and sizes as people write them. No torch.

    weights    N quantized weights at bits_per_weight = bits + (16 + bits) / group      16-bit scale and a zero point of
               `bits` bits a group; symmetric: bits + 16 / group; unquantized: 16
    rest       total - N parameters (embeddings, head) at 16 bits
    overhead   what is given: key-value cache, activations, the runtime

It is the convention of `bits_per_weight` in records (bitlaw.formats): codes and group parameters packed without padding.
GB are 10^9 bytes, GiB 2^30.
"""

from __future__ import annotations

import math
import re

from bitlaw.errors import InputError

SCALE_BITS = 16.0
FULL_BITS = 16.0
UNITS = {
    "B": 1.0,
    **{f"{letter}B": 1000.0**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}IB": 1024.0**power for power, letter in enumerate("KMGT", start=1)},
}
COUNT_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def parse_size(text: str | float) -> float:
    """Return the bytes of `24GiB`, `16 GB`, `512MiB`; a number is bytes. Raises InputError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return _positive(float(text), f"{text}")
    match = re.fullmatch(r"\s*([+-]?[0-9.]+(?:e[+-]?\d+)?)\s*([a-z]*)\s*", str(text), flags=re.IGNORECASE)
    number = _number(match.group(1)) if match else None
    if match is None or number is None:
        raise InputError(f"Size {text!r} is not a number with a unit, for example 24GiB or 16GB.")
    unit = match.group(2).upper()
    if not unit:
        raise InputError(f"Size {text!r} has no unit. Write {match.group(1)}GiB or {match.group(1)}GB.")
    if unit not in UNITS:
        raise InputError(f"Size {text!r} has an unknown unit {match.group(2)!r}. Known: B, kB, MB, GB, TB, KiB to TiB.")
    return _positive(number * UNITS[unit], str(text))


def parse_count(text: str | float, what: str = "a count") -> float:
    """Return the number of `70B`, `15T`, `160M`, `7e9`. Raises InputError for anything else."""
    match = re.fullmatch(r"\s*([+-]?[0-9.]+(?:e[+-]?\d+)?|[+-]?(?:inf|nan))\s*([kmbt]?)\s*", str(text), re.IGNORECASE)
    number = _number(match.group(1)) if match else None
    if match is None or number is None:
        raise InputError(f"{text!r} is not {what}. Write a number such as 7e9, 7B or 15T.")
    return number * COUNT_UNITS[match.group(2).upper()]


def bits_per_weight(bits: float, group_size: int, *, symmetric: bool = False) -> float:
    """Return stored bits per weight of integers: the code and the group's share of its scale and zero point.

    16 bits or more are stored as they are. Raises InputError for a group size below 1.
    """
    if group_size < 1:
        raise InputError(f"group_size={group_size} is not usable here. Give weights that share a scale, such as 128.")
    if bits >= FULL_BITS:
        return float(bits)
    return bits + (SCALE_BITS + (0.0 if symmetric else bits)) / group_size


def model_bytes(quantized: float, total: float, stored_bits: float, overhead: float = 0.0) -> float:
    """Return bytes: `quantized` weights at `stored_bits`, the rest of `total` parameters at 16 bits, and the overhead."""
    return (quantized * stored_bits + (total - quantized) * FULL_BITS) / 8.0 + overhead


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _positive(size: float, text: str) -> float:
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"Size {text} is not above 0. Give a size such as 24GiB.")
    return size
