"""How far the published laws miss the points behind them: the scatter and the drift that published answers carry.

The points are 105 degradations of Pythia 160M, 1B and 12B at 2 and 3 bits, read off the paper's Figure 2 and shipped in
bitlaw/data. For a law, from the points it claims to describe:

    scatter   ln(measured / law): its quantiles make the interval inside the fitted range
    drift     how far local exponents stray from the law's: per unit of ln(D), ln(N), ln(P) outside the range

    tokens      slope of ln QiD in ln D minus beta: steps from 43 000 on say what happens    (6 series)
                beyond the range, steps up to 29 000 what happens below it
    parameters  mean over steps of the slope in ln N between neighbouring sizes, plus alpha   (4 pairs)
    bits        mean over steps of the slope in ln P between 2 and 3 bits, plus gamma    (3 sizes)

Each is a root mean square, compared with the unified law's exponent, and serves every law. Nothing is stored: it takes about 2 ms and is remembered.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from bitlaw.catalog import LAWS
from bitlaw.laws import Law, load_law
from bitlaw.laws.law import Array
from bitlaw.predict.grids import DERIVED, LAW_GROUP, derived

POINTS = Path(__file__).parent.parent / "data" / "ouyang2024_figure2_digitised.csv"
POINTS_WORDS = "105 points read off Figure 2 of arXiv 2411.17691 (Pythia 160M, 1B, 12B; GPTQ at 2 and 3 bits)"
LATE_STEP = 43_000
EARLY_STEP = 29_000
WIDTHS = (2.0, 3.0)  # bit widths that have points
UNIFIED = "ouyang2024-unified"
ONE_BIT = {2.0: "ouyang2024-2bit", 3.0: "ouyang2024-3bit", 4.0: "ouyang2024-4bit"}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Residuals ln(measured / law) of the points used, and which they are in words."""

    residuals: Array
    words: str


@lru_cache(maxsize=1)
def digitised_points() -> Mapping[str, Array]:
    """Return the shipped points by column: parameters, tokens, bits, group_size, step, qid, read_error (105 each)."""
    with POINTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {"parameters": "n_params_nonembedding", "tokens": "tokens", "bits": "bits", "step": "step"}
    names |= {"qid": "qid_nats", "read_error": "read_error_nats"}
    columns = {ours: np.array([float(row[theirs]) for row in rows]) for ours, theirs in names.items()}
    return {**columns, "group_size": np.full(len(rows), float(LAW_GROUP))}


@lru_cache(maxsize=64)
def published_evidence(name: str, bits: float, setting: str = "") -> Evidence:
    """Return the evidence about a published law of QiD (its constants of that setting) at a bit width.

    A law of one bit width is judged on the points of that width; where there are none (4 bits), by how the laws of 2
    and 3 bits miss theirs. The unified law is judged on the points of the width asked for, else on all.
    """
    points = digitised_points()
    own = points["bits"] == bits
    if name in ONE_BIT.values():
        own_bits = next(width for width, law in ONE_BIT.items() if law == name)
        if np.any(points["bits"] == own_bits):
            return _evidence({name: points["bits"] == own_bits}, f"its scatter around the {own_bits:g}-bit points")
        sets = {ONE_BIT[width]: points["bits"] == width for width in WIDTHS}
        return _evidence(sets, f"no {own_bits:g}-bit points: scatter of the 2- and 3-bit laws around theirs")
    if own.any():
        return _evidence({name: own}, f"its scatter around the {bits:g}-bit points", setting)
    return _evidence({name: np.ones(len(own), dtype=bool)}, f"no {bits:g}-bit points: its scatter around all", setting)


def _evidence(sets: Mapping[str, Array], words: str, setting: str = "") -> Evidence:
    points = digitised_points()
    residuals = []
    facts = {width: derived(width, {}) for width in WIDTHS}
    points = {name: np.array([facts[bits][name] for bits in points["bits"]]) for name in DERIVED} | dict(points)
    if unjudged := [name for name in sets if name not in LAWS or not set(load_law(name).variables) <= set(points)]:
        words = f"{unjudged[0]} cannot be judged on them: scatter of the unified law around all"
        sets, setting = {UNIFIED: np.ones(len(points["qid"]), dtype=bool)}, ""
    for name, rows in sets.items():
        law = load_law(name)
        columns = {column: points[column][rows] for column in law.variables}
        values = law.constants(setting or None).values
        residuals.append(np.log(points["qid"][rows] / law.evaluate(values, columns)))
    return Evidence(residuals=np.concatenate(residuals), words=f"{words} of {POINTS_WORDS}")


@lru_cache(maxsize=1)
def drift() -> Mapping[str, tuple[float, float]]:
    """Return by variable how far local exponents stray from the unified law's, (below, beyond) the fitted range.

    Root mean square over series; one set for every law, since the points are too few to give each law its own.
    """
    values = load_law(UNIFIED).constants().values
    early, late = (
        _size([slope - values["beta"] for width in WIDTHS for slope in _token_slopes(width, *steps)])
        for steps in ((0, EARLY_STEP), (LATE_STEP, np.inf))
    )
    sizes = _size([slope + values["alpha"] for width in WIDTHS for slope in _size_slopes(width)])
    bits = _size([slope + values["gamma"] for slope in _bit_slopes()])
    return {"tokens": (early, late), "parameters": (sizes, sizes), "bits": (bits, bits)}


def _size(strays: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(strays))))


def _series(width: float) -> Iterable[tuple[float, Array, Array, Array]]:
    """Yield (N, ln D, step, ln QiD) of each size at a bit width."""
    points = digitised_points()
    for size in np.unique(points["parameters"]):
        rows = (points["bits"] == width) & (points["parameters"] == size)
        yield float(size), np.log(points["tokens"][rows]), points["step"][rows], np.log(points["qid"][rows])


def _token_slopes(width: float, first: float, last: float) -> list[float]:
    found = []
    for _, log_tokens, step, log_qid in _series(width):
        rows = (step >= first) & (step <= last)
        found.append(float(np.polyfit(log_tokens[rows], log_qid[rows], 1)[0]))
    return found


def _size_slopes(width: float) -> list[float]:
    series = list(_series(width))
    found = []
    for (small, _, steps, low), (large, _, others, high) in pairwise(series):
        _, first, second = np.intersect1d(steps, others, return_indices=True)
        found.append(float(np.mean(high[second] - low[first])) / np.log(large / small))
    return [float(slope) for slope in found]


def _bit_slopes() -> list[float]:
    found = []
    for (_, _, steps, two), (_, _, others, three) in zip(_series(2.0), _series(3.0)):
        _, first, second = np.intersect1d(steps, others, return_indices=True)
        found.append(float(np.mean(three[second] - two[first]) / np.log(3.0 / 2.0)))
    return found


LOSS_POINTS = ((85_056_000.0, 3.51), (805_736_448.0, 3.04), (11_327_027_200.0, 2.71))
LOSS_TOKENS = 205_520_896_000.0
LOSS_WORDS = "16-bit loss law: root mean square miss of three losses at 206B tokens read off the same figure"


def loss_scatter(law: Law, values: Mapping[str, float]) -> float:
    """Return how far a law of the 16-bit loss misses the three losses read off Figure 2, root mean square of logs."""
    sizes, losses = (np.array(column) for column in zip(*LOSS_POINTS))
    said = law.evaluate(values, {"parameters": sizes, "tokens": np.full(len(sizes), LOSS_TOKENS)})
    return _size([float(miss) for miss in np.log(losses / said)])
