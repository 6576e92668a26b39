"""The error of a format before anyone measured it: integers with min-max scales, on normal numbers.

    step = range of G normal numbers / (2^P - 1)        error = step^2 / 12        over the mean square, 1

A group of G numbers spans about 2 E[max]; the symmetric grid uses 2^P - 1 levels around 0. Measured on our suites, the
error of rounding trained weights to nearest is within 20 % of this for groups (tests/fit/test_nominal.py).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from bitlaw.errors import InputError

ROW = 1024  # weights assumed in a row where the scale is for the whole row


def nominal_error(bits: float, group_size: float = 128.0, *, symmetric: bool = False) -> float:
    """Return the expected format error of integers of `bits` with a scale for `group_size` weights (0: a row)."""
    if not (math.isfinite(bits) and 1.0 < bits <= 16.0) or not (math.isfinite(group_size) and group_size >= 0):
        raise InputError(f"bits={bits} must lie above 1 and at most 16, and group_size={group_size} be 0 or more.")
    group = max(float(group_size) or ROW, 2.0)
    levels = 2.0**bits - 1.0
    reach = 2.0 * (_largest_size(group) if symmetric else _largest(group))
    return min(1.0, float(reach / levels) ** 2 / 12.0)


def _largest(group: float) -> float:
    """Return the mean of the largest of `group` normal numbers (Blom 1958)."""
    return NormalDist().inv_cdf((group - 0.375) / (group + 0.25))


def _largest_size(group: float) -> float:
    """Return the mean of the largest absolute value of `group` normal numbers."""
    return NormalDist().inv_cdf(0.5 + 0.5 * (group - 0.375) / (group + 0.25))
