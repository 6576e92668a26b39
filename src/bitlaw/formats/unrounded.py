"""The format of weights that are real numbers: nothing is rounded, 16 bits are stored. What perturbations are in.

It is no entry of the catalog, because no method rounds to it; its name in records is `none`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Unrounded:
    """Every real number; a row is one group without parameters."""

    name: str = "none"
    bits: float = 16.0
    group_size: int = 0
    short: bool = True
    parameter_bits: float = 0.0
    tensor_bits: float = 0.0
    canonical: str = "none"
    grid: str = "real numbers"
    scale_rule: str = "none"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of the name `none`."""
        if name != "none":
            raise InputError(f"Format {name!r} cannot be used where nothing is rounded. Give 'none'.")
        return cls()

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return the one name."""
        return ("none",)

    def prepare(self, weight: torch.Tensor) -> Unrounded:
        """Return itself: it needs nothing of the weight."""
        return self

    def parameters(self, group: torch.Tensor) -> torch.Tensor:
        """Return no parameters. group [..., n] -> [..., 0]."""
        return group[..., :0]

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the values themselves. values [..., m] -> [..., m]."""
        return values

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Raise InputError: real numbers cannot be listed."""
        raise InputError("The format 'none' holds every real number, so its values cannot be listed.")
