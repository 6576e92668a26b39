"""Small floats with a float scale: FP8, FP6, FP4 and any ExMy of at most 8 bits, per tensor, row or group.

    scale = reach of |w| / largest element        value = scale * round(w / scale)

The reach is the maximum, a percentile (`_p99.9`) or the result of a squared-error search (`_mse`, see `scale_rules`). Ties:
even, or `_away` from zero. Elements: `elements` (E4M3 ends at 448, E5M2 at 57344); beyond the ends values are clamped. A
group of zeros has scale 1; a group that holds NaN or infinity does not come out finite. A scale counts 16 bits and is not
rounded to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from bitlaw.errors import InputError
from bitlaw.formats.elements import TIES, FloatElement, parse_float_element
from bitlaw.formats.integer import SCALE_BITS
from bitlaw.formats.powers import divided
from bitlaw.formats.scale_rules import RULE_PATTERN, describe, reach, require_rule, search
from bitlaw.formats.scope import GROUP_FORM, GROUP_PATTERN, Scoped, parse_scope
from bitlaw.formats.ternary import TernaryFormat


@dataclass(frozen=True, kw_only=True)
class FloatFormat(Scoped):
    """ExMy grid with a float scale. Names: `fp8_e4m3_row`, `fp4_e2m1_g32`, `fp8_e5m2_tensor`, `fp6_e2m3_g32_mse_away`."""

    element: FloatElement
    rule: str = "absmax"
    ties: str = "even"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_rule(self.rule)
        if self.ties not in TIES:
            raise InputError(f"ties={self.ties!r} is not known. Known: {', '.join(TIES)}.")

    @property
    def name(self) -> str:
        """Canonical name."""
        rule = "" if self.rule == "absmax" else f"_{self.rule}"
        away = "_away" * (self.ties == "away")
        return f"fp{self.element.bits}_{self.element.name}_{self.scope}{rule}{away}"

    @property
    def canonical(self) -> str:
        """fp2_e1m0 has the values -2, 0 and 2: ternary, with the scale halved."""
        if self.element.name == "e1m0" and self.ties == "even":
            return TernaryFormat(group_size=self.group_size, per_tensor=self.per_tensor, rule=self.rule).name
        return super().canonical

    @property
    def bits(self) -> float:
        """Bits of an element."""
        return self.element.bits

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the format of a name such as `fp8_e4m3_row`."""
        match = re.fullmatch(rf"fp(\d+)_(e\w+?)_({GROUP_PATTERN})(?:_({RULE_PATTERN}))?(_away)?", name)
        if not match:
            raise InputError(
                f"Format {name!r} is not of the form fp<bits>_e<x>m<y>_<{GROUP_FORM}>, with _mse or _p<percentile> for "
                "another scale rule, then _away. For example fp8_e4m3_row or fp4_e2m1_g32."
            )
        bits, element, scope, rule, away = match.groups()
        return cls(
            element=parse_float_element(element, int(bits)),
            **parse_scope(scope, name),
            rule=rule or "absmax",
            ties="away" if away else "even",
        )

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Return names that cover the family."""
        eight = ("fp8_e4m3_row", "fp8_e4m3_tensor", "fp8_e5m2_row", "fp8_e3m4_g128")
        six = ("fp6_e2m3_g128", "fp6_e3m2_g128", "fp5_e2m2_g32_short")
        four = ("fp4_e2m1_g32", "fp4_e1m2_g32", "fp4_e3m0_g32", "fp3_e1m1_g32", "fp2_e1m0_g128")
        rules = ("fp4_e2m1_g32_mse", "fp4_e2m1_row_p99.9", "fp4_e2m1_g32_away", "fp2_e1m0_g128_mse")
        return eight + six + four + rules

    @property
    def grid(self) -> str:
        """The values of a group before scaling."""
        return self.element.describe()

    @property
    def scale_rule(self) -> str:
        """How the scale is chosen."""
        return f"{describe(self.rule)} / {self.element.largest:g}; ties {self.ties}"

    @property
    def group_bits(self) -> float:
        """Bits of one scale."""
        return float(SCALE_BITS)

    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Return the scale. group [..., n] -> [..., 1]."""
        scale = divided(reach(group.abs(), self.rule), self.element.largest).unsqueeze(-1)
        scale = torch.where(scale == 0, 1.0, scale)
        return search(group, scale, torch.clone, self.round) if self.rule == "mse" else scale

    def round(self, values: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the nearest grid value. values [..., m], parameters [..., 1] -> [..., m]."""
        rounded = self.element.round_((values / parameters).float(), self.ties)
        return rounded.to(values.dtype).mul_(parameters)

    def values(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return every value of a group, ascending. parameters [..., 1] -> [..., v]."""
        return torch.tensor(self.element.values(), device=parameters.device, dtype=parameters.dtype) * parameters
