"""Which weights share parameters, and how a name says it.

    g128    groups of 128 consecutive weights of a row        row      one group a row
    k32     the same, the word microscaling uses: a block     tensor   one group for the whole weight

`_short` after a size accepts rows that the size does not divide: 100 columns in groups of 32 are 32, 32, 32 and 4.
Without it such a row is refused. A row shorter than the size is one group in any case.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict, cast

import torch

from bitlaw.errors import InputError
from bitlaw.formats.base import Format

GROUP_PATTERN = r"g\d+(?:_short)?|row|tensor"
BLOCK_PATTERN = r"k\d+(?:_short)?"
GROUP_FORM = "g<group size>, g<group size>_short, row or tensor"


def require_group_size(group_size: object) -> int:
    """Return the group size if it is a whole number of at least 0 (0: the whole row), else raise InputError."""
    if not isinstance(group_size, int) or isinstance(group_size, bool) or group_size < 0:
        raise InputError(
            f"group_size={group_size} is not usable. Give a whole number such as 128, or 0 for the whole row."
        )
    return group_size


@dataclass(frozen=True, kw_only=True)
class Scoped(ABC):
    """The part formats share: their groups. `group_size` 0 is the whole row, or the whole tensor if `per_tensor`."""

    group_size: int = 128
    short: bool = False
    per_tensor: bool = False

    def __post_init__(self) -> None:
        require_group_size(self.group_size)
        if self.per_tensor and self.group_size:
            raise InputError(f"per_tensor=True has no groups, group_size={self.group_size} was given. Choose one.")
        if self.short and not self.group_size:
            raise InputError("short=True says how a row ends that the group size does not divide: give a group_size.")

    @property
    @abstractmethod
    def name(self) -> str:
        """Canonical name."""

    @property
    @abstractmethod
    def group_bits(self) -> float:
        """Bits stored for the parameters of one group, wherever the group ends."""

    @abstractmethod
    def choose(self, group: torch.Tensor) -> torch.Tensor:
        """Choose parameters for groups. group [..., n] -> [..., p]."""

    @property
    def scope(self) -> str:
        """The scope as it stands in names: `g128`, `g128_short`, `row`, `tensor`."""
        if self.per_tensor:
            return "tensor"
        return f"g{self.group_size}" + "_short" * self.short if self.group_size else "row"

    @property
    def canonical(self) -> str:
        """Name of the simplest equal format: without `_short`, which changes nothing where both can be used."""
        return replace(self, short=False).name

    @property
    def parameter_bits(self) -> float:
        """Bits stored for the parameters of one group of a row."""
        return 0.0 if self.per_tensor else self.group_bits

    @property
    def tensor_bits(self) -> float:
        """Bits stored once per weight tensor."""
        return self.group_bits if self.per_tensor else 0.0

    def prepare(self, weight: torch.Tensor) -> Format:
        """Return itself, or with one group for the whole tensor: the format with those parameters settled."""
        if not self.per_tensor:
            return cast(Format, self)
        settled = self.choose(weight.reshape(-1))
        return prepared(self, lambda group: settled.expand(*group.shape[:-1], -1))

    def parameters(self, group: torch.Tensor) -> torch.Tensor:
        """Choose parameters for groups. group [..., n] -> [..., p]."""
        assert not self.per_tensor, f"{self.name} has one scale per tensor: use what prepare(weight) returns"
        return self.choose(group)


def prepared(format: object, parameters: Callable[[torch.Tensor], torch.Tensor]) -> Format:
    """Return a format that is like `format` in all but `parameters`, and is prepared already."""
    return cast(Format, _Prepared(cast(Format, format), parameters))


def unprepared(format: Format) -> Format:
    """Return the format that `prepare` was asked of; itself if it is not bound to a weight."""
    return format._format if isinstance(format, _Prepared) else format


class _Prepared:
    """A format bound to one weight tensor."""

    def __init__(self, format: Format, parameters: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._format = format
        self.parameters = parameters

    def __getattr__(self, name: str) -> object:
        return getattr(self._format, name)

    def prepare(self, weight: torch.Tensor) -> _Prepared:
        """Return itself."""
        return self


class ScopeFields(TypedDict):
    """What a name says about groups."""

    group_size: int
    short: bool
    per_tensor: bool


def parse_scope(text: str, name: str) -> ScopeFields:
    """Return the fields of Scoped that a part of a name stands for: `g32_short`, `k32`, `row`, `tensor`.

    Raises InputError for a size below 1, quoting the whole name.
    """
    match = re.fullmatch(r"[gk](\d+)(_short)?", text)
    if not match:
        return {"group_size": 0, "short": False, "per_tensor": text == "tensor"}
    size = int(match.group(1))
    if size < 1:
        raise InputError(f"Format {name!r} has groups of {size} weights. Give a size of at least 1, for example 32.")
    return {"group_size": size, "short": bool(match.group(2)), "per_tensor": False}
