"""Pictures of the first paper's figures from measurements and fits. Each function returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bitlaw.fit import Fit
from bitlaw.laws.law import Array
from bitlaw.predict.evidence import digitised_points
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024.rows import curves, models_of, tokens
from bitlaw.report.papers import panels
from bitlaw.report.style import FAINT, INK, PUBLISHED, bits_marks, linear_axis, model_colors, tokens_axis
from bitlaw.report.words import bits_name, count

LEAST = 1e-4  # nats: smaller values are not drawn on logarithmic axes
QID = "QiD, nats per token"
TOKENS = "training tokens D"


FEW = 6  # entries that a legend may have over the data


def _legend(figure: Figure, axis: Axes, **where: Any) -> None:
    """Name what is drawn: over the data, or beside the panels where there are many names."""
    handles, labels = axis.get_legend_handles_labels()
    if len(labels) > FEW:
        figure.legend(handles, labels, fontsize=7, loc="outside right upper")
    else:
        axis.legend(fontsize=7, **where)


def predictions(values: Mapping[tuple[float, float], Array], grid: Array, ceiling: float) -> Figure:
    """F1: the laws' QiD against tokens up to 1e14, a panel a width; values: (bits, N) -> QiD on the grid of tokens."""
    widths = sorted({bits for bits, _ in values})
    figure, axes = panels(1, len(widths))
    for axis, bits in zip(axes[0], widths):
        sizes = sorted({n for b, n in values if b == bits})
        colors = model_colors(str(n) for n in sizes)
        for n in sizes:
            y = values[bits, n]
            axis.plot(grid, y, color=colors[str(n)], label=count(n))
            axis.annotate(f"{y[-1]:.2f}", (grid[-1], y[-1]), textcoords="offset points", xytext=(-28, 4), fontsize=8)
        top = max(float(np.max(values[bits, n])) for n in sizes)
        if top > ceiling:
            axis.axhspan(ceiling, top * 1.05, color=FAINT, alpha=0.3, lw=0)
        axis.set_title(bits_name(bits))
        tokens_axis(axis, [float(grid[0]), float(grid[-1])])
        linear_axis(axis)
        axis.set_xlabel(TOKENS)
    axes[0][0].set_ylabel(QID)
    axes[0][0].legend(title="N")
    return figure


def losses(rows: Sequence[Measurement], chosen: Sequence[str], widths: Sequence[float]) -> Figure:
    """F2: loss of the 16-bit model (pale) and of the quantized one (dark) against tokens; the published QiD read off below."""
    figure, axes = panels(2, len(widths))
    found, colors = curves(rows), model_colors(chosen)
    points = digitised_points()
    for column, bits in enumerate(widths):
        axis = axes[0][column]
        drawn = []
        for model in chosen:
            ms = found.get((model, bits), [])
            D = [tokens(m) for m in ms]
            drawn += [m.loss for m in ms]
            axis.plot(D, [m.baseline_loss for m in ms], "--", color=colors[model], alpha=0.6)
            axis.plot(D, [m.loss for m in ms], "o-", ms=3.5, color=colors[model], label=model)
        tokens_axis(axis, [float(tokens(m)) for m in rows])
        axis.set(title=bits_name(bits), xlabel=TOKENS)
        linear_axis(axis)
        below = axes[1][column]
        own = points["bits"] == bits
        sizes = np.unique(points["parameters"][own])
        shades = model_colors(str(n) for n in sizes)
        for n in sizes:
            mine = own & (points["parameters"] == n)
            below.plot(
                points["tokens"][mine],
                points["qid"][mine],
                "D-",
                ms=3.5,
                color=shades[str(n)],
                label=f"Pythia {count(n)}",
            )
        if own.any():
            tokens_axis(below, list(points["tokens"][own]))
            below.set(yscale="log", xlabel=TOKENS)
            below.legend(fontsize=7)
        else:
            below.set_axis_off()
            below.text(0.5, 0.5, "not in the paper's figure", ha="center", color=FAINT, transform=below.transAxes)
    axes[0][0].set_ylabel("loss, nats per token\n(dashed: 16 bit)")
    axes[0][0].legend(fontsize=7)
    axes[1][0].set_ylabel("published QiD (Figure 2,\nread off), nats per token")
    return figure


def against_tokens(
    rows: Sequence[Measurement],
    fits: Mapping[Any, Fit],
    *,
    key: Any = lambda model, bits: bits,
    share_y: bool = True,
) -> Figure:
    """F3, F6: QiD against tokens by size, a panel a width; dashed: the fit that `key(model, bits)` names."""
    found, models = curves(rows), models_of(rows)
    widths = sorted({bits for _, bits in found})
    colors = model_colors(models)
    figure, axes = panels(1, len(widths), share_y=share_y)
    for axis, bits in zip(axes[0], widths):
        for model, n in models.items():
            ms = found.get((model, bits), [])
            D, q, se = (
                np.array(v, dtype=float) for v in ([tokens(m) for m in ms], [m.qid for m in ms], [m.qid_se for m in ms])
            )
            shown = q > LEAST
            axis.errorbar(
                D[shown],
                q[shown],
                se[shown],
                fmt="o",
                ms=3.5,
                lw=0.8,
                color=colors[model],
                label=f"{model} ({count(n)})",
            )
            fit = fits.get(key(model, bits))
            if fit is not None and shown.any():
                line = np.geomspace(D[0], D[-1], 60)
                columns = {"parameters": np.full(60, float(n)), "tokens": line, "bits": np.full(60, bits)}
                axis.plot(
                    line,
                    fit.predict({v: columns[v] for v in fit.formula().variables}),
                    "--",
                    lw=1.1,
                    color=colors[model],
                )
        axis.set(yscale="log", title=bits_name(bits), xlabel=TOKENS)
        tokens_axis(axis, [float(tokens(m)) for m in rows])
    axes[0][0].set_ylim(bottom=LEAST)
    axes[0][0].set_ylabel(QID)
    _legend(figure, axes[0][0], loc="upper left")
    return figure


def against_size(values: Mapping[tuple[float, float], Mapping[int, float]]) -> Figure:
    """F4: QiD against N at fixed tokens, a panel a width; values: (bits, D) -> N -> QiD."""
    widths = sorted({bits for bits, _ in values})
    figure, axes = panels(1, len(widths), share_y=True)
    for axis, bits in zip(axes[0], widths):
        grid = sorted({D for b, D in values if b == bits})
        colors = model_colors(str(D) for D in grid)
        for D in grid:
            found = {n: q for n, q in sorted(values[bits, D].items()) if q > LEAST}
            axis.plot(list(found), list(found.values()), "o-", ms=4, color=colors[str(D)], label=f"{count(D)} tokens")
            if len(found) > 1:
                x, y = np.log(list(found)), np.log(list(found.values()))
                slope, at = np.polyfit(x, y, 1)
                axis.plot(list(found), np.exp(at + slope * x), "--", lw=1, color=colors[str(D)])
        axis.set(xscale="log", yscale="log", title=bits_name(bits), xlabel="non-embedding parameters N")
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0][0].set_ylabel(QID)
    _legend(figure, axes[0][0])
    return figure


def against_bits(rows: Sequence[Measurement], slope: float) -> Figure:
    """F5: QiD against bits at each model's last common checkpoint; dashed: P^slope through its mean."""
    models = models_of(rows)
    figure, axes = panels(1, 2, share_y=True)
    for axis, which, title in zip(axes[0], ("first", "last"), ("after a tenth of its tokens", "last checkpoint")):
        colors = model_colors(models)
        for model in models:
            mine = [m for m in rows if m.asked.checkpoint.model == model]
            last = max(tokens(m) for m in mine)
            at = last / 10 if which == "first" else last
            D = min({tokens(m) for m in mine}, key=lambda d: abs(np.log(d / at)))
            ms = sorted((m for m in mine if tokens(m) == D and m.qid > LEAST), key=lambda m: m.asked.variant.bits)
            P, q = np.array([m.asked.variant.bits for m in ms]), np.array([m.qid for m in ms])
            axis.plot(P, q, "o", ms=4, color=colors[model], label=model)
            if len(ms) > 1:
                middle = np.exp(np.mean(np.log(q)) - slope * np.mean(np.log(P)))
                axis.plot(P, middle * P**slope, "--", lw=1, color=colors[model])
        widths = sorted({m.asked.variant.bits for m in rows})
        axis.set(xscale="log", yscale="log", title=title, xlabel="bits P")
        axis.set_xticks(widths, [f"{p:g}" for p in widths])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0][0].set_ylabel(QID)
    _legend(figure, axes[0][0])
    return figure


def quantized_losses(rows: Sequence[Measurement], predicted: Mapping[str, float]) -> Figure:
    """F7: measured loss of quantized models against tokens and what 16-bit law plus QiD law say; predicted: key -> nats."""
    found, models = curves(rows), models_of(rows)
    widths = sorted({bits for _, bits in found})
    figure, axes = panels(1, len(widths))
    colors = model_colors(models)
    for axis, bits in zip(axes[0], widths):
        for model in models:
            ms = found.get((model, bits), [])
            D = [tokens(m) for m in ms]
            axis.plot(D, [m.loss for m in ms], "o", ms=3.5, color=colors[model], label=model)
            axis.plot(D, [predicted[m.key] for m in ms], "--", lw=1.1, color=colors[model])
        axis.set(title=bits_name(bits), xlabel=TOKENS)
        tokens_axis(axis, [float(tokens(m)) for m in rows])
        linear_axis(axis)
    axes[0][0].set_ylabel("loss of the quantized model,\nnats per token (dashed: law)")
    _legend(figure, axes[0][0])
    return figure


def groups_against_tokens(
    groups: Mapping[str, Sequence[Measurement]], titles: Sequence[str], fits: Mapping[tuple[str, str], Fit]
) -> Figure:
    """F8, F9: QiD against tokens by group (text or method), a panel for each title (model or width); groups: `group|title`."""
    names = list(dict.fromkeys(name.split("|")[0] for name in groups))
    figure, axes = panels(1, len(titles), share_y=True)
    marks = bits_marks(float(i) for i in range(len(names)))
    shades = ["#31688e", "#b4441d", "#35b779", "#9a6fb0", "#4d4d4d"]
    for axis, title in zip(axes[0], titles):
        for i, name in enumerate(names):
            for number, ms in enumerate(curves(groups.get(f"{name}|{title}", ())).values()):
                D, q = np.array([tokens(m) for m in ms], dtype=float), np.array([m.qid for m in ms])
                shown = q > LEAST
                axis.plot(
                    D[shown],
                    q[shown],
                    marks[float(i)][0],
                    ms=4,
                    color=shades[i % len(shades)],
                    label=name if number == 0 else None,
                )
                fit = fits.get((name, title))
                if fit is not None:
                    n = float(ms[0].asked.checkpoint.parameters)
                    line = np.geomspace(D[0], D[-1], 60)
                    columns = {
                        "parameters": np.full(60, n),
                        "tokens": line,
                        "bits": np.full(60, ms[0].asked.variant.bits),
                    }
                    axis.plot(
                        line,
                        fit.predict({v: columns[v] for v in fit.formula().variables}),
                        "--",
                        lw=0.9,
                        color=shades[i % len(shades)],
                    )
                else:
                    axis.plot(D[shown], q[shown], "-", lw=0.8, color=shades[i % len(shades)])
        axis.set(yscale="log", title=title, xlabel=TOKENS)
        every = [float(tokens(m)) for ms in groups.values() for m in ms]
        tokens_axis(axis, every)
    axes[0][0].set_ylabel(QID)
    axes[0][0].legend(fontsize=7.5)
    return figure


def predicted_measured(values: Sequence[tuple[str, Array, Array]], titles: Sequence[str]) -> Figure:
    """F10: predicted against measured QiD, one panel for each (label, predicted, measured)."""
    figure, axes = panels(1, len(values))
    for axis, (label, predicted, measured), title in zip(axes[0], values, titles):
        shown = (measured > LEAST) & (predicted > LEAST)
        x, y = predicted[shown], measured[shown]
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        axis.fill_between(ends, ends / 2, ends * 2, color=FAINT, alpha=0.2, lw=0)
        axis.plot(ends, ends, color=FAINT, lw=1)
        axis.plot(x, y, "o", ms=4, color=PUBLISHED, label=label)
        axis.set(xscale="log", yscale="log", title=title, xlabel="predicted QiD, nats", ylabel="measured QiD, nats")
        axis.legend(fontsize=7.5)
    return figure


def contrast(pairs: Mapping[float, Mapping[str, tuple[float, float]]]) -> Figure:
    """F11: QiD of undertrained and fully trained checkpoints of each model; pairs: bits -> model -> (early, late)."""
    figure, axes = panels(1, len(pairs))
    for axis, (bits, by_model) in zip(axes[0], pairs.items()):
        place = np.arange(len(by_model))
        early, late = (np.maximum([v[i] for v in by_model.values()], LEAST) for i in (0, 1))
        axis.vlines(place, early, late, color=FAINT, lw=1.2)
        axis.plot(place, early, "o", ms=6, color="#35b779", label="undertrained")
        axis.plot(place, late, "D", ms=6, color="#443983", label="fully trained")
        axis.set(yscale="log", title=bits_name(bits))
        axis.set_xticks(place, list(by_model), rotation=30, ha="right", fontsize=7.5)
    axes[0][0].set_ylabel(QID)
    axes[0][0].legend(fontsize=7.5)
    return figure


def changes(by_model: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """F12: box plots of the change of weights between neighbouring checkpoints, a panel a model."""
    figure, axes = panels(1, len(by_model), share_y=True)
    for axis, (model, pairs) in zip(axes[0], by_model.items()):
        boxes = [
            {"whislo": p["q05"], "q1": p["q25"], "med": p["q50"], "q3": p["q75"], "whishi": p["q95"], "fliers": []}
            for p in pairs
        ]
        axis.bxp(boxes, showfliers=False, medianprops={"color": PUBLISHED}, boxprops={"color": INK})
        axis.set(yscale="log", title=model, xlabel="from ... to tokens")
        labels = [f"{count(p['tokens_from'])}\n{count(p['tokens_to'])}" for p in pairs]
        axis.set_xticks(range(1, len(pairs) + 1), labels, fontsize=6)
    axes[0][0].set_ylabel("|change| of a weight / RMS of its matrix")
    return figure


def growth(models: Sequence[tuple[str, float, float]]) -> Figure:
    """F13: training tokens of models of about 7B parameters by release; models: name, year, tokens."""
    figure, axes = panels(1, 1, width=6.5, height=3.4)
    axis: Axes = axes[0][0]
    axis.plot([y for _, y, _ in models], [t for *_, t in models], "o", color="#31688e")
    for index, (name, year, seen) in enumerate(models):
        crowded = any(seen == other and abs(year - when) < 0.5 for _, when, other in models[:index])
        axis.annotate(name, (year, seen), textcoords="offset points", xytext=(5, -9 if crowded else 2), fontsize=7)
    axis.set(yscale="log", xlabel="released", ylabel="training tokens")
    axis.set_xlim(2020, max(y for _, y, _ in models) + 1)
    return figure


def twins(pairs: Mapping[str, Mapping[str, tuple[Array, Array]]]) -> Figure:
    """F14: loss against tokens of 16-bit and native low-bit models, a panel a size; pairs: size -> name -> (D, loss)."""
    figure, axes = panels(2, len(pairs), width=4.2)
    shades = ["#31688e", "#b4441d", "#d99a1e", "#35b779"]
    for column, (size, by_name) in enumerate(pairs.items()):
        base = next(iter(by_name.values()))
        for i, (name, (D, loss)) in enumerate(by_name.items()):
            axes[0][column].plot(D, loss, "o-", ms=3.5, color=shades[i % len(shades)], label=name)
            other = np.interp(np.log(D), np.log(base[0]), base[1])
            axes[1][column].plot(D, loss - other, "o-", ms=3.5, color=shades[i % len(shades)])
        for row in (0, 1):
            tokens_axis(axes[row][column], list(base[0]))
            linear_axis(axes[row][column])
        axes[0][column].set_title(size)
        axes[0][column].legend(fontsize=7.5)
        axes[1][column].set_xlabel(TOKENS)
        axes[1][column].axhline(0, color=INK, lw=0.7)
    axes[0][0].set_ylabel("loss, nats per token")
    axes[1][0].set_ylabel("minus that of the 16-bit twin")
    return figure
