"""`draw(records, out)`: all thirteen figures of arXiv 2410.12119 from measurements, as PNG files and one HTML page."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.budget import last_checkpoints
from bitlaw.predictor.landscape import ModelRecords, collect
from bitlaw.records import Measurement
from bitlaw.report.xu2024 import costs, formats, landscapes, predictions
from bitlaw.report.xu2024.drawing import draw_png
from bitlaw.report.xu2024.sheets import Sheet
from bitlaw.store import Store, open_store, read_parquet

FIGURES: Mapping[str, Callable[[Sequence[ModelRecords]], Sheet]] = {
    "1L": landscapes.losses_by_size,
    "1R": landscapes.taylor,
    "2L": landscapes.curves_by_family,
    "2R": landscapes.iso_snr,
    "3L": landscapes.points_over_landscape,
    "3R": landscapes.along_directions,
    "4": formats.gptq_against_nearest,
    "5L": predictions.predicted_changes,
    "5R": predictions.predicted_points,
    "6": formats.loss_by_bytes,
    "7": landscapes.weight_norms,
    "8": lambda models: formats.rows_of_formats(models, "nearest"),
    "9": lambda models: formats.rows_of_formats(models, "gptq"),
    "10": formats.integers_against_mx,
    "11": formats.integers_over_landscape,
    "12": predictions.explained,
    "13": costs.seconds_by_size,
}
"""The paper's figures by number -> models to sheet; L and R are its left and right halves."""
OF_ONE: Mapping[str, Callable[[ModelRecords], bool]] = {
    "1R": lambda m: bool(m.points) and landscapes.taylor_terms(m) is not None,
    "3R": lambda m: any(len(points) > 2 for points in m.along.values()),
    "10": lambda m: bool(formats.integer_names([m])),
    "11": lambda m: bool(formats.integer_names([m])),
}
"""Figures of one network, or of SQNR alone -> what a network needs for them. Where none of those on the one text has it, those on any text are taken."""

STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;max-width:1180px;margin:2rem auto;padding:0 1rem}
figure{margin:0 0 2.6rem}img{max-width:100%;height:auto}figcaption{color:#52606d}h2{margin:.2rem 0}.absent{color:#b4441d}"""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was drawn: the page, the PNG and caption of each figure, and the reason where there is none."""

    page: Path
    figures: Mapping[str, Path]
    captions: Mapping[str, str]
    absent: Mapping[str, str]


def draw(
    records: Store | str | os.PathLike[str] | Iterable[Measurement],
    out: str | os.PathLike[str],
    *,
    only: Sequence[str] = (),
) -> Drawn:
    """Draw the figures of arXiv 2410.12119 from records into the folder `out`: xu2024-<n>.png each, and xu2024.html.

    records: a store (open, or its path), a .parquet export, or measurements. only: figures by number, such as ["1L", "6"]. A
    figure whose measurements are missing is named on the page with the reason. Raises InputError when nothing at all can be
    drawn, or `out` cannot be written.
    """
    if unknown := [name for name in only if name not in FIGURES]:
        raise InputError(f"There is no figure {unknown[0]!r}. Figures: {', '.join(FIGURES)}.")
    every = last_checkpoints(collect(_measurements(records)))
    models = one_text(every)
    folder = Path(out)
    sheets, absent = sheets_of(models, only or tuple(FIGURES), every)
    if not sheets:
        raise InputError(f"No figure can be drawn: {'; '.join(f'{n}: {why}' for n, why in absent.items())}")
    paths: dict[str, Path] = {}
    parts = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, sheet in sheets.items():
            png = draw_png(sheet)
            paths[name] = folder / f"xu2024-{name}.png"
            paths[name].write_bytes(png)
            parts.append(_figure(name, sheet, png))
        page = folder / "xu2024.html"
        page.write_text(_page(models, parts, absent, other=len(every) > len(models)), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Cannot write figures to {str(folder)!r}: {error.strerror}. Choose another folder."
        ) from error
    captions = {name: f"{sheet.title}. {sheet.caption}" for name, sheet in sheets.items()}
    return Drawn(page=page, figures=paths, captions=captions, absent=absent)


def sheets_of(
    models: Sequence[ModelRecords], names: Sequence[str], every: Sequence[ModelRecords] = ()
) -> tuple[dict[str, Sheet], dict[str, str]]:
    """Return the sheets that can be made, and why the others cannot. every: networks on all texts, for figures OF_ONE that those of one text cannot make."""
    sheets: dict[str, Sheet] = {}
    absent: dict[str, str] = {}
    for name in names:
        elsewhere = name in OF_ONE and not any(map(OF_ONE[name], models))
        try:
            sheets[name] = FIGURES[name]((every or models) if elsewhere else models)
        except InputError as error:
            absent[name] = str(error)
    return sheets, absent


def one_text(models: Sequence[ModelRecords]) -> list[ModelRecords]:
    """Return the models scored on the text with most models: losses on different texts share no axis."""
    texts = [m.baseline.asked.evaluation.token_hash for m in models]
    names, counts = np.unique(texts, return_counts=True)
    most = str(names[int(np.argmax(counts))])
    return [m for m, text in zip(models, texts) if text == most]


def _measurements(records: Store | str | os.PathLike[str] | Iterable[Measurement]) -> list[Measurement]:
    if isinstance(records, Store):
        return records.read()
    if isinstance(records, str | os.PathLike):
        path = Path(os.fspath(records))
        if path.suffix == ".parquet":
            return list(read_parquet(path))
        with open_store(records, create=False) as store:
            return store.read()
    return list(records)


def _figure(name: str, sheet: Sheet, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    title = html.escape(f"Figure {name}. {sheet.title}")
    return (
        f'<figure id="figure-{name}"><h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(sheet.caption)}</figcaption></figure>"
    )


def _page(
    models: Sequence[ModelRecords], parts: Sequence[str], absent: Mapping[str, str], *, other: bool = False
) -> str:
    first = models[0]
    families = sorted({m.family for m in models})
    missing = "".join(
        f'<p class="absent">Figure {name} is missing: {html.escape(why)}.</p>' for name, why in absent.items()
    )
    said = (
        f"{len(models)} networks of {len(families)} families ({', '.join(families)}), each at its last checkpoint, on "
        f"{html.escape(first.evaluation)} ({first.baseline.seen.tokens_scored:,} scored tokens)."
        + (f" Figures {', '.join(OF_ONE)} may show one that was scored on another text." if other else "")
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures of arXiv 2410.12119</title>'
        f"<style>{STYLE}</style><h1>The figures of arXiv 2410.12119, from our own measurements</h1><p>{said}</p>"
        f"{''.join(parts)}{missing}</html>\n"
    )
