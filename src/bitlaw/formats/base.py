"""What every format offers, and how a name such as `int4_g128_sym` becomes one."""

from __future__ import annotations

import re
from typing import Protocol, Self, cast

import torch

from bitlaw import catalog
from bitlaw.errors import InputError, UnknownName


class Format(Protocol):
    """A grid of numbers with a rule for its parameters.

    Letters: `...` any leading dimensions (rows, groups), `n` weights that share parameters, `p` parameters of one group.
    """

    @property
    def name(self) -> str:
        """Canonical name; `parse_format` gives an equal format back."""

    @property
    def bits(self) -> float:
        """Nominal bits per weight, P in the laws (a ternary weight has 1.58)."""

    @property
    def group_size(self) -> int:
        """Consecutive weights of a row that share parameters; 0 means the whole row."""

    @property
    def parameter_bits(self) -> float:
        """Bits stored for the parameters of one group (scale, zero point, codebook)."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of that name. Raises InputError saying what is accepted."""

    def parameters(self, group: torch.Tensor) -> torch.Tensor:
        """Choose parameters for groups. group [..., n], float -> [..., p], same dtype."""

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the grid value nearest to each value. values [..., m], parameters [..., p] -> [..., m], same dtype."""


def parse_format(name: str) -> Format:
    """Return the format a canonical name stands for, such as `int4_g128_sym`.

    Raises UnknownName for letters no format begins with, InputError for a malformed rest.
    """
    match = re.match(r"[a-z]+", name)
    family = match.group(0) if match else name
    if family not in catalog.FORMATS:
        raise UnknownName("format", name, [f"{known}<bits>_g<group size>" for known in catalog.FORMATS])
    return cast(Format, catalog.find("format", family).load().parse(name))


def require_group_size(group_size: object) -> int:
    """Return the group size if it is a whole number of at least 0 (0: the whole row), else raise InputError."""
    if not isinstance(group_size, int) or isinstance(group_size, bool) or group_size < 0:
        raise InputError(
            f"group_size={group_size} is not usable. Give a whole number such as 128, or 0 for the whole row."
        )
    return group_size
