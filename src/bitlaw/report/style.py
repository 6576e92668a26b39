"""One look for every figure: colour by model size, marker and dash by bit width, plain numbers on the axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bitlaw.report.words import count

INK = "#1f2933"
FAINT = "#9aa5b1"
GRID = "#e4e7eb"
PUBLISHED = "#b4441d"

SETTINGS: Mapping[Any, Any] = {
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
"""Matplotlib settings, used inside `rc_context` only; nothing global changes."""

Dash = tuple[float, tuple[float, ...]]
SOLID: Dash = (0, ())
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[Dash, ...] = (SOLID, (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))


def model_colors(models: Iterable[str]) -> dict[str, str]:
    """Return model -> colour, from light and warm for the smallest to dark for the largest."""
    names = list(models)
    ramp = matplotlib.colormaps["viridis"]
    places = [0.45] if len(names) == 1 else np.linspace(0.80, 0.08, len(names))
    return {name: matplotlib.colors.to_hex(ramp(place)) for name, place in zip(names, places)}


def bits_marks(bits: Iterable[float]) -> dict[float, tuple[str, Dash]]:
    """Return bits -> marker and dash, in the order given; 16 bits are small dots on a thin dotted line."""
    marks: dict[float, tuple[str, Dash]] = {
        width: (_MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)]) for i, width in enumerate(bits)
    }
    marks[16.0] = (".", (0, (1, 1)))
    return marks


def tokens_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic with labels such as 100k and 2.5M, even when it spans less than a decade."""
    axes.set_xscale("log")
    low, high = min(values), max(values)
    room = (high / low) ** 0.05 if high > low else 1.5
    axes.set_xlim(low / room, high * room)
    decades = np.log10(high / low) if high > low else 0.0
    steps = (1.0,) if decades > 3.2 else (1.0, 3.0) if decades > 1.4 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.xaxis.set_minor_locator(NullLocator())  # small ticks took a quarter of the drawing time


def bits_axis(axes: Axes, ticks: Sequence[float]) -> None:
    """Make the x axis logarithmic with a tick at each measured bit width."""
    axes.set_xscale("log")
    axes.set_xlim(min(ticks) / 1.08, max(ticks) * 1.08)
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def symlog_axis(axes: Axes, which: str, low: float, high: float, linear: float) -> None:
    """Make an axis logarithmic beyond ±linear and linear between; ticks at zero and at powers of ten, 3 times too."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    set_scale("symlog", linthresh=linear, linscale=0.6)
    top = max(high, linear) * 1.35
    bottom = low * 1.35 if low < -linear else min(low - 0.15 * linear, -0.25 * linear)
    set_limits(bottom, top)
    decades = np.log10(top / linear)
    ticks = _symlog_ticks(bottom, top, linear, thirds=decades < 2.2 and which == "y")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))


def _symlog_ticks(bottom: float, top: float, linear: float, *, thirds: bool) -> list[float]:
    powers = [linear * 10.0**i for i in range(12)]
    sizes = sorted(p * f for p in powers for f in ((1.0, 3.0) if thirds else (1.0,)))
    found = [0.0] + [s for s in sizes if s <= top * 1.001] + [-s for s in sizes if -s >= bottom * 1.001]
    return sorted(round(t, 12) for t in found)


def linear_axis(axes: Axes) -> None:
    """Give a linear y axis few, plain ticks."""
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def legend_order(models: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return (model, legend text) from the smallest to the largest."""
    return [(model, f"{model} (N = {count(n)})") for model, n in models.items()]
