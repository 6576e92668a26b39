"""The page's figures, from rows and fits alone; PNG, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from effects import bottoms, paths, size_slopes
from matplotlib.figure import Figure
from rows import GPTQ, Row, group

from bitlaw.fit import Fit
from bitlaw.report.style import INK, PUBLISHED, SETTINGS, model_colors

GRID = [4e6, 6e6, 8e6, 1.2e7, 1.6e7, 2.4e7, 3.2e7, 5.6e7, 8e7, 1.1e8, 1.7e8, 2.5e8]
PAPER_ALPHA = {2: 0.2247, 3: 0.3547, 4: 0.3835}


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": ""})


def _panels(count: int, *, width: float = 3.4, height: float = 3.2, sharey: bool = False) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, figure.subplots(1, count, sharey=sharey, squeeze=False)[0]


def tokens(rows: Sequence[Row], fits: Mapping[float, Fit], path: Path) -> None:
    """QiD against tokens by size at 2, 3, 4 bits; lines: the published form fitted to each width."""
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, axes = _panels(3)
        for axis, bits in zip(axes, (2.0, 3.0, 4.0)):
            mine = paths([r for r in rows if r.bits == bits])
            colors = model_colors(mine)
            for model, steps in mine.items():
                D, q = np.array([r.D for r in steps]), np.array([r.qid for r in steps])
                shown = q > 1e-4
                axis.plot(D[shown], q[shown], "o-", ms=3.5, lw=0.9, color=colors[model], label=model)
                curve = fits[bits].predict({"parameters": steps[0].N, "tokens": D, "bits": bits})
                axis.plot(D, curve, "--", lw=1.0, color=colors[model], alpha=0.7)
            axis.set(xscale="log", yscale="log", title=f"{bits:g} bits", xlabel="training tokens D", ylim=(1e-4, 5))
        axes[0].set_ylabel("QiD, nats per token")
        axes[2].legend(fontsize=7, loc="lower right")
        _save(figure, path)


def sizes(rows: Sequence[Row], path: Path) -> None:
    """alpha at fixed tokens, with 90 % intervals, against tokens; the published exponent of each width."""
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, axes = _panels(3, height=2.8, sharey=True)
        for axis, bits in zip(axes, (2, 3, 4)):
            found = size_slopes([r for r in group(rows, GPTQ) if r.bits == bits], GRID)
            D, effects = [d for d, _ in found], [e for _, e in found]
            low, high = ([getattr(e, name) for e in effects] for name in ("low", "high"))
            axis.fill_between(D, low, high, color="#3b6fb6", alpha=0.2, lw=0)
            axis.plot(D, [e.value for e in effects], "o-", ms=3.5, color="#3b6fb6")
            axis.axhline(0, color=INK, lw=0.8)
            axis.axhline(PAPER_ALPHA[bits], color=PUBLISHED, lw=1.0, ls="--")
            axis.set(xscale="log", title=f"{bits} bits", xlabel="training tokens D", ylim=(-1.3, 0.9))
        axes[0].set_ylabel("alpha: QiD ~ 1 / N^alpha")
        axes[0].text(5e6, 0.30, "published", color=PUBLISHED, fontsize=8)
        axes[0].text(2.2e7, -0.75, "above 0: large models lose less\nbelow 0: small ones do", fontsize=7.5)
        _save(figure, path)


def errors(rows: Sequence[Row], places: Sequence[tuple[str, int]], path: Path) -> None:
    """QiD against the format's error on the weights, all variants of a few checkpoints; line: slope 1."""
    marks = {"nearest": ("o", "#3b6fb6"), "gptq": ("^", "#c2542d"), "awq": ("s", "#4f8a3c"), "hqq": ("D", "#7a4fa3")}
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, axes = _panels(len(places))
        for axis, place in zip(axes, places):
            here = [r for r in rows if r.at == place and r.qid > 1e-4]
            for method, (mark, color) in marks.items():
                mine = [r for r in here if r.method == method]
                axis.plot([r.sqnr for r in mine], [r.qid for r in mine], mark, ms=4, color=color, label=method)
            near = [r for r in here if r.method == "nearest" and 0.002 < r.qid < 0.5]
            level = np.mean([np.log(r.qid) + r.sqnr * np.log(10) / 10 for r in near])
            x = np.array([4.0, 34.0])
            axis.plot(x, np.exp(level - x * np.log(10) / 10), "-", lw=0.9, color=INK, label="proportional to error")
            title = f"{place[0]}, {place[1] / 1e6:.0f}M tokens"
            axis.set(yscale="log", title=title, xlabel="SQNR of the weights, dB", ylim=(1e-4, 6), xlim=(2, 46))
        axes[0].set_ylabel("QiD, nats per token")
        axes[0].legend(fontsize=7, loc="lower left")
        _save(figure, path)


def quantized_losses(rows: Sequence[Row], models: Sequence[str], path: Path) -> None:
    """Loss of the 16-bit and the quantized model against tokens; rings: the least quantized loss."""
    shades = {2.0: "#c2542d", 3.0: "#d99a2b", 4.0: "#4f8a3c"}
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, axes = _panels(len(models), width=3.1, sharey=True)
        for axis, model in zip(axes, models):
            for bits, color in shades.items():
                mine = [r for r in group(rows, GPTQ) if r.model == model and r.bits == bits]
                path_ = paths(mine)[model]
                axis.plot([r.D for r in path_], [r.loss for r in path_], "-", color=color, label=f"{bits:g} bits")
                low = bottoms(mine)[model][0]
                axis.plot([low.D], [low.loss], "o", mfc="none", ms=7, color=color)
            axis.plot([r.D for r in path_], [r.baseline for r in path_], "-", color=INK, label="16 bits")
            axis.set(xscale="log", title=model, xlabel="training tokens D", ylim=(3, 6.5))
        axes[0].set_ylabel("loss, nats per token")
        axes[-1].legend(fontsize=7, loc="upper right")
        _save(figure, path)


def exponents(
    fits: Mapping[str, Mapping[float, Fit]], published: Mapping[float, Mapping[str, float]], path: Path
) -> None:
    """beta and alpha of the published form by method and bits, 90 % intervals; dashes: published."""
    colors = ("#c2542d", "#d99a2b", "#3b6fb6", "#4f8a3c", "#7a4fa3", "#808080")
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, axes = _panels(2, width=4.6)
        for axis, name in zip(axes, ("beta", "alpha")):
            for index, (label, by_bits) in enumerate(fits.items()):
                for bits, found in by_bits.items():
                    low, high = found.intervals[name]
                    x = bits + (index - 2.5) * 0.12
                    axis.plot([x, x], [low, high], "-", color=colors[index], lw=1.2)
                    axis.plot([x], [found.values[name]], "o", ms=3.5, color=colors[index])
                axis.plot([], [], "o-", ms=3.5, color=colors[index], label=label)
            for bits, values in published.items():
                axis.plot([bits - 0.4, bits + 0.4], [values[name]] * 2, "--", color=INK, lw=1.0)
            axis.plot([], [], "--", color=INK, lw=1.0, label="published")
            axis.set(title=f"{name}", xlabel="bits", xticks=[2, 3, 4, 5, 6])
        axes[0].legend(fontsize=6.5, loc="upper left")
        axes[0].set_ylim(0, 2.6)
        _save(figure, path)
