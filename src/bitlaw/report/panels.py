"""What a figure is made of, as plain arrays: points, law curves, panels of both. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TOKENS = "training tokens D"
QID = "QiD, nats per token"


@dataclass(frozen=True, kw_only=True)
class Points:
    """Measured points of one model: x, y and the standard error of y, each [n]; NaN: unknown.

    `bits` are their bit widths, `keys` content keys (anchors of the table's rows), `titles` what a reader sees when
    pointing at one; `joined` points get a line through them.
    """

    model: str
    bits: tuple[float, ...]
    x: Array
    y: Array
    error: Array
    keys: tuple[str, ...]
    titles: tuple[str, ...]
    joined: bool = True


@dataclass(frozen=True, kw_only=True)
class Line:
    """A law's curve for one model at one bit width with its band: x, y, low, high, each [n]."""

    model: str
    bits: float
    x: Array
    y: Array
    low: Array
    high: Array


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes. Scales are `linear`, `log` or `symlog` (linear within ±`linear_within`, so negatives show)."""

    title: str
    points: tuple[Points, ...]
    lines: tuple[Line, ...] = ()
    x_label: str = TOKENS
    y_label: str = QID
    x_scale: str = "log"
    y_scale: str = "symlog"
    linear_within: float = 1e-3
    diagonal: bool = False
    x_ticks: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels in rows; panels of a row share their y axis if `share_y`. `caption` says what is seen and how many points."""

    name: str
    title: str
    caption: str
    rows: tuple[tuple[Panel, ...], ...]
    share_y: bool = True
    show_bits: bool = True


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One parameter under one setup: value and interval; published ones have no interval."""

    parameter: str
    label: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    published: bool = False


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """The figure of fitted exponents beside the published ones."""

    name: str
    title: str
    caption: str
    rows: tuple[Estimate, ...] = field(default_factory=tuple)
