"""Codebooks made from the weights they serve: `quantile` and `kmeans`, one per row, group or tensor.

    quantile   entry i is the (i + 1/2) / 2^bits quantile of the group, linear between order statistics: every entry serves
               about as many weights (Dettmers & Zettlemoyer, arXiv 2212.09720, section 2.2, without its shared table)
    kmeans     Lloyd's iterations from those quantiles until nothing moves, at most 100: entries are the means of the weights
               nearest to them, a local optimum of the squared error (as CMPQ, arXiv 2410.13056, and SqueezeLLM use per
               channel, here unweighted); an entry nothing is near to stays where it is

Ties go to the lower entry (`codebook`); zero need not be an entry. A group that holds NaN or infinity becomes NaN. Stored
cost of a group: 2^bits entries of 16 bits, not rounded to 16 bits here: 256 bits for 4-bit codes, 2 bits a weight in
groups of 128, so rows suit better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.codebook import nearest_entry
from bitlaw.formats.scope import GROUP_FORM, GROUP_PATTERN, Scoped, parse_scope

ENTRY_BITS = 16
ITERATIONS = 100
KINDS = ("quantile", "kmeans")


@dataclass(frozen=True, kw_only=True)
class CodebookFormat(Scoped):
    """A codebook of 2^bits entries per group. Names: `quantile4_row`, `kmeans3_row`, `kmeans4_g1024`."""

    kind: str
    bits: int
    group_size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in KINDS:
            raise InputError(f"Codebook {self.kind!r} is not known. Known: {', '.join(KINDS)}.")
        if not isinstance(self.bits, int) or isinstance(self.bits, bool) or not 1 <= self.bits <= 8:
            raise InputError(f"bits={self.bits} is not a width of a codebook. Give a whole number from 1 to 8.")

    @property
    def name(self) -> str:
        """Canonical name."""
        return f"{self.kind}{self.bits}_{self.scope}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `kmeans3_row`."""
        match = re.fullmatch(rf"({'|'.join(KINDS)})(\d+)_({GROUP_PATTERN})", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form kmeans<bits>_<{GROUP_FORM}> or quantile<bits>_<the same>. "
                "For example kmeans3_row."
            )
        kind, bits, scope = match.groups()
        return cls(kind=kind, bits=int(bits), **parse_scope(scope, name))

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        return tuple(
            f"{kind}{rest}" for kind in KINDS for rest in ("3_row", "4_row", "4_g128", "2_tensor", "1_g32_short")
        )

    @property
    def grid(self) -> str:
        """The values of a group."""
        return f"{2**self.bits} {'quantiles' if self.kind == 'quantile' else 'cluster means'} of the group"

    @property
    def scale_rule(self) -> str:
        """How the entries are chosen."""
        return "no scale; ties to the lower entry"

    @property
    def group_bits(self) -> float:
        """Bits of one codebook."""
        return float(ENTRY_BITS * 2**self.bits)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the codebook, ascending. group [..., n] -> [..., 2^bits]."""
        flat = group.reshape(-1, group.shape[-1])
        ordered = flat.sort(-1).values
        entries = quantiles(ordered, 2**self.bits)
        if self.kind == "kmeans":
            entries = cluster_means(ordered, entries)
        entries = torch.where(ordered[:, :1].isfinite() & ordered[:, -1:].isfinite(), entries, torch.nan)
        return entries.reshape(*group.shape[:-1], -1)

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest entry. values [..., m], parameters [..., v] -> [..., m]."""
        return nearest_entry(values, parameters)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the codebook itself: the parameters are the values."""
        return parameters


def quantiles(ordered: torch.Tensor, count: int) -> torch.Tensor:
    """Return the (i + 1/2) / count quantiles. ordered [g, n], ascending -> [g, count]."""
    n = ordered.shape[1]
    position = (torch.arange(count, device=ordered.device, dtype=torch.float64) + 0.5) / count * (n - 1)
    below = position.floor().long()
    share = (position - below).to(ordered.dtype)
    low, high = ordered[:, below], ordered[:, (below + 1).clamp_max(n - 1)]
    return low + (high - low) * share


def cluster_means(ordered: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """Return Lloyd's fixed point from those entries. ordered [g, n] and entries [g, v], ascending -> [g, v].

    Clusters of sorted weights are runs, so a run's mean is a difference of prefix sums (kept in float64).
    """
    ordered = ordered.contiguous()  # a sort keeps the strides of what it is given, and searchsorted copies each time
    sums = torch.nn.functional.pad(ordered.double().cumsum(1), (1, 0))
    for _ in range(ITERATIONS):
        midpoints = ((entries[:, :-1] + entries[:, 1:]) / 2).contiguous()
        # Where each run ends: the number of weights <= midpoint.
        ends = torch.searchsorted(ordered, midpoints, right=True)
        bounds = torch.nn.functional.pad(ends, (1, 0))
        bounds = torch.cat((bounds, torch.full_like(bounds[:, :1], ordered.shape[1])), 1)
        counts = bounds.diff(dim=1)
        means = sums.gather(1, bounds).diff(dim=1) / counts
        moved = torch.where(counts > 0, means.to(entries.dtype), entries)
        if torch.equal(moved, entries):
            break
        entries = moved
    return entries
