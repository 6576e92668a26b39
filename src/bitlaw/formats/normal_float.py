"""The 4-bit tables of bitsandbytes: NF4 (QLoRA, Dettmers et al., arXiv 2305.14314, appendix E) and its FP4.

    value = max|w| of the group * the table entry nearest to w / max|w|

w is multiplied by the reciprocal, as bitsandbytes does; ties go to the lower entry (`codebook`). A group of zeros stays
zero; a group that holds NaN or infinity becomes NaN. The scale is stored in 32 bits, which bitsandbytes' nested
quantization of the scales (not modelled here) brings to about 8. bitsandbytes forms groups along the flattened weight: the
same where the group size divides the row. `nf4_g64` and `fp4bnb_g64` are its defaults.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.codebook import nearest_entry
from bitlaw.formats.scope import GROUP_FORM, GROUP_PATTERN, Scoped, parse_scope

NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
_FP4_MAGNITUDES = (0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Exponent bias 2 and one subnormal bit: not the E2M1 of OCP."""
FP4 = (*(-m / 12 for m in reversed(_FP4_MAGNITUDES)), 0.0, *(m / 12 for m in _FP4_MAGNITUDES))
TABLES = {"nf4": NF4, "fp4bnb": FP4}
SCALE_BITS = 32
SMALLEST = 1e-38


@dataclass(frozen=True, kw_only=True)
class TableFormat(Scoped):
    """A table times the group's maximum. Names: `nf4_g64`, `fp4bnb_g64`."""

    table: str
    group_size: int = 64

    @property
    def name(self) -> str:
        """Canonical name."""
        return f"{self.table}_{self.scope}"

    @property
    def bits(self) -> float:
        """Bits of an index."""
        return 4

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `nf4_g64`."""
        match = re.fullmatch(rf"({'|'.join(TABLES)})_({GROUP_PATTERN})", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form nf4_<{GROUP_FORM}> or fp4bnb_<the same>. For example nf4_g64."
            )
        return cls(table=match.group(1), **parse_scope(match.group(2), name))

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        return tuple(f"{table}_{rest}" for table in TABLES for rest in ("g64", "row", "tensor", "g32_short"))

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        if self.table == "nf4":
            return "16 quantiles of a normal distribution, -1 to 1 with 0"
        return "±(0, 0.0625, 2, 3, 4, 6, 8, 12) / 12"

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        return "max |w|; ties to the lower entry"

    @property
    def group_bits(self) -> float:
        """Bits of one scale."""
        return float(SCALE_BITS)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the largest magnitude. group [..., n] -> [..., 1]."""
        largest = group.abs().amax(-1, keepdim=True)
        return torch.where(largest.isfinite(), largest, torch.nan)

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest table entry times the maximum. values [..., m], parameters [..., 1] -> [..., m]."""
        return nearest_entry(values * (1 / parameters.clamp_min(SMALLEST)), self._table(values)).mul_(parameters)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every value of a group, ascending. parameters [..., 1] -> [..., v]."""
        return self._table(parameters) * parameters

    def _table(self, like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(TABLES[self.table], device=like.device, dtype=like.dtype)
