"""F2 to F5 and F11 of the first paper: losses along training, one factor at a time, undertrained against fully trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bitlaw.fit import Fit, fit
from bitlaw.laws import load_law
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024 import drawing
from bitlaw.report.ouyang2024.fits import ONE_BIT, THRESHOLD, above_noise, table_of
from bitlaw.report.ouyang2024.published import item
from bitlaw.report.ouyang2024.rows import at_tokens, curves, models_of, tokens
from bitlaw.report.papers import Grid, Item
from bitlaw.report.slopes import Slope, common_slope
from bitlaw.report.words import bits_name, count, listed

EARLY = 30  # a checkpoint after a thirtieth of a model's tokens stands for undertrained


def losses(rows: Sequence[Measurement]) -> Item:
    """F2: what 16-bit and quantized losses do along training, and whether the latter turn up."""
    models = list(models_of(rows))
    chosen = list(dict.fromkeys([models[0], models[len(models) // 2], models[-1]]))
    widths = sorted({m.asked.variant.bits for m in rows})[:2]
    said = []
    for (model, bits), ms in curves(rows).items():
        least = min(ms, key=lambda m: m.loss)
        if bits in widths and model in chosen:
            turned = (
                "still falling"
                if least is ms[-1]
                else f"least at {count(tokens(least))}, then +{ms[-1].loss - least.loss:.3f}"
            )
            said.append([model, f"{bits:g}", f"{ms[-1].baseline_loss:.3f}", f"{ms[-1].loss:.3f}", turned])
    up = sum(row[-1] != "still falling" for row in said)
    return item(
        "F2",
        ours=f"The loss of the quantized model turns up in {up} of the {len(said)} curves drawn, though 16-bit losses fall throughout.",
        draw=partial(drawing.losses, rows, chosen, widths),
        grids=(Grid(heads=("model", "bits", "16-bit loss at the end", "quantized", "along training"), rows=said),),
    )


def by_tokens(rows: Sequence[Measurement]) -> Item:
    """F3: the exponent of tokens, over all of training and late in it."""
    lines, all_slopes = [], {}
    for bits in sorted({m.asked.variant.bits for m in rows}):
        mine = above_noise([m for m in rows if m.asked.variant.bits == bits])
        late = [m for m in mine if tokens(m) >= 1e8]
        slopes = [
            common_slope([tokens(m) for m in part], [m.qid for m in part], names, names)
            for part in (mine, late)
            for names in [[m.asked.checkpoint.model for m in part]]
        ]
        all_slopes[bits] = slopes
        law = load_law(ONE_BIT[bits]).constants().values["beta"] if bits in ONE_BIT else math.nan
        lines.append(
            [f"{bits:g}", f"{law:.2f}", slopes[0].words, str(slopes[0].rows), slopes[1].words, str(slopes[1].rows)]
        )
    fits: dict[Any, Fit] = {}
    for (model, bits), ms in curves(above_noise(rows)).items():
        if len(ms) > 2:
            fits[model, bits] = fit("ouyang2024-tokens", table_of(ms, f"{model}, {bits:g} bits"))
    return item(
        "F3",
        ours=f"QiD grows with tokens at every width: beta {listed([f'{s[0].words} at {bits_name(b)}' for b, s in all_slopes.items()])} "
        f"over all of training. It is not one power: curves bend, and beyond 100M tokens beta is "
        f"{listed([s[1].words for s in all_slopes.values()])}.",
        draw=partial(drawing.against_tokens, rows, fits, key=lambda model, bits: (model, bits)),
        grids=(
            Grid(
                heads=("bits", "published (law of the width)", "all tokens", "rows", "from 100M tokens on", "rows"),
                rows=lines,
                caption=f"Slope of ln QiD in ln D within each model; QiD above {THRESHOLD:g} nats. Dashed: a fit to each curve.",
            ),
        ),
    )


def by_size(rows: Sequence[Measurement]) -> Item:
    """F4: the exponent of size at the same tokens."""
    found = curves(rows)
    models = models_of(rows)
    largest = min(max(tokens(m) for m in rows if m.asked.checkpoint.model == model) for model in models)
    least = max(min(tokens(m) for m in rows if m.asked.checkpoint.model == model) for model in models)
    grid = [float(D) for D in np.geomspace(least, largest, 4)]
    values: dict[tuple[float, float], dict[int, float]] = {}
    for (model, bits), ms in found.items():
        for D in grid:
            q = at_tokens(ms, D)
            if math.isfinite(q):
                values.setdefault((bits, D), {})[models[model]] = q
    lines = []
    said = []
    for bits in sorted({bits for bits, _ in values}):
        cells = [f"{bits:g}", f"{load_law(ONE_BIT[bits]).constants().values['alpha']:.2f}" if bits in ONE_BIT else ""]
        for D in grid:
            part = values.get((bits, D), {})
            slope = _size_slope(part)
            cells.append(slope)
        said.append(f"{cells[-1]} at {bits_name(bits)}")
        lines.append(cells)
    return item(
        "F4",
        ours=f"At {count(grid[-1])} tokens, the most that all {len(models)} sizes have seen, alpha is {listed(said)}. "
        "At few tokens the order of sizes may be reversed (negative alpha).",
        draw=partial(drawing.against_size, values),
        grids=(
            Grid(
                heads=("bits", "published (law of the width)", *(f"alpha at {count(D)}" for D in grid)),
                rows=lines,
                caption="Minus the slope of ln QiD in ln N over the sizes at the same tokens (ln QiD interpolated in ln D).",
            ),
        ),
    )


def _size_slope(values: Mapping[int, float]) -> str:
    """Return minus the slope of ln QiD in ln N, with the interval of a straight line's slope."""
    from scipy.stats import linregress
    from scipy.stats import t as student

    if len(values) < 3:
        return "-"
    line: Any = linregress(np.log(list(values)), np.log(list(values.values())))
    half = float(student.ppf(0.95, len(values) - 2)) * float(line.stderr)
    return f"{-line.slope:.2f} [{-line.slope - half:.2f}, {-line.slope + half:.2f}]"


def by_bits(rows: Sequence[Measurement]) -> Item:
    """F5: the exponent of bits within checkpoints."""
    mine = above_noise(rows)
    slope = common_slope(
        [m.asked.variant.bits for m in mine],
        [m.qid for m in mine],
        [(m.asked.checkpoint.model, m.asked.checkpoint.step) for m in mine],
        [m.asked.checkpoint.model for m in mine],
    )
    gamma = Slope(value=-slope.value, low=-slope.high, high=-slope.low, rows=slope.rows, groups=slope.groups)
    return item(
        "F5",
        ours=f"gamma {gamma.words} within {gamma.groups} checkpoints ({gamma.rows} rows above {THRESHOLD:g} nats).",
        draw=partial(drawing.against_bits, rows, slope.value),
        grids=(Grid(heads=("", "published", "these records"), rows=[["gamma", "5.48", gamma.words]]),),
    )


def contrast(rows: Sequence[Measurement]) -> Item:
    """F11: QiD of each model early and at its end."""
    pairs: dict[float, dict[str, tuple[float, float]]] = {}
    lines = []
    for (model, bits), ms in sorted(
        curves(rows).items(), key=lambda item: (item[0][1], item[1][0].asked.checkpoint.parameters)
    ):
        n = ms[0].asked.checkpoint.parameters
        early, late = min(ms, key=lambda m: abs(math.log(EARLY * tokens(m) / tokens(ms[-1])))), ms[-1]
        pairs.setdefault(bits, {})[model] = (early.qid, late.qid)
        lines.append(
            [
                model,
                f"{bits:g}",
                f"{tokens(early) / n:.3g}",
                f"{early.qid:.4f} ± {early.qid_se:.4f}",
                f"{tokens(late) / n:.3g}",
                f"{late.qid:.4f} ± {late.qid_se:.4f}",
            ]
        )
    more = sum(late > early for by in pairs.values() for early, late in by.values())
    return item(
        "F11",
        ours=f"The last checkpoint loses more than the one nearest a thirtieth of its tokens in {more} of {len(lines)} pairs.",
        draw=partial(drawing.contrast, pairs),
        grids=(Grid(heads=("model", "bits", "D/N early", "QiD early", "D/N late", "QiD late"), rows=lines),),
    )
