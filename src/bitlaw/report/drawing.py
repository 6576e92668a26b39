"""Panels -> SVG text that stands inside an HTML page: no fonts, scripts or files from elsewhere, the same bytes each time.

Every point is a link to its row of the table and carries a title, so a reader can point at it and follow it.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from bitlaw.report.panels import Estimates, Figure, Panel, Points
from bitlaw.report.style import (
    FAINT,
    INK,
    PUBLISHED,
    SETTINGS,
    SOLID,
    Dash,
    bits_axis,
    bits_marks,
    legend_order,
    linear_axis,
    model_colors,
    symlog_axis,
    tokens_axis,
)
from bitlaw.report.words import bits_name

WIDTH = 11.0  # inches; the page scales it to its own width
NARROW = 4.6
PANEL_HEIGHT = 2.25
LEGEND_ROW = 0.24

Marks = Mapping[float, tuple[str, Dash]]


def draw(figure: Figure | Estimates, models: Mapping[str, int], bits: Sequence[float], *, prefix: str = "f") -> str:
    """Return a figure as an `<svg>` element; a `prefix` of its own keeps its ids apart from the page's other figures.

    models: name -> parameters, and bits: widths, are those of the whole experiment, so that its figures share colours.
    """
    settings: dict[Any, Any] = {**SETTINGS, "svg.hashsalt": figure.name}
    with matplotlib.rc_context(settings):
        canvas = _estimates(figure) if isinstance(figure, Estimates) else _panels(figure, models, bits)
        FigureCanvasSVG(canvas)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    titles = {} if isinstance(figure, Estimates) else _titles(figure)
    return _inline(stream.getvalue(), prefix, figure.title, titles)


def slug(name: str) -> str:
    """Return a name as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _panels(figure: Figure, models: Mapping[str, int], bits: Sequence[float]) -> Canvas:
    columns = max(len(row) for row in figure.rows)
    colors, marks = model_colors(models), bits_marks(bits)
    width = WIDTH if columns > 2 else NARROW * columns + 0.9
    legend = _legend_rows(figure, colors, marks, models, width - 0.8)
    shared = [figure.share_y or row[0].y_scale == "symlog" for row in figure.rows]
    titled = [any(panel.title for panel in panels) for panels in figure.rows]
    canvas, grid = _grid(titled, columns, len(legend), width, gap=0.22 if all(shared) else 0.62)
    for row, panels in enumerate(figure.rows):
        for column in range(columns):
            if column >= len(panels):
                grid[row][column].set_axis_off()
                continue
            _panel(grid[row][column], panels[column], colors, marks if figure.show_bits else None)
        inner = grid[row][1 : len(panels)]
        if shared[row]:
            _share(grid[row][: len(panels)])
        for axes in inner:
            axes.set_ylabel("")
            if shared[row]:
                axes.tick_params(axis="y", labelleft=False, left=False)
    _draw_legend(canvas, legend)
    return canvas


def _grid(
    titled: Sequence[bool], columns: int, legend_rows: int, width: float, *, gap: float
) -> tuple[Canvas, list[list[Axes]]]:
    """Return a canvas with rows x columns axes; `titled` says of each row whether its panels have titles.

    Sizes are fixed in inches, which is quick and aligns the figures of a page.
    """
    top, left, right, bottom = 0.34 + LEGEND_ROW * legend_rows, 0.78, 0.12, 0.52
    gaps = [0.0, *(0.85 if title else 0.5 for title in titled[1:])]
    panel_width = (width - left - right - gap * (columns - 1)) / columns
    height = top + bottom + PANEL_HEIGHT * len(titled) + sum(gaps)
    canvas = Canvas(figsize=(width, height))
    grid = []
    for row in range(len(titled)):
        base = height - top - PANEL_HEIGHT * (row + 1) - sum(gaps[: row + 1])
        places = [left + (panel_width + gap) * column for column in range(columns)]
        boxes = [(x / width, base / height, panel_width / width, PANEL_HEIGHT / height) for x in places]
        grid.append([canvas.add_axes(box) for box in boxes])
    return canvas, grid


def _share(axes: Sequence[Axes]) -> None:
    low, high = min(a.get_ylim()[0] for a in axes), max(a.get_ylim()[1] for a in axes)
    ticks = max((a.get_yticks() for a in axes), key=lambda t: float(np.max(t)))
    for one in axes:
        if one.get_yscale() == "symlog":
            one.set_yticks(ticks)
        one.set_ylim(low, high)


def _panel(axes: Axes, panel: Panel, colors: Mapping[str, str], marks: Marks | None) -> None:
    if panel.diagonal:
        _diagonal(axes, panel)
    elif panel.y_scale == "symlog":
        axes.axhline(0.0, color=FAINT, linewidth=0.9)
    for line in panel.lines:
        color = colors[line.model]
        axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.13, linewidth=0)
        axes.plot(line.x, line.y, color=color, linewidth=1.5)
    for points in panel.points:
        _draw_points(axes, points, colors[points.model], marks)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    _scales(axes, panel)


def _draw_points(axes: Axes, points: Points, color: str, marks: Marks | None) -> None:
    one_width = len(set(points.bits)) == 1
    if points.joined and len(points.x) > 1:
        dash = marks[points.bits[0]][1] if marks and one_width else SOLID
        axes.plot(points.x, points.y, color=color, linewidth=1.2, linestyle=dash, alpha=0.85)
    known = np.nan_to_num(points.error) > 0
    if known.any():
        x, y, error = points.x[known], points.y[known], points.error[known]
        axes.errorbar(x, y, error, fmt="none", ecolor=color, elinewidth=1.0, capsize=2.2, capthick=1.0)
    for bits in sorted(set(points.bits)):
        chosen = np.flatnonzero(np.array(points.bits) == bits)
        marker = marks[bits][0] if marks else "o"
        drawn = axes.scatter(
            points.x[chosen],
            points.y[chosen],
            s=30,
            marker=marker,
            color=color,
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
        )
        drawn.set_urls([f"#row-{points.keys[i]}" for i in chosen])


def _diagonal(axes: Axes, panel: Panel) -> None:
    """Draw y = x and a factor of two either way over the positive range of the panel."""
    top = 3.0 * max((float(np.max(np.abs(v))) for p in panel.points for v in (p.x, p.y)), default=1.0)
    line = np.geomspace(panel.linear_within / 100.0, top, 200)
    axes.fill_between(line, line / 2.0, line * 2.0, color=FAINT, alpha=0.18, linewidth=0)
    axes.plot(line, line, color=FAINT, linewidth=1.0)


def _scales(axes: Axes, panel: Panel) -> None:
    x = np.concatenate([*(p.x for p in panel.points), *(line.x for line in panel.lines)])
    y = np.concatenate([v for p in panel.points for v in (p.y - np.nan_to_num(p.error), p.y + np.nan_to_num(p.error))])
    curves = [line.y for line in panel.lines]
    low, high = (f(np.concatenate([y, *curves])) for f in (np.nanmin, np.nanmax))
    if panel.x_ticks:
        bits_axis(axes, panel.x_ticks)
    elif panel.x_scale == "symlog":
        symlog_axis(axes, "x", float(np.min(x)), float(np.max(x)), panel.linear_within)
    else:
        tokens_axis(axes, [float(np.min(x)), float(np.max(x))])
    if panel.y_scale == "symlog":
        symlog_axis(axes, "y", float(low), float(high), panel.linear_within)
    else:
        room = 0.06 * float(high - low) or 0.1 * abs(float(high)) or 1.0
        axes.set_ylim(float(low) - room, float(high) + room)
        linear_axis(axes)


def _legend_rows(
    figure: Figure, colors: Mapping[str, str], marks: Marks, models: Mapping[str, int], width: float
) -> list[list[Line2D | Patch]]:
    """Return the legend's rows, none wider than `width` inches: models, then bit widths and what the curves are."""
    panels = [panel for row in figure.rows for panel in row]
    everything = [points for panel in panels for points in panel.points]
    shown = {points.model for points in everything}
    sizes: list[Line2D | Patch] = [
        Line2D([], [], color=colors[model], linewidth=4, solid_capstyle="butt", label=text)
        for model, text in legend_order(models)
        if model in shown
    ]
    widest = max(0.75 + 0.075 * len(str(size.get_label())) for size in sizes)
    a_row = max(int(width / widest), 1)
    rows = [sizes[i : i + a_row] for i in range(0, len(sizes), a_row)]
    rest: list[Line2D | Patch] = []
    for bits in sorted({b for points in everything for b in points.bits}) if figure.show_bits else ():
        marker, dash = marks[bits]
        joined = any(points.joined and set(points.bits) == {bits} for points in everything)
        size = 9 if marker == "." else 5.5
        line = Line2D([], [], color=INK, marker=marker, markersize=size, linewidth=1.2, label=bits_name(bits))
        line.set_linestyle(dash if joined else "none")
        rest.append(line)
    if any(panel.lines for panel in panels):
        rest.append(Line2D([], [], color=FAINT, linewidth=1.5, label="fitted law"))
        rest.append(Patch(color=FAINT, alpha=0.3, linewidth=0, label="band of the fit"))
    if len(sizes) * widest + 1.2 * len(rest) <= width:
        return [[*sizes, *rest]]
    return [*rows, rest] if rest else rows


def _draw_legend(canvas: Canvas, rows: Sequence[Sequence[Line2D | Patch]]) -> None:
    width, height = canvas.get_size_inches()
    for index, row in enumerate(rows):
        canvas.legend(
            handles=list(row),
            loc="upper left",
            bbox_to_anchor=(0.66 / width, 1.0 - LEGEND_ROW * index / height),
            ncols=len(row),
            handlelength=2.2,
            columnspacing=1.8,
            borderaxespad=0.0,
        )


def _estimates(figure: Estimates) -> Canvas:
    """Draw one small panel for each parameter, estimates from top to bottom; k and its like on a log axis."""
    names = list(dict.fromkeys(row.parameter for row in figure.rows))
    labels = list(dict.fromkeys(row.label for row in figure.rows))
    height = 0.75 + 0.34 * len(labels)
    left = 0.3 + 0.075 * max(map(len, labels))
    gap = 0.3
    panel = (WIDTH - left - 0.15 - gap * (len(names) - 1)) / len(names)
    canvas = Canvas(figsize=(WIDTH, height))
    for index, name in enumerate(names):
        box = ((left + index * (panel + gap)) / WIDTH, 0.38 / height, panel / WIDTH, (height - 0.7) / height)
        axes = canvas.add_axes(box)
        rows = [row for row in figure.rows if row.parameter == name]
        wide = [v for row in rows for v in (row.value, row.low, row.high) if math.isfinite(v)]
        if min(wide) > 0 and max(wide) / min(wide) > 50:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=4))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        for row in rows:
            place = labels.index(row.label)
            if row.published:
                axes.plot(row.value, place, "D", color=PUBLISHED, markersize=6)
            else:
                reach = np.nan_to_num([[row.value - row.low], [row.high - row.value]])
                axes.errorbar(
                    row.value, place, xerr=np.maximum(reach, 0.0), fmt="o", color=INK, capsize=3, markersize=5
                )
        axes.set_title(name)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), labels if index == 0 else [""] * len(labels))
        axes.tick_params(axis="y", length=0)
    return canvas


def _titles(figure: Figure) -> dict[str, str]:
    return {
        key: title
        for row in figure.rows
        for panel in row
        for points in panel.points
        for key, title in zip(points.keys, points.titles)
    }


def _inline(svg: str, name: str, title: str, titles: Mapping[str, str]) -> str:
    """Return matplotlib's SVG file as an element: ids made unique on the page, links and titles on the points."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|^ +", "", svg, flags=re.DOTALL | re.MULTILINE)
    svg = re.sub(r'(?<= )(d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r'(?<= id=")([^"]+)', rf"{name}-\1", svg)
    svg = re.sub(r'href="#(?!row-)([^"]+)', rf'href="#{name}-\1', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(
        r'<a xlink:href="#row-([0-9a-f]+)"[^>]*>',
        lambda found: f'<a href="#row-{found[1]}"><title>{html.escape(titles.get(found[1], ""))}</title>',
        svg,
    )
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" ?', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*" ?', r"<svg \1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1).strip()
