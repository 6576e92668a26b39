"""What a bit width and a group size say about a grid: variables that laws read in place of P, where nobody measured them.

    group_size        128, as behind the published laws
    bits_per_weight   bits + (16 + bits) / group                                     (memory.py)
    gaussian_error    mean squared error of rounding standard normal numbers to integers with a zero point a group
    format_error      the same: what rounding to nearest makes of Gaussian weights

Between whole widths, and outside 2 to 8, the logarithm of the error is linear in the bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from bitlaw.predict.memory import bits_per_weight

LAW_GROUP = 128  # the groups of every published law, and of the fits that do not read group sizes
DRAWN = 2**16  # numbers behind an error: about 1 % of it
FEWEST, MOST = 2, 8
WIDTH_LIKE = ("bits", "bits_per_weight", "gaussian_error", "format_error")
"""Variables through which a law can read how fine the grid is."""
GROUP_LIKE = ("group_size", "gaussian_error", "format_error")
"""Variables through which a law can read how many weights share a scale."""
DERIVED = ("group_size", "bits_per_weight", "gaussian_error", "format_error")


def derived(bits: float, given: Mapping[str, float | str]) -> dict[str, float]:
    """Return the variables of `DERIVED` at a bit width, for the group size among the given variables."""
    group = float(given.get("group_size", LAW_GROUP))
    error = gaussian_error(bits, max(int(group), 1))
    return {
        "group_size": group,
        "bits_per_weight": bits_per_weight(bits, max(int(group), 1)),
        "gaussian_error": error,
        "format_error": error,
    }


def gaussian_error(bits: float, group_size: int) -> float:
    """Return the mean squared error of rounding standard normal numbers, groups sharing a scale and a zero point."""
    low = min(max(math.floor(bits), FEWEST), MOST - 1)
    ends = [math.log(_whole_error(width, group_size)) for width in (low, low + 1)]
    return math.exp(ends[0] + (bits - low) * (ends[1] - ends[0]))


@lru_cache(maxsize=256)
def _whole_error(bits: int, group_size: int) -> float:
    rows = max(DRAWN // group_size, 1)
    x = np.random.default_rng(0).standard_normal((rows, group_size))
    low, high = np.minimum(x.min(axis=1), 0.0)[:, None], np.maximum(x.max(axis=1), 0.0)[:, None]
    scale = (high - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    codes = np.clip(np.round(x / scale) + zero, 0, 2**bits - 1)
    return float(np.mean(((codes - zero) * scale - x) ** 2))
