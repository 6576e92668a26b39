"""F8, F9 and F12 to F14 of the first paper: texts, methods, weights that move, the years, native low bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bitlaw.fit import Fit, fit
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024 import drawing
from bitlaw.report.ouyang2024.fits import above_noise, table_of, told
from bitlaw.report.ouyang2024.published import GROWTH, item
from bitlaw.report.ouyang2024.rows import (
    NATIVE,
    WIDTHS,
    checkpoint_of,
    is_ordinary,
    is_papers,
    is_plain,
    main_text,
    models_of,
    one_calibration,
    tokens,
)
from bitlaw.report.ouyang2024.training_twins import Curve, gaps, training_twins
from bitlaw.report.papers import Grid, Item
from bitlaw.report.slopes import common_slope
from bitlaw.report.words import bits_name, count, listed


def texts(rows: Sequence[Measurement]) -> Item:
    """F8: the same checkpoints on several evaluation texts."""
    mine = [m for m in rows if is_ordinary(m) and (is_plain(m.asked.variant) or is_papers(m.asked.variant))]
    by_checkpoint: dict[tuple[str, str, int, str], set[str]] = {}
    for m in mine:
        by_checkpoint.setdefault(checkpoint_of(m), set()).add(m.asked.evaluation.token_hash)
    shared = [m for m in mine if len(by_checkpoint[checkpoint_of(m)]) > 1]
    if not shared:
        return item(
            "F8",
            missing="No checkpoint of these records was scored on two texts. Measure a suite again with --evaluation of another text "
            "(the study `ablations` does).",
        )
    model = max(
        models_of(shared),
        key=lambda name: (sum(m.asked.checkpoint.model == name for m in shared), models_of(shared)[name]),
    )
    shared = [m for m in shared if m.asked.checkpoint.model == model]
    papers = [m for m in shared if is_papers(m.asked.variant)]
    plain = [m for m in shared if is_plain(m.asked.variant)]
    chosen = one_calibration(
        plain if len({m.asked.variant.bits for m in plain}) >= len({m.asked.variant.bits for m in papers}) else papers
    )
    widths = sorted({m.asked.variant.bits for m in chosen if m.asked.variant.bits in WIDTHS})
    names = list(dict.fromkeys(m.asked.evaluation.name for m in chosen))
    groups = {
        f"{name}|{bits_name(bits)}": [
            m for m in chosen if m.asked.evaluation.name == name and m.asked.variant.bits == bits
        ]
        for name in names
        for bits in widths
    }
    lines = []
    for name in names:
        own = above_noise([m for m in chosen if m.asked.evaluation.name == name])
        slope = common_slope(
            [tokens(m) for m in own],
            [m.qid for m in own],
            [m.asked.variant.bits for m in own],
            [m.asked.variant.bits for m in own],
        )
        last = [max(groups[f"{name}|{bits_name(b)}"], key=tokens, default=None) for b in widths]
        ends = ", ".join(f"{m.qid:.3f} ± {m.qid_se:.3f}" for m in last if m is not None)
        lines.append([name, f"{slope.value:.2f}", ends])
    return item(
        "F8",
        ours=f"{model}, the same checkpoints scored on {len(names)} texts: the exponents of tokens are "
        f"{listed([line[1] for line in lines])}.",
        draw=partial(drawing.groups_against_tokens, groups, [bits_name(b) for b in widths], {}),
        grids=(
            Grid(
                heads=("text", "beta", f"QiD at the last checkpoint, {', '.join(f'{b:g}' for b in widths)} bits"),
                rows=lines,
            ),
        ),
    )


def methods(rows: Sequence[Measurement]) -> Item:
    """F9: GPTQ, AWQ and NF4 at 4 bits."""
    here = [m for m in rows if is_ordinary(m) and m.asked.variant.weights_only]
    tests: dict[str, Callable[[Measurement], bool]] = {
        "GPTQ (paper's settings)": lambda m: is_papers(m.asked.variant) and m.asked.variant.bits == 4,
        "GPTQ": lambda m: is_plain(m.asked.variant) and m.asked.variant.bits == 4,
        "AWQ": lambda m: m.asked.variant.method == "awq" and m.asked.variant.format == "int4_g128",
        "NF4 (bitsandbytes)": lambda m: m.asked.variant.method == "nearest" and m.asked.variant.format == "nf4_g64",
        "nearest": lambda m: m.asked.variant.method == "nearest" and m.asked.variant.format == "int4_g128",
    }
    others = [m for m in here if tests["AWQ"](m) or tests["NF4 (bitsandbytes)"](m)]
    text = main_text(others)
    here = [m for m in here if m.asked.evaluation.token_hash == text]
    suites = [m.asked.checkpoint.suite for m in others if m.asked.evaluation.token_hash == text]
    own = max(dict.fromkeys(suites), key=suites.count, default="")
    found = {
        name: one_calibration(m for m in here if m.asked.checkpoint.suite == own and test(m))
        for name, test in tests.items()
    }
    found = {name: ms for name, ms in found.items() if ms}
    lacking = [name for name in ("AWQ", "NF4 (bitsandbytes)") if name not in found]
    if len(found) < 2 or len(lacking) == 2:
        return item(
            "F9",
            missing="These records have neither awq int4_g128 nor nearest nf4_g64 beside GPTQ at 4 bits.",
        )
    every = models_of(m for ms in found.values() for m in ms)
    chosen = list(dict.fromkeys([*list(every)[:1], *list(every)[-1:]]))
    fits: dict[tuple[str, str], Fit] = {}
    lines = []
    for name, ms in found.items():
        made = fit("ouyang2024-4bit", table_of(ms, name))
        fits |= {(name, model): made for model in chosen}
        lines.append(
            [
                name,
                told(made, "beta"),
                told(made, "alpha"),
                f"{100 * made.scores.median_relative_error:.0f} %",
                str(len(ms)),
            ]
        )
    groups = {
        f"{name}|{model}": [m for m in ms if m.asked.checkpoint.model == model]
        for name, ms in found.items()
        for model in chosen
    }
    return item(
        "F9",
        ours=f"{own}: {listed([f'{line[0]} {line[1]}' for line in lines])}. The methods differ in the factor in front.",
        draw=partial(drawing.groups_against_tokens, groups, chosen, fits),
        grids=(
            Grid(
                heads=("method, 4 bits", "exponent of tokens", "exponent of size", "median error", "rows"),
                rows=lines,
                caption="Fits of k D^beta / N^alpha over all sizes; dashed in the figure, smallest and largest model.",
            ),
        ),
        missing=f"Not among these records: {listed(lacking)}." if lacking else "",
    )


def changes_of(changes: Sequence[Mapping[str, Any]]) -> Item:
    """F12: how much weights change between neighbouring checkpoints."""
    if not changes:
        return item(
            "F12",
            missing="Records hold no weights. Give the checkpoints themselves: --weights SUITE (a folder, or a suite on the hub).",
        )
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for row in changes:
        by_model.setdefault(str(row["model"]), []).append(row)
    chosen = dict(list(by_model.items())[:: max(1, len(by_model) - 1)]) if len(by_model) > 2 else by_model
    lines = [
        [
            model,
            count(float(pairs[0]["tokens_to"])),
            f"{float(pairs[0]['q50']):.3g}",
            count(float(pairs[-1]["tokens_to"])),
            f"{float(pairs[-1]['q50']):.3g}",
        ]
        for model, pairs in by_model.items()
    ]
    smaller = sum(float(pairs[-1]["q50"]) < float(pairs[0]["q50"]) for pairs in by_model.values())
    numbers = {
        model: [{key: float(value) for key, value in pair.items() if key != "model"} for pair in pairs]
        for model, pairs in chosen.items()
    }
    return item(
        "F12",
        ours=f"The median change between neighbouring checkpoints (their tokens grow by the same factor) is smaller at the end than at the "
        f"beginning in {smaller} of {len(by_model)} models. Change is relative to the RMS of the matrix.",
        draw=partial(drawing.changes, numbers),
        grids=(Grid(heads=("model", "first pair to", "median change", "last pair to", "median change"), rows=lines),),
    )


def years() -> Item:
    """F13: training tokens over the years."""
    first, last = GROWTH[0][2], max(seen for _, year, seen in GROWTH if year < 2024.5)
    return item(
        "F13",
        ours=f"No measurement: training tokens as the models' own reports give them, from {count(first)} in 2020 to {count(last)} by "
        f"mid-2024, {last / first:.0f} times.",
        draw=partial(drawing.growth, GROWTH),
    )


def native(rows: Sequence[Measurement]) -> Item:
    """F14: models trained in few bits beside their 16-bit twins."""
    native = [m for m in rows if NATIVE in m.asked.checkpoint.family]
    if not native:
        return _trained_twins()
    suites = {m.asked.checkpoint.suite for m in native}
    here = [
        m for m in rows if m.asked.checkpoint.suite in suites and "+mean" not in (m.asked.checkpoint.schedule or "")
    ]
    by_size: dict[int, dict[str, dict[int, float]]] = {}
    for m in here:
        by_size.setdefault(m.asked.checkpoint.parameters, {}).setdefault(m.asked.checkpoint.model, {})[tokens(m)] = (
            m.baseline_loss
        )
    low = {m.asked.checkpoint.model for m in native}
    pairs: dict[str, dict[str, tuple[Any, Any]]] = {}
    lines = []
    for n, models in sorted(by_size.items()):
        full = next((name for name in models if name not in low), None)
        if full is None or not low & set(models):
            continue
        ordered = [full, *(name for name in models if name in low)]
        pairs[f"N = {count(n)}"] = {
            name: (
                np.array(sorted(models[name]), dtype=float),
                np.array([models[name][D] for D in sorted(models[name])]),
            )
            for name in ordered
        }
        for name in ordered[1:]:
            gaps = [models[name][D] - models[full][D] for D in sorted(models[name]) if D in models[full]]
            grid = [D for D in sorted(models[name]) if D in models[full]]
            ahead = [count(D) for D, gap in zip(grid, gaps) if gap < 0]
            lines.append(
                [name, full, f"{gaps[0]:+.3f}", f"{gaps[-1]:+.3f}", ahead[-1] if ahead else "never", count(grid[-1])]
            )
    if not pairs:
        return item(
            "F14",
            missing="No low-bit model of these records has a 16-bit twin of its size in its suite.",
        )
    behind = sum(float(line[3]) > 0 for line in lines)
    said, curves, grid_of_training = _training()
    return item(
        "F14",
        ours=f"Loss on the evaluation text; {behind} of {len(lines)} low-bit runs end behind their 16-bit twin. {said}",
        draw=partial(drawing.twins, pairs | curves),
        grids=(
            Grid(
                heads=(
                    "low-bit model",
                    "16-bit twin",
                    "gap at the first checkpoint",
                    "gap at the last",
                    "last ahead at",
                    "trained to",
                ),
                rows=lines,
                caption="Gap: loss of the low-bit model minus that of the twin at the same tokens, nats per token.",
            ),
            grid_of_training,
        ),
    )


def _trained_twins() -> Item:
    """F14 from the training losses that come with bitlaw, where the records hold no model trained in few bits."""
    said, curves, grid = _training()
    return item(
        "F14", ours=f"These records hold no such model. {said}", draw=partial(drawing.twins, curves), grids=(grid,)
    )


def _training() -> tuple[str, dict[str, dict[str, Curve]], Grid]:
    """Return what the training losses that come with bitlaw say, their curves by panel, and the table of gaps."""
    by_size = training_twins()
    found = [gap for curves in by_size.values() for gap in gaps(curves)]
    early = sum(first < 0 for _, _, first, _, _ in found)
    behind = sum(last > 0 for *_, last, _ in found)
    said = (
        f"Training loss of bitlaw's study native: {early} of {len(found)} low-bit runs begin ahead of their 16-bit twin, "
        f"{behind} end behind it."
    )
    grid = Grid(
        heads=("low-bit model", "16-bit twin", "gap at the first point", "gap at the last", "last ahead at"),
        rows=[
            [name, twin, f"{first:+.3f}", f"{last:+.3f}", "never" if ahead is None else count(ahead)]
            for name, twin, first, last, ahead in found
        ],
        caption="Gap: training loss of the low-bit model minus that of the twin at the same tokens, nats per token.",
    )
    return said, {f"N = {count(n)}, training loss": curves for n, curves in by_size.items()}, grid
