"""Another evaluation text, other groups, rounded activations; and models trained in few bits beside their twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from pairing import LEAST, Ratio, mean_ratio, model, pairs, quantized, ratio, ratio_slope, tokens, way

from bitlaw.records import Measurement
from bitlaw.report.slopes import Slope, common_slope
from bitlaw.report.style import SETTINGS, linear_axis, tokens_axis

VALIDATION = "corpus/validation.jsonl.zst"
TEXTS = {
    "corpus/wikitext2-test.txt.zst": "WikiText-2",
    "sample": "public-domain sample",
    VALIDATION: "corpus validation",
}
GPTQ = ("gptq int2_g128", "gptq int3_g128", "gptq int4_g128")


def at(m: Measurement) -> tuple[Any, ...]:
    """Return what two texts share: model, tokens, variant, calibration."""
    return (model(m), tokens(m), way(m), m.asked.calibration.token_hash)


def text_of(m: Measurement) -> str:
    """Return the evaluation text's name."""
    return m.asked.evaluation.name


@dataclass(frozen=True, kw_only=True)
class Text:
    """An evaluation text: QiD over that on the corpus's validation text, how that ratio goes with tokens, the exponent of tokens at each width."""

    name: str
    ratio: Ratio
    drift: Slope
    beta: dict[str, Slope]


def texts(measurements: Sequence[Measurement]) -> list[Text]:
    """Return each text's numbers, over the checkpoints scored on all of them."""
    rows = quantized(measurements)
    names = list(dict.fromkeys(map(text_of, rows)))
    shared = set.intersection(*({at(m) for m in rows if text_of(m) == name} for name in names)) if names else set()
    rows = [m for m in rows if at(m) in shared]
    base = [m for m in rows if text_of(m) == VALIDATION]
    said = []
    for name in names:
        mine = [m for m in rows if text_of(m) == name]
        beta = {}
        for variant in GPTQ:
            own = [m for m in mine if way(m) == variant and m.qid > LEAST / 2]
            beta[variant] = common_slope(
                [tokens(m) for m in own], [m.qid for m in own], list(map(model, own)), list(map(model, own))
            )
        plain = [m for m in mine if way(m) in GPTQ]
        drift = ratio_slope(plain, base, at, lambda m: (model(m), way(m)))
        said.append(Text(name=TEXTS.get(name, name), ratio=ratio(mine, base, at), drift=drift, beta=beta))
    return said


def against(rows: Sequence[Measurement], one: str, other: str) -> Ratio:
    """Return the ratio of QiD of one variant over another at the same checkpoints, on the validation text."""
    mine = [m for m in quantized(rows) if text_of(m) == VALIDATION]
    return ratio(
        [m for m in mine if way(m) == one], [m for m in mine if way(m) == other], lambda m: (model(m), tokens(m))
    )


def finer_groups(rows: Sequence[Measurement]) -> Ratio:
    """Return QiD with groups of 32 over that with groups of 128, over methods, widths and models; each of those is a cluster."""
    logs, clusters = [], []
    for one, other in GROUPS:
        if one.endswith("_g32"):
            mine = [m for m in quantized(rows) if text_of(m) == VALIDATION]
            both = pairs(
                [m for m in mine if way(m) == one],
                [m for m in mine if way(m) == other],
                lambda m: (model(m), tokens(m)),
            )
            logs += [float(np.log(a.qid / b.qid)) for a, b in both]
            clusters += [(one, model(a)) for a, _ in both]
    return mean_ratio(logs, clusters)


GROUPS = tuple(
    (f"{method} int{bits}_{group}", f"{method} int{bits}_g128")
    for method in ("gptq", "nearest")
    for bits in (3, 4)
    for group in ("g32", "g64", "row")
)
ACTIVATIONS = (
    ("nearest int4_g128 A:int8_token", "nearest int4_g128"),
    ("gptq int4_g128 A:int8_token", "gptq int4_g128"),
    ("nearest int4_g128 A:int4_token", "nearest int4_g128"),
    ("gptq int4_g128 A:int4_token", "gptq int4_g128"),
    ("none A:int8_token", "nearest int4_g128"),
    ("none A:int4_token", "nearest int4_g128"),
    ("nearest int8_g128 A:int8_token", "nearest int4_g128"),
)


def draw(measurements: Sequence[Measurement]) -> Figure:
    """QiD against tokens of weights alone and of weights with activations, a panel a model."""
    shown = ("nearest int4_g128", "gptq int4_g128", *dict.fromkeys(one for one, _ in ACTIVATIONS))
    rows = [m for m in quantized(measurements) if text_of(m) == VALIDATION and way(m) in shown]
    names = list(dict.fromkeys(model(m) for m in rows if "A:" in way(m)))
    settings: dict[Any, Any] = dict(SETTINGS)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.6 * max(len(names), 1), 3.8), layout="constrained")
        axes = figure.subplots(1, max(len(names), 1), squeeze=False, sharey=True)[0]
        shades = matplotlib.colormaps["tab10"]
        for axis, name in zip(axes, names):
            for i, variant in enumerate(shown):
                curve = sorted(
                    (m for m in rows if model(m) == name and way(m) == variant and m.qid > LEAST / 10), key=tokens
                )
                if curve:
                    style = "o-" if "A:" in variant else "s--"
                    axis.plot(
                        [tokens(m) for m in curve],
                        [m.qid for m in curve],
                        style,
                        ms=3,
                        lw=1,
                        color=shades(i),
                        label=variant,
                    )
            axis.set(yscale="log", title=name, xlabel="training tokens D")
            tokens_axis(axis, [float(tokens(m)) for m in rows if model(m) == name])
        axes[0].set_ylabel("QiD, nats per token")
        axes[0].legend(fontsize=6.5)
    return figure


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A model trained in few bits and its 16-bit twin: gaps of the loss at checkpoints both have, nats per token."""

    name: str
    twin: str
    size: int
    tokens: tuple[int, ...]
    gaps: tuple[float, ...]

    @property
    def last_ahead(self) -> int:
        """Return the last tokens at which the low-bit model is ahead, 0 for never."""
        return max((D for D, gap in zip(self.tokens, self.gaps) if gap < 0), default=0)


def native(measurements: Sequence[Measurement]) -> list[Twin]:
    """Return every low-bit run of the study beside the 16-bit model of its size."""
    losses: dict[str, dict[int, float]] = {}
    sizes: dict[str, int] = {}
    low = set()
    for m in measurements:
        losses.setdefault(model(m), {})[tokens(m)] = m.baseline_loss
        sizes[model(m)] = m.asked.checkpoint.parameters
        if "+bitnet" in m.asked.checkpoint.family:
            low.add(model(m))
    said = []
    for name in sorted(low, key=lambda n: (sizes[n], n)):
        twin = next((n for n in losses if n not in low and sizes[n] == sizes[name]), None)
        if twin is not None:
            grid = sorted(set(losses[name]) & set(losses[twin]))
            gaps = tuple(losses[name][D] - losses[twin][D] for D in grid)
            if grid:
                said.append(Twin(name=name, twin=twin, size=sizes[name], tokens=tuple(grid), gaps=gaps))
    return said


def draw_native(measurements: Sequence[Measurement]) -> Figure:
    """Loss of the low-bit models minus that of their twins against tokens."""
    settings: dict[Any, Any] = dict(SETTINGS)
    found = native(measurements)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(7.5, 3.8), layout="constrained")
        axis = figure.subplots()
        for shade, one in zip(("#31688e", "#9a6fb0", "#b4441d", "#d99a1e"), found):
            axis.plot(one.tokens, one.gaps, "o-", ms=4, lw=1.2, color=shade, label=f"{one.name} minus {one.twin}")
        axis.axhline(0, color="#1f2933", lw=0.8)
        tokens_axis(
            axis, [float(np.min([one.tokens[0] for one in found])), float(np.max([one.tokens[-1] for one in found]))]
        )
        linear_axis(axis)
        axis.set(xlabel="training tokens D", ylabel="loss minus that of the 16-bit twin,\nnats per token")
        axis.legend(fontsize=7.5)
    return figure
