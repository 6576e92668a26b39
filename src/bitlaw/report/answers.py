"""Answers as pictures: a projection (Figure 1 of arXiv 2411.17691) and a plan's frontier, as SVG or a small HTML page.

The file's ending says which. Drawn in the report's style, without fonts, scripts or files from elsewhere.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bitlaw.errors import InputError
from bitlaw.predict.planning import Plan
from bitlaw.predict.projecting import Projection
from bitlaw.predict.ways import Choice
from bitlaw.report.style import FAINT, INK, PUBLISHED, SETTINGS, bits_marks, model_colors, tokens_axis
from bitlaw.report.words import bits_name, count, plain

GIB = 2.0**30
PANEL = (3.4, 3.0)  # inches
ROOM = 1.15  # factor left free around the drawn range
LABELS = 3.0  # factor in tokens left free for the labels at the end of the curves


def draw_projection(projection: Projection, path: str | Path) -> Path:
    """Draw QiD over tokens, one panel a bit width, with intervals, labels at the end and the worse-than-random band."""
    widths = list(dict.fromkeys(curve.bits for curve in projection.curves))
    sizes = sorted({curve.parameters for curve in projection.curves})
    colors = model_colors(count(size) for size in sizes)
    with matplotlib.rc_context(_settings("projection")):
        canvas = Canvas(figsize=(PANEL[0] * len(widths) + 0.4, PANEL[1] + 0.5), layout="constrained")
        panels = canvas.subplots(1, len(widths), sharey=True, squeeze=False)[0]
        values = [float(v) for curve in projection.curves for v in (curve.value[0], curve.value[-1])]
        top = max(max(values), projection.ceiling) * ROOM * 2
        for axes, width in zip(panels, widths):
            axes.axhspan(projection.ceiling, top, color=FAINT, alpha=0.3, linewidth=0)
            for curve in (c for c in projection.curves if c.bits == width):
                color = colors[count(curve.parameters)]
                axes.fill_between(curve.tokens, curve.low, curve.high, color=color, alpha=0.12, linewidth=0)
                axes.plot(curve.tokens, curve.value, color=color, linewidth=1.6)
                axes.plot(curve.tokens[-1], curve.value[-1], "o", color=color, markersize=4)
                axes.annotate(
                    _label(float(curve.value[-1])),
                    (float(curve.tokens[-1]), float(curve.value[-1])),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    color=color,
                )
            tokens_axis(axes, [float(projection.curves[0].tokens[0]), LABELS * projection.tokens])
            axes.set_yscale("log")
            axes.set_ylim(min(values) / ROOM, top)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_title(bits_name(width))
            axes.set_xlabel("training tokens D")
        panels[0].set_ylabel("QiD, nats per token")
        panels[0].text(
            0.03, projection.ceiling * 1.07, "worse than random", transform=panels[0].get_yaxis_transform(), color=INK
        )
        canvas.legend(
            handles=[Line2D([], [], color=colors[count(s)], linewidth=4, label=f"N = {count(s)}") for s in sizes],
            loc="outside upper left",
            ncols=len(sizes),
        )
        svg = _svg(canvas)
    header = ["N", "bits", "QiD", "low", "high", "", "law", "outside the fitted range"]
    rows = [
        [
            count(cell.parameters),
            f"{cell.bits:g}",
            *(plain(v) for v in (cell.value, cell.low, cell.high)),
            cell.state,
            cell.law,
            "; ".join(cell.outside) or "inside",
        ]
        for cell in projection.cells
    ]
    notes = [
        f"Shaded: {projection.level:.0%} intervals. Grey: above ln({projection.vocabulary}) = {projection.ceiling:.2f} nats, "
        "worse than guessing.",
        *projection.laws.values(),
        *projection.conditions,
    ]
    return _write(path, svg, f"QiD after {count(projection.tokens)} training tokens", header, rows, notes)


def draw_plan(plan: Plan, path: str | Path) -> Path:
    """Draw predicted loss over bytes: every choice with its interval, the frontier joined, the memory as a line."""
    shown = [choice for choice in plan.choices if not choice.broken]
    if not shown:
        raise InputError("Every choice is worse than guessing: there is nothing to draw. Try more bits.")
    names = list(dict.fromkeys(c.name for c in sorted(plan.choices, key=lambda c: c.parameters)))
    colors = model_colors(names)
    marks = bits_marks(sorted({c.bits for c in shown if c.bits < 16}))
    with matplotlib.rc_context(_settings("plan")):
        canvas = Canvas(figsize=(7.6, 4.2), layout="constrained")
        axes = canvas.add_subplot()
        for choice in shown:
            reach = [[choice.loss - choice.interval.low], [choice.interval.high - choice.loss]]
            axes.errorbar(
                choice.bytes / GIB,
                choice.loss,
                reach,
                fmt="none",
                ecolor=colors[choice.name],
                alpha=0.3,
                elinewidth=1.2,
            )
            axes.scatter(
                choice.bytes / GIB,
                choice.loss,
                s=34 if choice.bits < 16 else 50,
                marker=marks[choice.bits][0],
                color=colors[choice.name],
                edgecolors=INK if choice == plan.best else "white",
                linewidths=1.4 if choice == plan.best else 0.5,
                zorder=3,
            )
        on = plan.frontier
        axes.step([c.bytes / GIB for c in on], [c.loss for c in on], where="post", color=FAINT, linewidth=1.2, zorder=1)
        axes.axvline(plan.memory / GIB, color=PUBLISHED, linewidth=1.0, linestyle=(0, (4, 2)))
        _plan_axes(axes, shown, plan)
        handles = [Line2D([], [], color=colors[n], linewidth=4, label=n) for n in names]
        handles += [
            Line2D([], [], color=INK, marker=marks[b][0], linestyle="none", label=bits_name(b))
            for b in sorted({c.bits for c in shown})
        ]
        handles.append(Line2D([], [], color=PUBLISHED, linestyle=(0, (4, 2)), label="memory"))
        canvas.legend(handles=handles, loc="outside right upper")
        svg = _svg(canvas)
    header = ["model", "method", "format", "bits per weight", "GiB", "loss", "low", "high", "frontier", "fits"]
    rows = [
        [c.name, c.method, c.format, plain(c.bits_per_weight, 4), plain(c.bytes / GIB)]
        + [plain(v, 4) for v in (c.loss, c.interval.low, c.interval.high)]
        + ["yes" if c.frontier else "", "yes" if c.fits else "no"]
        for c in plan.choices
    ]
    notes = [f"Bytes: {plan.storage}.", *plan.loss_source, *plan.conditions]
    if plan.best:
        notes.insert(
            0, f"Best within {plan.memory / GIB:.4g} GiB: {plan.best.name} {plan.best.method} {plan.best.format}."
        )
    return _write(path, svg, f"Predicted loss within {plan.memory / GIB:.4g} GiB", header, rows, notes)


def _plan_axes(axes: Axes, shown: Sequence[Choice], plan: Plan) -> None:
    sizes = [c.bytes / GIB for c in shown] + [plan.memory / GIB]
    losses = [c.loss for c in shown]
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / ROOM, max(sizes) * ROOM)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    room = 0.08 * (max(losses) - min(losses)) + 0.05
    axes.set_ylim(min(losses) - room, max(losses) + room)
    axes.set_xlabel("GiB")
    axes.set_ylabel("predicted loss, nats per token")


def _label(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else plain(value, 2)


def _settings(name: str) -> dict[Any, Any]:
    return {**SETTINGS, "svg.hashsalt": name}


def _svg(canvas: Canvas) -> str:
    FigureCanvasSVG(canvas)
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return stream.getvalue()


def _write(
    path: str | Path, svg: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> Path:
    """Write the picture alone (.svg), or with its table and notes (.html). Raises InputError."""
    path = Path(path)
    if path.suffix == ".html":
        text = _page(svg[svg.index("<svg") :], title, header, rows, notes)
    elif path.suffix == ".svg":
        text = svg
    else:
        raise InputError(f"{path} must end in .svg or .html.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write the plot: {error}.") from error
    return path


def _page(svg: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    table = "\n".join([line(header, "th"), *(line(row, "td") for row in rows)])
    said = "\n".join(f"<p>{html.escape(note)}</p>" for note in notes)
    style = (
        f"body{{font:15px/1.5 system-ui,sans-serif;color:{INK};max-width:70rem;margin:2rem auto;padding:0 1rem}}"
        "svg{max-width:100%;height:auto}table{border-collapse:collapse;font-size:13px}"
        "td,th{text-align:left;padding:.15rem .7rem .15rem 0;border-bottom:1px solid #e4e7eb}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head>\n<body><h1>{html.escape(title)}</h1>\n{svg}\n<table>\n{table}\n</table>\n{said}\n"
        "</body></html>\n"
    )
