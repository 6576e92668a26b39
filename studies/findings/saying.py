"""What a claim is and how it is judged: by rule, from an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from matplotlib.figure import Figure
from pairing import Ratio

from bitlaw.report.slopes import Slope

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
TINY = 1e-9  # rounding, not evidence


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, whose it is, how it stands here, and the number it stands on."""

    claim: str
    whose: str
    verdict: str
    evidence: str


@dataclass(kw_only=True)
class Part:
    """A section of the page: title, claims for the table at the top, text, figures by file name."""

    title: str
    claims: list[Claim] = field(default_factory=list)
    text: str = ""
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)


def verdict(low: float, high: float, border: float = 0.0) -> str:
    """Return HOLDS for an interval above the border, FAILS below it, OPEN across it or without one."""
    return HOLDS if low > border + TINY else FAILS if high < border - TINY else OPEN


def contrary(said: str) -> str:
    """Return the verdict on the opposite claim."""
    return {HOLDS: FAILS, FAILS: HOLDS}.get(said, said)


def within(low: float, high: float, least: float, most: float) -> str:
    """Return HOLDS for an interval inside [least, most], FAILS for one outside it, OPEN for one that reaches across an end."""
    if low >= least - TINY and high <= most + TINY:
        return HOLDS
    return FAILS if high < least - TINY or low > most + TINY else OPEN


def above(found: Slope) -> str:
    """Return the verdict on a slope being above 0."""
    return verdict(found.low, found.high)


def over(found: Ratio, border: float = 1.0) -> str:
    """Return the verdict on a ratio being above 1, or another border."""
    return verdict(found.low, found.high, border)


def all_of(said: Iterable[str]) -> str:
    """Return HOLDS where every part holds, FAILS where one does not, else OPEN."""
    parts = list(said)
    if FAILS in parts:
        return FAILS
    return HOLDS if parts and all(part == HOLDS for part in parts) else OPEN
