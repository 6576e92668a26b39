"""What a format's name, or a bit width and a group size, say about its grid, without torch.

    bits_per_weight   stored bits: code, and the group's share of its parameters (memory.py's convention)
    gaussian_error    mean squared error of rounding standard normal numbers to the grid
    format_error      the same: what rounding to nearest makes of Gaussian weights

Integers are computed, for any group size; every other format of the catalog stands in data/formats.csv, which
benchmarks/format_errors.py writes by rounding with the formats themselves. Laws that read such variables are given them; for
the others a degradation is taken to be proportional to the rounding error, as noise that is small and random would make it:

    QiD(format) = QiD(the law's own grid of that width) error(format) / error(own grid)

The law's own grid is integers in groups of 128. The factor's logarithm has a standard deviation of half its size, which is how
far published pairs of group sizes stray from it (docs/questions.md).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bitlaw.errors import InputError, UnknownName
from bitlaw.predict.memory import bits_per_weight

FILE = Path(__file__).parent.parent / "data" / "formats.csv"
LAW_GROUP = 128  # the groups of every published law, and of the fits that do not read group sizes
SHARE = 0.5  # standard deviation of a factor's logarithm, as a share of it
DRAWN = 2**16  # numbers behind an error: about 1 % of it
FEWEST, MOST = 2, 8
INTEGER = re.compile(r"int([2-8])_g(\d+)(_sym)?")
WIDTH_LIKE = ("bits", "bits_per_weight", "gaussian_error", "format_error")
"""Variables through which a law can read how fine the grid is."""
GRID_LIKE = ("group_size", "gaussian_error", "format_error")
"""Variables through which a law can read more of the grid than its width."""
DERIVED = ("group_size", "bits_per_weight", "gaussian_error", "format_error")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A format: nominal bits, weights that share a scale (0: a row), stored bits per weight, error on Gaussian numbers."""

    name: str
    bits: float
    group_size: int
    stored: float
    error: float
    symmetric: bool = False

    @property
    def own(self) -> bool:
        """True for the grid that laws which read the width alone are taken to be about."""
        return bool(INTEGER.fullmatch(self.name)) and self.group_size == LAW_GROUP

    def factor(self) -> tuple[float, float]:
        """Return QiD over that of the law's own grid, and the standard deviation of its logarithm."""
        log = 0.0 if self.own else math.log(self.error / gaussian_error(self.bits, LAW_GROUP, self.symmetric))
        return math.exp(log), abs(log) * SHARE

    def variables(self) -> dict[str, float]:
        """Return what laws may read of it."""
        errors = {"gaussian_error": self.error, "format_error": self.error}
        return {"group_size": float(self.group_size), "bits_per_weight": self.stored, **errors}


def grid(name: str) -> Grid:
    """Return the grid of a format's name: integers in groups of any size, or a name in data/formats.csv."""
    if match := INTEGER.fullmatch(name):
        return integer_grid(int(match[1]), int(match[2]), symmetric=bool(match[3]))
    known = _listed()
    if name not in known:
        raise UnknownName("format", name, known)
    return known[name]


def integer_grid(bits: float, group_size: int, *, symmetric: bool = False) -> Grid:
    """Return the grid of integers. Raises InputError for a width or a group size that cannot be."""
    if group_size < 1:
        raise InputError(f"group_size={group_size} is not usable here. Give weights that share a scale, such as 128.")
    return Grid(
        name=f"int{bits:g}_g{group_size}{'_sym' if symmetric else ''}",
        bits=float(bits),
        group_size=group_size,
        stored=bits_per_weight(bits, group_size, symmetric=symmetric),
        error=gaussian_error(bits, group_size, symmetric),
        symmetric=symmetric,
    )


def derived(bits: float, given: Mapping[str, float | str]) -> dict[str, float]:
    """Return the variables of `DERIVED` at a bit width, for the group size among the given variables."""
    return integer_grid(bits, max(int(given.get("group_size", LAW_GROUP)), 1)).variables()


def gaussian_error(bits: float, group_size: int, symmetric: bool = False) -> float:
    """Return the mean squared error of rounding standard normal numbers to integers whose scale a group shares.

    Between whole widths, and outside 2 to 8, its logarithm is linear in the bits.
    """
    low = min(max(math.floor(bits), FEWEST), MOST - 1)
    ends = [math.log(_whole_error(width, group_size, symmetric)) for width in (low, low + 1)]
    return math.exp(ends[0] + (bits - low) * (ends[1] - ends[0]))


@lru_cache(maxsize=256)
def _whole_error(bits: int, group_size: int, symmetric: bool) -> float:
    """Round as bitlaw.formats.integer does."""
    rows = max(DRAWN // group_size, 1)
    x = np.random.default_rng(0).standard_normal((rows, group_size))
    most = 2**bits - 1
    if symmetric:
        scale = 2.0 * np.abs(x).max(axis=1, keepdims=True) / most
        zero = np.full_like(scale, 2.0 ** (bits - 1))
    else:
        low, high = np.minimum(x.min(axis=1), 0.0)[:, None], np.maximum(x.max(axis=1), 0.0)[:, None]
        scale = (high - low) / most
        zero = np.round(-low / scale)
    codes = np.clip(np.round(x / scale) + zero, 0, most)
    return float(np.mean(((codes - zero) * scale - x) ** 2))


@lru_cache(maxsize=1)
def _listed() -> Mapping[str, Grid]:
    with FILE.open(newline="", encoding="utf-8") as file:
        return {
            row["name"]: Grid(
                name=row["name"],
                bits=float(row["bits"]),
                group_size=int(row["group_size"]),
                stored=float(row["bits_per_weight"]),
                error=float(row["gaussian_error"]),
                symmetric="_sym" in row["name"],
            )
            for row in csv.DictReader(file)
        }
