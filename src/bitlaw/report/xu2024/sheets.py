"""What a figure of arXiv 2410.12119 is made of, as plain arrays: layers on axes, axes on a sheet. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError

Array = NDArray[np.float64]
NLL = "loss, nats per token"
SNR = "signal-to-noise ratio, dB"
SIZE = "quantized parameters D"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One thing on axes: x, y [n], and for bands low/high, for arrows the ends x2/y2, all [n].

    kind: `line`, `points`, `band`, `arrows`, `bars` (horizontal, y the places), `level` (a horizontal line at y[0]),
    `upright` (a vertical line at x[0]), `identity`, `text` (labels at x, y). color: a key of the sheet's palette; label: in the
    legend, once a name. marker `o`, `D`, `s`, ...; filled: hollow markers are "before".
    """

    kind: str
    x: Array = field(default_factory=lambda: np.array([]))
    y: Array = field(default_factory=lambda: np.array([]))
    low: Array = field(default_factory=lambda: np.array([]))
    high: Array = field(default_factory=lambda: np.array([]))
    x2: Array = field(default_factory=lambda: np.array([]))
    y2: Array = field(default_factory=lambda: np.array([]))
    color: str = "ink"
    label: str = ""
    marker: str = "o"
    filled: bool = True
    dash: str = "solid"
    size: float = 22.0
    width: float = 1.3
    alpha: float = 1.0
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Axes:
    """One pair of axes. Scales: `linear`, `log`, `symlog`. ticks: (place, text) of categories on y; `falling` x runs right to left."""

    title: str
    x_label: str
    y_label: str
    layers: tuple[Layer, ...]
    x_scale: str = "linear"
    y_scale: str = "linear"
    falling: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    linear_within: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A figure. palette: which colours its keys mean: `family`, `bits`, `size` (light to dark), `snr` or `plain`.

    Axes of a row share their y axis if `share_y`. order: the colour keys in order, for the legend.
    """

    name: str
    title: str
    caption: str
    rows: tuple[tuple[Axes, ...], ...]
    palette: str = "plain"
    order: tuple[str, ...] = ()
    share_y: bool = False
    height: float = 3.1
    width: float = 3.6


class Absent(InputError):
    """What a figure needs was not measured; the message says what."""


def arrays(pairs: Sequence[tuple[Any, Any]]) -> tuple[Array, Array]:
    """Return x and y of pairs, sorted by x."""
    ordered = sorted((float(x), float(y)) for x, y in pairs)
    x, y = zip(*ordered) if ordered else ((), ())
    return np.array(x, dtype=float), np.array(y, dtype=float)
