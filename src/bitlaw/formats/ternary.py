"""Ternary weights, 1.58 bits: -1, 0 and 1 times a scale.

    value = clamp(round(w / scale), -1, 1) * scale        ties to even: a weight of half a scale becomes 0

Scale rules: `absmean` (the default) is the mean magnitude, as BitNet b1.58 trains with (Ma et al., arXiv 2402.17764,
equations 1-3; there per tensor: `int1.58_tensor`); `absmax`, `p99` and `mse` are those of `scale_rules`. A group of zeros
has scale 1; a group that holds NaN or infinity does not come out finite. log2 3 = 1.58 bits a weight are counted, which
packing five weights into a byte (1.6) nearly reaches, and a 16-bit scale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.integer import SCALE_BITS
from bitlaw.formats.scale_rules import RULE_PATTERN, describe, reach, require_rule, search
from bitlaw.formats.scope import GROUP_FORM, GROUP_PATTERN, Scoped, parse_scope


@dataclass(frozen=True, kw_only=True)
class TernaryFormat(Scoped):
    """Ternary grid. Names: `int1.58_g128`, `int1.58_tensor`, `int1.58_row_absmax`, `int1.58_g128_mse`."""

    rule: str = "absmean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule != "absmean":
            require_rule(self.rule)

    @property
    def name(self) -> str:
        """Canonical name."""
        return f"int1.58_{self.scope}" + ("" if self.rule == "absmean" else f"_{self.rule}")

    @property
    def bits(self) -> float:
        """Nominal bits per weight."""
        return 1.58

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `int1.58_g128`."""
        match = re.fullmatch(rf"int1\.58_({GROUP_PATTERN})(?:_(absmax|{RULE_PATTERN}))?", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form int1.58_<{GROUP_FORM}>, with _absmax, _mse or _p<percentile> for "
                "another scale rule than the mean magnitude. For example int1.58_g128."
            )
        scope, rule = match.groups()
        return cls(**parse_scope(scope, name), rule=rule or "absmean")

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        return tuple(
            f"int1.58_{rest}"
            for rest in ("g128", "tensor", "row", "g32_short", "g128_absmax", "g128_mse", "tensor_mse", "row_p99")
        )

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        return "-1, 0, 1"

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        return ("mean |w|" if self.rule == "absmean" else describe(self.rule)) + "; ties even"

    @property
    def group_bits(self) -> float:
        """Bits of one scale."""
        return float(SCALE_BITS)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the scale. group [..., n] -> [..., 1]."""
        magnitudes = group.abs()
        if self.rule == "absmean":  # float64: the same for every order of summation
            scale = magnitudes.mean(-1, dtype=torch.float64).to(group.dtype)
        else:
            scale = reach(magnitudes, self.rule)
        scale = torch.where(scale == 0, 1.0, scale).unsqueeze(-1)
        return search(group, scale, torch.clone, self.round) if self.rule == "mse" else scale

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest of -scale, 0 and scale. values [..., m], parameters [..., 1] -> [..., m]."""
        return (values / parameters).round_().clamp_(-1, 1).mul_(parameters)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return -scale, 0, scale. parameters [..., 1] -> [..., 3]."""
        return torch.tensor([-1.0, 0.0, 1.0], device=parameters.device, dtype=parameters.dtype) * parameters
