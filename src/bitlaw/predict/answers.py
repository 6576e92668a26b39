"""What every answer is made of: an interval that says what it contains, and how far outside the fitted range it lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bitlaw.errors import InputError, require_count
from bitlaw.laws import VARIABLES

FEWEST = 1e3  # no model has fewer parameters and no training fewer tokens: the number is in another unit
RAW = ("parameters", "tokens")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Low and high at a level (0.9: nine in ten), and in words what it is made of. An end nobody can give is infinite."""

    low: float
    high: float
    level: float
    made_of: str


@dataclass(frozen=True, kw_only=True)
class Outside:
    """One variable outside the fitted range: by which factor, and in words."""

    variable: str
    value: float
    low: float
    high: float
    factor: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Base of all answers: a value with its unit and interval, where it comes from, and what it holds for."""

    value: float
    unit: str
    interval: Interval
    law: str
    formula: str
    constants: Mapping[str, float]
    source: str
    sureness: str
    outside: tuple[Outside, ...]
    conditions: tuple[str, ...]

    @property
    def inside(self) -> bool:
        """True if every variable lies in the range the constants were fitted on."""
        return not self.outside

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an infinite end of an interval becomes None (its words say so)."""
        content = {name: plain(value) for name, value in asdict(self).items()}
        return {**content, "inside": self.inside}


def outside_of(fitted: Mapping[str, tuple[float, float]], asked: Mapping[str, float]) -> tuple[Outside, ...]:
    """Return which of the asked values leave the fitted ranges, the farthest first.

    fitted: variable -> (lowest, highest); a variable without a range is not judged.
    """
    found = []
    for name, value in asked.items():
        if name not in fitted:
            continue
        low, high = fitted[name]
        if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
            continue
        factor, edge, side = (value / high, high, "largest") if value > high else (low / value, low, "smallest")
        words = f"{name} {value:.4g} is {_times(factor)} {'beyond' if value > high else 'below'} the {side} fitted"
        if low == high:
            words = f"{name} {value:.4g}: these constants hold at {low:.4g} {VARIABLES[name].unit} only"
        else:
            words += f" {edge:.3g}"
        found.append(Outside(variable=name, value=value, low=low, high=high, factor=factor, words=words))
    return tuple(sorted(found, key=lambda out: -out.factor))


def count(name: str, value: float, what: str) -> float:
    """Return a number above 0 as float; numpy numbers are welcome.

    Raises InputError, also for a count of parameters or tokens so small that it must be in billions.
    """
    number = require_count(name, value.item() if hasattr(value, "item") else value, what)
    if name in RAW and number < FEWEST:
        raise InputError(
            f"{name}={number:g} looks like millions, billions or trillions. Give the raw count of {what}: "
            f"{number:g}e9 for {number:g} billion."
        )
    return number


def refuse_outside(outside: Iterable[Outside], strict: bool) -> None:
    """Raise InputError if the answer must be strict and any variable is outside the fitted range."""
    words = list(dict.fromkeys(out.words for out in outside))
    if strict and words:
        raise InputError(
            f"Outside the fitted range, and strict was asked for: {'; '.join(words)}. Leave out strict for an answer "
            "with a wide interval, or fit a law to measurements that reach there."
        )


def _times(factor: float) -> str:
    return f"{factor:.0f}x" if factor >= 9.5 else f"{factor:.2g}x" if factor >= 1.1 else f"{factor:.3g}x"


def plain(value: Any) -> Any:
    """Return dicts, lists and numbers as JSON holds them; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
