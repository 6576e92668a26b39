"""Sheets -> matplotlib figures -> PNG. Draws any sheet; knows no figure of the paper by name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes as Canvas
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from bitlaw.report.style import FAINT, INK, SETTINGS
from bitlaw.report.words import count
from bitlaw.report.xu2024.sheets import SIZE, Axes, Layer, Sheet

DPI = 120
COLORS = 256
FIXED: dict[str, dict[str, str]] = {
    "plain": {},
    "family": {
        "gpt2": "#0072b2", "opt": "#d55e00", "bloom": "#009e73", "llama": "#aa4499", "gpt_neox": "#b8860b", "mpt": "#3db7e4",
    },
    "bits": {"2 bits": "#b4441d", "3 bits": "#e69f00", "4 bits": "#009e73", "6 bits": "#0072b2"},
    "methods": {"nearest": "#d55e00", "gptq": "#0072b2"},
    "costs": {"gptq": "#0072b2", "nearest": "#d55e00", "landscape": "#009e73", "baseline": "#6b7785"},
    "bars": {"impurity": "#7aa6c9", "permutation": "#0072b2", "up": "#d55e00", "down": "#009e73", "base": "#6b7785"},
}  # fmt: skip
OTHER = ("#332288", "#882255", "#999933", "#44aa99", "#117733", "#661100")
DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (5, 2)), "dot": (0, (1.2, 1.8)), "dashdot": (0, (6, 1.6, 1.2, 1.6))}


def draw_png(sheet: Sheet) -> bytes:
    """Return a sheet as PNG of at most 256 colours, a third of the bytes; the same sheet gives the same bytes."""
    from PIL import Image

    with matplotlib.rc_context({**SETTINGS}):
        drawn, small = io.BytesIO(), io.BytesIO()
        figure_of(sheet).savefig(drawn, format="png", dpi=DPI)
    drawn.seek(0)
    with Image.open(drawn) as image:
        # maximum coverage keeps rare colours, which are those of the marks
        few = image.convert("RGB").quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(small, format="png", optimize=True)
    return small.getvalue()


def figure_of(sheet: Sheet) -> Figure:
    """Return a sheet as a matplotlib figure."""
    colors = _colors(sheet)
    columns = max(len(row) for row in sheet.rows)
    legend_rows = -(-len(_labels(sheet)) // _per_row(sheet, columns))
    size = (sheet.width * columns, sheet.height * len(sheet.rows) + 0.24 * legend_rows + 0.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(sheet.rows), columns, squeeze=False, sharey=sheet.share_y and "row")
    for row, panels in enumerate(sheet.rows):
        for column in range(columns):
            if column >= len(panels):
                grid[row][column].set_axis_off()
            else:
                _draw(grid[row][column], panels[column], colors)
                if column and sheet.share_y:
                    grid[row][column].set_ylabel("")
    _legend(figure, grid, sheet, columns)
    return figure


def _colors(sheet: Sheet) -> dict[str, str]:
    fixed = {"ink": INK, "grey": FAINT, **FIXED.get(sheet.palette, {})}
    keys = dict.fromkeys([*sheet.order, *(layer.color for row in sheet.rows for axes in row for layer in axes.layers)])
    missing = [key for key in keys if key not in fixed]
    if sheet.palette in ("size", "snr"):
        ramp = matplotlib.colormaps["viridis" if sheet.palette == "size" else "plasma"]
        places = np.linspace(0.82, 0.08, len(missing)) if len(missing) > 1 else [0.4]
        return {**fixed, **{key: matplotlib.colors.to_hex(ramp(place)) for key, place in zip(missing, places)}}
    return {**fixed, **{key: OTHER[i % len(OTHER)] for i, key in enumerate(missing)}}


def _draw(canvas: Canvas, axes: Axes, colors: dict[str, str]) -> None:
    late = ("identity", "text")  # these need the limits of the others
    for layer in sorted(axes.layers, key=lambda one: one.kind in late):
        _layer(canvas, layer, colors[layer.color])
    canvas.set_title(axes.title)
    canvas.set_xlabel(axes.x_label)
    canvas.set_ylabel(axes.y_label)
    _scale(canvas, axes, "x", axes.x_scale)
    _scale(canvas, axes, "y", axes.y_scale)
    if axes.x_label == SIZE:
        canvas.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    if axes.ticks:
        canvas.set_yticks([place for place, _ in axes.ticks], [text for _, text in axes.ticks])
        canvas.set_ylim(max(p for p, _ in axes.ticks) + 0.7, min(p for p, _ in axes.ticks) - 0.7)
    if axes.falling:
        canvas.invert_xaxis()


def _layer(canvas: Canvas, layer: Layer, color: str) -> None:
    shared: dict[str, Any] = {"color": color, "alpha": layer.alpha}
    label = layer.label or "_nolegend_"
    dash = DASHES[layer.dash]
    if layer.kind == "line":
        canvas.plot(layer.x, layer.y, linestyle=dash, linewidth=layer.width, label=label, **shared)
    elif layer.kind == "points":
        face = color if layer.filled else "none"
        edge = "white" if layer.filled else color
        canvas.scatter(
            layer.x, layer.y, s=layer.size, marker=layer.marker, facecolors=face, edgecolors=edge,
            linewidths=0.4 if layer.filled else 1.0, alpha=layer.alpha, label=label, zorder=3,
        )  # fmt: skip
    elif layer.kind == "band":
        canvas.fill_between(layer.x, layer.low, layer.high, linewidth=0, **shared)
    elif layer.kind == "arrows":
        canvas.plot([layer.x, layer.x2], [layer.y, layer.y2], linewidth=layer.width, label="_nolegend_", **shared)
    elif layer.kind == "bars":
        known = len(layer.low) and np.isfinite(layer.low).all()
        canvas.barh(
            layer.y, layer.x, height=layer.width, left=layer.x2 if len(layer.x2) else 0.0, label=label,
            xerr=layer.low if known else None, error_kw={"elinewidth": 0.9, "ecolor": INK}, **shared,
        )  # fmt: skip
    elif layer.kind == "level":
        canvas.axhline(float(layer.y[0]), linestyle=dash, linewidth=layer.width, label=label, **shared)
    elif layer.kind == "upright":
        canvas.axvline(float(layer.x[0]), linestyle=dash, linewidth=layer.width, label=label, **shared)
    elif layer.kind == "identity":
        low, high = min(canvas.dataLim.x0, canvas.dataLim.y0), max(canvas.dataLim.x1, canvas.dataLim.y1)
        place = np.linspace(low, high, 400)  # a straight line bends on a symlog axis
        canvas.plot(place, place, linestyle=dash, linewidth=layer.width, label=label, **shared)
    elif layer.kind == "text":
        for x, y, text in zip(layer.x, layer.y, layer.texts):
            canvas.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
        low, high = canvas.get_xlim()
        canvas.set_xlim(low - 0.04 * (high - low), high + 0.16 * (high - low))
    else:
        raise AssertionError(f"no drawing for a layer of kind {layer.kind!r}")


def _scale(canvas: Canvas, axes: Axes, which: str, scale: str) -> None:
    axis = canvas.xaxis if which == "x" else canvas.yaxis
    put = canvas.set_xscale if which == "x" else canvas.set_yscale
    if scale == "log":
        put("log")
        low, high = sorted(canvas.get_xlim() if which == "x" else canvas.get_ylim())
        decades = np.log10(high / low)
        subs = (1.0,) if decades > 2.2 else (1.0, 3.0) if decades > 1.2 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        axis.set_major_locator(LogLocator(subs=subs, numticks=14))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    elif scale == "symlog":
        put("symlog", linthresh=axes.linear_within, linscale=0.5)
        low, high = canvas.get_xlim() if which == "x" else canvas.get_ylim()
        sizes = [axes.linear_within * 10.0**i * f for i in range(4) for f in (1.0, 3.0)]
        ticks = [0.0, *(s for s in sizes if s < high), *(-s for s in sizes if -s > low)]
        axis.set_major_locator(FixedLocator(sorted(ticks)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axis.set_minor_locator(NullLocator())
    elif not axes.ticks or which == "x":
        axis.set_major_locator(MaxNLocator(7))


def _labels(sheet: Sheet) -> list[str]:
    return list(
        dict.fromkeys(layer.label for row in sheet.rows for axes in row for layer in axes.layers if layer.label)
    )


def _per_row(sheet: Sheet, columns: int) -> int:
    longest = max((len(label) for label in _labels(sheet)), default=1)
    return max(int((sheet.width * columns - 0.2) / (0.55 + 0.072 * longest)), 1)


def _legend(figure: Figure, grid: Any, sheet: Sheet, columns: int) -> None:
    found: dict[str, Any] = {}
    for canvas in np.ravel(grid):
        handles, labels = canvas.get_legend_handles_labels()
        for handle, label in zip(handles, labels):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            handles=_ordered(found), loc="outside lower center", ncols=min(_per_row(sheet, columns), len(found)), fontsize=8.0,
            handlelength=1.8, columnspacing=1.4,
        )  # fmt: skip


def _ordered(found: dict[str, Any]) -> Sequence[Any]:
    for label, handle in found.items():
        handle.set_label(label)
    return list(found.values())
