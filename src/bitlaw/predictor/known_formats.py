"""What a format's name says about it without torch: width, exponent bits, block, its error on Gaussian weights.

`gaussian_db` is 10 log10(mean square of weights / mean squared rounding error) on standard normal numbers, from
`predict.grids` (data/formats.csv, which benchmarks/format_errors.py writes with the formats themselves).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bitlaw.errors import UnknownName
from bitlaw.predict.grids import grid

PAPER_ELEMENTS = (
    "mxint6",
    "mxint4",
    "mxint3",
    "mxint2",
    "mxfp6_e2m3",
    "mxfp6_e3m2",
    "mxfp4_e2m1",
    "mxfp4_e1m2",
    "mxfp3_e1m1",
)
PAPER_BLOCKS = (16, 32, 64, 128)
PAPER_FORMATS = tuple(f"{element}_k{block}" for element in PAPER_ELEMENTS for block in PAPER_BLOCKS)
"""The 36 formats of arXiv 2410.12119; 8 of them are others under another name."""

_ONE_EXPONENT_BIT = re.compile(r"mxfp(\d+)_e1m\d+(_k.*)")
_EXPONENT = re.compile(r"_e(\d+)m\d+")
_BLOCK = re.compile(r"_[kg](\d+)")
_SHORT = re.compile(r"(_[kg]\d+)_short(_.*)?$")
_BLOCKS = (16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class FormatFacts:
    """A format by name: P `bits`, E `exponent_bits` (0 for integers), K `block` (0: a row or tensor), `element`, dB.

    `name` is canonical: formats with the same values under two names are one.
    """

    name: str
    element: str
    bits: float
    exponent_bits: int
    block: int
    bits_per_weight: float
    gaussian_db: float


def canonical_name(name: str) -> str:
    """Return the one name of a format: mxfp4_e1m2_k32 has the values of mxint4_k32, and mxint4_k32_short too (docs/formats.md)."""
    whole = _SHORT.sub(r"\1\2", name)
    match = _ONE_EXPONENT_BIT.fullmatch(whole)
    return f"mxint{match[1]}{match[2]}" if match else whole


def snr_at(name: str, block: float) -> float:
    """Return the SNR of a format on Gaussian weights, dB, where rows are so short that only `block` weights share a scale.

    Interpolated in log(block) among the blocks of the element that are known; beyond them the nearest one's.
    """
    own = facts(name)
    if not own.block or block >= own.block:
        return own.gaussian_db
    known = [found for size in _BLOCKS if (found := _sibling(own, size)) is not None]
    if not known:
        return own.gaussian_db
    return float(
        np.interp(math.log2(max(block, 1.0)), [math.log2(f.block) for f in known], [f.gaussian_db for f in known])
    )


def _sibling(own: FormatFacts, block: int) -> FormatFacts | None:
    try:
        return facts(_BLOCK.sub(lambda m: m[0].replace(m[1], str(block)), own.name, count=1))
    except UnknownName:
        return None


@lru_cache(maxsize=512)
def facts(name: str) -> FormatFacts:
    """Return what is known of a format. Raises UnknownName for one whose error nobody measured."""
    own = canonical_name(name)
    known = grid(own)
    exponent, block = _EXPONENT.search(own), _BLOCK.search(own)
    return FormatFacts(
        name=own,
        element=_BLOCK.sub("", own, count=1),
        bits=known.bits,
        exponent_bits=int(exponent[1]) if exponent else 0,
        block=int(block[1]) if block else 0,
        bits_per_weight=known.stored,
        gaussian_db=-10.0 * math.log10(known.error),
    )
