"""What every format offers, and how a name such as `int4_g128_sym` becomes one."""

from __future__ import annotations

import re
from typing import Protocol, Self, cast

import torch

from bitlaw import catalog
from bitlaw.errors import UnknownName


class Format(Protocol):
    """A grid of numbers with a rule for its parameters.

    A method first calls `prepare(weight)` once per weight, then `parameters(group)` once per group and `round` as often
    as it likes; only what `prepare` returned may be asked for parameters (`grouping` does all three). Arithmetic is
    float32: give float32.

    Letters: `...` any leading dimensions (rows, groups), `n` weights that share parameters, `p` parameters of one group,
    `v` values of one group's grid.
    """

    @property
    def name(self) -> str:
        """Canonical name; `parse_format` gives an equal format back."""

    @property
    def bits(self) -> float:
        """Nominal bits per weight, P in the laws (a ternary weight has 1.58)."""

    @property
    def group_size(self) -> int:
        """Consecutive weights of a row that share parameters; 0 means the whole row (or the whole tensor)."""

    @property
    def short(self) -> bool:
        """Whether a row that the group size does not divide ends in a short group instead of being refused."""

    @property
    def parameter_bits(self) -> float:
        """Bits stored for the parameters of one group (scale, zero point, codebook)."""

    @property
    def tensor_bits(self) -> float:
        """Bits stored once per weight tensor (a per-tensor scale); 0 for most formats."""

    @property
    def canonical(self) -> str:
        """Name of the simplest format with the same values and rounding; its own name if there is none."""

    @property
    def grid(self) -> str:
        """The values of a group before scaling, in words, for tables."""

    @property
    def scale_rule(self) -> str:
        """How the parameters are chosen and ties are broken, in words, for tables."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of that name. Raises InputError saying what is accepted."""

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family: the conformance tests and the table of the docs run over them."""

    def prepare(self, weight: torch.Tensor) -> Format:
        """Return the format bound to what it needs of the whole weight [rows, columns]; itself if that is nothing."""

    def parameters(self, group: torch.Tensor) -> torch.Tensor:
        """Choose parameters for groups. group [..., n], float -> [..., p], same dtype."""

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the grid value nearest to each value. values [..., m], parameters [..., p] -> [..., m], same dtype."""

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every representable value of a group, ascending, zero once. parameters [..., p] -> [..., v]."""


def parse_format(name: str) -> Format:
    """Return the format a canonical name stands for, such as `int4_g128_sym`.

    The catalog is asked for the part before the first underscore (`int1.58`, `nf4`), then for its letters (`int`).
    Raises UnknownName for letters no format begins with, InputError for a malformed rest.
    """
    head = name.split("_", 1)[0]
    letters = re.match(r"[a-z]*", head)
    family = head if head in catalog.FORMATS or letters is None else letters.group(0)
    if family not in catalog.FORMATS:
        raise UnknownName("format", name, sorted({e for key in catalog.FORMATS for e in _examples(key)}))
    return cast(Format, catalog.find("format", family).load().parse(name))


def _examples(family: str) -> tuple[str, ...]:
    """Return the first names of a family, for errors."""
    return tuple(catalog.find("format", family).load().examples()[:1])
