"""The figures of an experiment: which panels, which points, which curves, and what is said below. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup, last_points, trajectories
from bitlaw.report.fits import draws_curves, law_columns
from bitlaw.report.panels import QID, TOKENS, Estimate, Estimates, Figure, Panel
from bitlaw.report.series import bits_line, make_points, qid, qid_points, small_scale, token_line
from bitlaw.report.words import bits_name, count, plain, several

T = TypeVar("T")


def experiment_figures(experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]]) -> list[Figure | Estimates]:
    """Return every figure of an experiment that has something to show, in the order of the page."""
    figures: list[Figure | Estimates | None] = []
    for setup in experiment.quantized:
        figures.append(qid_figure(experiment, setup, fits.get(setup, ())))
    figures.append(bits_figure(experiment, fits))
    figures.append(exponents_figure(fits))
    figures.append(predicted_figure(experiment, fits))
    for setup in experiment.quantized:
        figures.append(loss_figure(experiment, setup))
    for setup in experiment.quantized:
        figures.append(divergence_figure(experiment, setup))
    figures.append(frontier_figure(experiment))
    return [figure for figure in figures if figure is not None]


def qid_figure(experiment: Experiment, setup: Setup, fits: Sequence[Fit]) -> Figure | None:
    """QiD against tokens, a panel for each bit width: once linear, once on an axis that shows small values."""
    found = trajectories(experiment.quantized[setup])
    if not found:
        return None
    drawn = next((one for one in fits if draws_curves(one)), None)
    widths = sorted({bits for _, bits in found})
    linear = small_scale(list(experiment.quantized[setup]))
    rows: list[tuple[Panel, ...]] = []
    for some, scale in ((some, scale) for some in _chunks(widths, 4) for scale in ("linear", "symlog")):
        panels = []
        for bits in some:
            chosen = {model: ms for (model, b), ms in found.items() if b == bits}
            panels.append(
                Panel(
                    title=bits_name(bits) if scale == "linear" else "",
                    points=tuple(qid_points(ms, joined=drawn is None) for ms in chosen.values()),
                    lines=tuple(token_line(drawn, ms) for ms in chosen.values()) if drawn else (),
                    x_label=TOKENS if scale == "symlog" else "",
                    y_label=QID if scale == "linear" else f"QiD, log beyond ±{linear:g}",
                    y_scale=scale,
                    linear_within=linear,
                )
            )
        rows.append(tuple(panels))
    number = sum(len(ms) for ms in found.values())
    curve = f" Curves: {drawn.law} fitted to these points, with the {drawn.level:.0%} band of the fit." if drawn else ""
    return Figure(
        name=f"qid-{setup.label}",
        title=f"QiD against training tokens: {setup.label}",
        caption=f"{several(number, 'measurement')}; bars are one paired standard error either way.{curve} Above: linear, "
        f"each panel on its own scale. Below: one logarithmic scale, linear within ±{linear:g} nats, where noise lives; "
        "negative values are shown where they were measured.",
        rows=tuple(rows),
        share_y=False,
    )


def bits_figure(experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]]) -> Figure | None:
    """QiD against bits after most tokens, a panel for each setup."""
    panels = []
    everything = [m for ms in experiment.quantized.values() for m in ms]
    for setup, rows in experiment.quantized.items():
        last = last_points(rows)
        drawn = next(
            (one for one in fits.get(setup, ()) if draws_curves(one) and "bits" in one.formula().variables), None
        )
        points, lines = [], []
        for model in experiment.models:
            ms = [m for (name, _), m in sorted(last.items(), key=lambda item: item[0][1]) if name == model]
            if len(ms) < 2:
                continue
            points.append(make_points(ms, [m.asked.variant.bits for m in ms], qid, joined=drawn is None))
            if drawn:
                lines.append(bits_line(drawn, ms))
        if points:
            panels.append(
                Panel(
                    title=setup.label,
                    points=tuple(points),
                    lines=tuple(lines),
                    x_label="bits per weight P",
                    x_ticks=tuple(experiment.bits),
                    linear_within=small_scale(everything),
                )
            )
    if not panels:
        return None
    return Figure(
        name="bits",
        title="QiD against bits, each model at its last checkpoint",
        caption="Bars are one paired standard error; curves are the fitted laws at the same size and tokens. "
        f"The vertical axis is linear within ±{small_scale(everything):g} nats.",
        rows=(tuple(panels),),
        show_bits=False,
    )


def predicted_figure(experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]]) -> Figure | None:
    """Law value against measured QiD, a panel for each setup with a fit."""
    panels = []
    words = []
    for setup, ones in fits.items():
        drawn = next((one for one in ones if one.target == "qid"), None)
        if drawn is None:
            continue
        found = trajectories(experiment.quantized[setup])
        linear = small_scale(list(experiment.quantized[setup]))
        points = []
        for ms in found.values():
            predicted = np.asarray(drawn.predict(law_columns(ms)), dtype=float)
            points.append(make_points(ms, predicted, qid, joined=False))
        panels.append(
            Panel(
                title=setup.label,
                points=tuple(points),
                x_label="law, nats per token",
                y_label="measured QiD, nats per token",
                x_scale="symlog",
                linear_within=linear,
                diagonal=True,
            )
        )
        s = drawn.scores
        words.append(
            f"{setup.label}: R² of log QiD {plain(s.log_r2)}, median relative error {s.median_relative_error:.0%} "
            f"over the {s.points_above} of {s.points} points above {s.threshold:g} nats"
        )
    if not panels:
        return None
    return Figure(
        name="predicted",
        title="Predicted against measured",
        caption="The points are those the law was fitted to, so this shows how well it describes, not how well it "
        f"extrapolates. Grey: equal, and a factor of two. {'; '.join(words)}.",
        rows=(tuple(panels),),
    )


def loss_figure(experiment: Experiment, setup: Setup) -> Figure | None:
    """Loss against tokens, a panel for each model, 16-bit and quantized."""
    found = trajectories([*experiment.baselines, *experiment.quantized[setup]])
    panels = []
    for model, parameters in experiment.models.items():
        points = [
            make_points(ms, [m.asked.checkpoint.tokens or 0 for m in ms], lambda m: (m.loss, m.loss_se), what="loss")
            for (name, _), ms in sorted(found.items(), key=lambda item: -item[0][1])
            if name == model
        ]
        if len(points) > 1:
            panels.append(
                Panel(
                    title=f"{model} (N = {count(parameters)})",
                    points=tuple(points),
                    y_label="loss, nats per token",
                    y_scale="linear",
                )
            )
    if not panels:
        return None
    return Figure(
        name=f"loss-{setup.label}",
        title=f"Loss against training tokens: {setup.label}",
        caption="Cross-entropy of the 16-bit model and of its quantized variants on the same tokens. The spread over "
        "windows is common to all variants, so the bars of QiD, which is paired, are far smaller than those of the loss.",
        rows=tuple(tuple(row) for row in _chunks(panels, 3)),
    )


def divergence_figure(experiment: Experiment, setup: Setup) -> Figure | None:
    """KL divergence from the 16-bit model, and the share of tokens both rank first, a panel for each bit width."""
    counted = [m for m in experiment.quantized[setup] if m.seen.kl_nats is not None and m.seen.agreements is not None]
    found = trajectories(counted)
    if not found:
        return None
    widths = sorted({bits for _, bits in found})
    rows: list[tuple[Panel, ...]] = []
    views: tuple[tuple[str, str, Callable[[Measurement], tuple[float, float]]], ...] = (
        ("KL", "KL divergence, nats per token", lambda m: (m.kl, np.nan)),
        ("agreement", "same top-1 token, % of tokens", lambda m: (100.0 * m.agreement, np.nan)),
    )
    for some, (what, label, value) in ((some, view) for some in _chunks(widths, 4) for view in views):
        rows.append(
            tuple(
                Panel(
                    title=bits_name(bits) if what == "KL" else "",
                    points=tuple(
                        make_points(ms, [m.asked.checkpoint.tokens or 0 for m in ms], value, what=what)
                        for (_, b), ms in found.items()
                        if b == bits
                    ),
                    x_label="" if what == "KL" else TOKENS,
                    y_label=label,
                    y_scale="linear",
                )
                for bits in some
            )
        )
    return Figure(
        name=f"divergence-{setup.label}",
        title=f"How far the outputs move: {setup.label}",
        caption="Above: KL divergence of the next-token distributions, 16-bit model to variant. Below: share of scored "
        "tokens where both rank the same token first.",
        rows=tuple(rows),
        share_y=False,
    )


def frontier_figure(experiment: Experiment) -> Figure | None:
    """Loss against the bits all block weights take, each model at its last checkpoint: which bits buy the least loss."""
    panels = []
    for setup, rows in experiment.quantized.items():
        last = last_points([*experiment.baselines, *(m for m in rows if m.seen.bits_per_weight is not None)])
        points = []
        for model, parameters in experiment.models.items():
            ms = [m for (name, _), m in sorted(last.items(), key=lambda item: item[0][1]) if name == model]
            if len(ms) > 1:
                stored = [parameters * (m.seen.bits_per_weight or 16.0) / 8.0 for m in ms]
                points.append(make_points(ms, stored, lambda m: (m.loss, np.nan), what="loss"))
        if points:
            panels.append(
                Panel(
                    title=setup.label,
                    points=tuple(points),
                    x_label="bytes of block weights, scales included",
                    y_label="loss, nats per token",
                    y_scale="linear",
                )
            )
    if not panels:
        return None
    return Figure(
        name="frontier",
        title="What a byte buys: loss against stored size, each model at its last checkpoint",
        caption="Each line is one model from few bits (left) to 16 (right). At a given number of bytes, the lowest point "
        "is the better choice. Embeddings and head stay 16-bit and are not counted.",
        rows=(tuple(panels),),
    )


def exponents_figure(fits: Mapping[Setup, Sequence[Fit]]) -> Estimates | None:
    """Fitted parameters with intervals beside the published ones."""
    rows: list[Estimate] = []
    published: dict[tuple[str, str], float] = {}
    for setup, ones in fits.items():
        for one in ones:
            law = one.formula()
            tag = setup.label if len(ones) == 1 else f"{setup.label}, {one.law}"
            for name in law.names:
                low, high = one.intervals.get(name, (float("nan"), float("nan")))
                rows.append(Estimate(parameter=name, label=tag, value=one.values[name], low=low, high=high))
            for known in law.published[:1]:
                for name, value in known.values.items():
                    published[name, f"published ({one.law})"] = value
    rows += [Estimate(parameter=p, label=label, value=v, published=True) for (p, label), v in published.items()]
    if not rows:
        return None
    level = next(one.level for ones in fits.values() for one in ones)
    return Estimates(
        name="exponents",
        title="Fitted constants",
        caption=f"Bars: {level:.0%} intervals. Diamonds: constants published for other models, data and quantizers; they "
        "are a comparison, not a target.",
        rows=tuple(rows),
    )


def _chunks(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Split into as few runs of at most `most` as possible, of nearly equal length."""
    count_of_runs = -(-len(items) // most)
    length = -(-len(items) // max(count_of_runs, 1))
    return [items[i : i + length] for i in range(0, len(items), length)] if items else []
