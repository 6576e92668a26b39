"""A paper's figures and tables made again: what each shows, what was published, what these records say; one page and PNGs.

An `Item` without a picture and a table says in `missing` what it would need. Nothing is left out silently: the page begins
with a list of all items and how each stands.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import bitlaw
from bitlaw.errors import InputError
from bitlaw.report.style import SETTINGS

DOTS_PER_INCH = 110
Draw = Callable[[], Figure]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of text: heads, and rows of as many cells; a caption."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A figure or table of a paper. `published` and `ours` are sentences; `missing` says what these records lack for it."""

    name: str
    title: str
    published: str
    ours: str = ""
    draw: Draw | None = None
    grids: tuple[Grid, ...] = ()
    missing: str = ""

    @property
    def state(self) -> str:
        """`made`, `in part` (something of it is missing) or `missing`."""
        there = self.draw is not None or bool(self.grids)
        return "missing" if not there else "in part" if self.missing else "made"


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """All items of a paper and what they were made from, in sentences."""

    paper: str
    title: str
    source: Sequence[str]
    items: Sequence[Item]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return JSON-ready data: items by state, and the numbers found."""
        return {
            "paper": self.paper,
            "source": list(self.source),
            "items": [
                {"name": i.name, "title": i.title, "state": i.state, "ours": i.ours, "missing": i.missing}
                for i in self.items
            ],
            **self.facts,
        }


def write_reproduction(made: Reproduction, out: Path) -> Path:
    """Write `PAPER.html` and a PNG for each figure into the folder `out` -> the page. Raises InputError if it cannot."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = {}
        for item in made.items:
            if item.draw is not None:
                pictures[item.name] = _png(item.draw)
                (out / f"{made.paper}-{item.name}.png").write_bytes(pictures[item.name])
        page = out / f"{made.paper}.html"
        page.write_text(_page(made, pictures), encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {error.filename or out}: {error.strerror}. Choose another folder.") from error
    return page


def panels(
    rows: int, columns: int, *, width: float = 3.5, height: float = 2.9, share_y: bool = False
) -> tuple[Figure, Any]:
    """Return a figure and its axes [rows, columns]."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, sharey=share_y, squeeze=False)


def _png(draw: Draw) -> bytes:
    settings: dict[Any, Any] = dict(SETTINGS)
    with matplotlib.rc_context(settings):
        figure = draw()
        FigureCanvasAgg(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": ""})
    return stream.getvalue()


def _page(made: Reproduction, pictures: Mapping[str, bytes]) -> str:
    css = resources.files("bitlaw.report").joinpath("templates", "page.css").read_text()
    states = {state: [i for i in made.items if i.state == state] for state in ("made", "in part", "missing")}
    cards = "".join(f"<li><b>{len(items)}</b> {state}</li>" for state, items in states.items())
    rows = [[f'<a href="#{i.name}">{i.name}</a>', escape(i.title), i.state, escape(i.missing)] for i in made.items]
    contents = _table(("", "shows", "state", "what is missing"), rows)
    body = "".join(_section(item, pictures.get(item.name)) for item in made.items)
    source = "".join(f"<p>{escape(sentence)}</p>" for sentence in made.source)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="bitlaw {bitlaw.__version__}">
<title>{escape(made.title)}</title>
<style>
{css}
figure img {{ max-width: 100%; height: auto; display: block; }}
td {{ white-space: normal; max-width: 60ch; }}
</style>
</head>
<body>
<header>
<h1>{escape(made.title)}</h1>
<ul class="cards">{cards}</ul>
</header>
<main>
<div class="headline">{source}</div>
<div class="scroll">{contents}</div>
{body}
</main>
<footer>bitlaw {bitlaw.__version__}</footer>
</body>
</html>
"""


def _section(item: Item, picture: bytes | None) -> str:
    parts = [f'<section id="{item.name}"><h2>{item.name}: {escape(item.title)}</h2>']
    parts.append(f"<p><b>Published.</b> {escape(item.published)}</p>")
    if item.ours:
        parts.append(f"<p><b>These records.</b> {escape(item.ours)}</p>")
    if item.missing:
        parts.append(f'<p class="warning">{escape(item.missing)}</p>')
    if picture is not None:
        data = base64.b64encode(picture).decode()
        parts.append(f'<figure><img alt="{escape(item.title)}" src="data:image/png;base64,{data}"></figure>')
    for grid in item.grids:
        cells = [[escape(cell) for cell in row] for row in grid.rows]
        parts.append(f'<div class="scroll">{_table(grid.heads, cells)}</div>')
        if grid.caption:
            parts.append(f'<p class="caption">{escape(grid.caption)}</p>')
    return "\n".join([*parts, "</section>"])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; cells are HTML already."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>"
