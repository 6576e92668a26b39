"""Tokens or the decay of the learning rate? What the study lr-state says: runs that differ in the schedule alone, at equal tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from pairing import LEAST, Ratio, decayed, mean_ratio, model, pairs, quantized, ratio, tokens, way
from scipy.stats import t as student

from bitlaw.records import Measurement
from bitlaw.report.slopes import Slope, common_slope
from bitlaw.report.style import SETTINGS, linear_axis, tokens_axis

GPTQ = ("gptq int2_g128", "gptq int3_g128", "gptq int4_g128")
SHADES = {
    "constant": "#1f2933", "constant+mean5": "#9aa5b1", "cosine": "#b4441d", "wsd25": "#31688e", "wsd50": "#35b779",
    "cosine-48": "#d99a1e", "wsd25-48": "#9a6fb0",
}  # fmt: skip


def size(m: Measurement) -> str:
    """Return the size's name: `2.7m` of `neox-2.7m-low-cosine`."""
    return model(m).split("-")[1]


def arm(m: Measurement) -> str:
    """Return what is behind the size: `constant`, `low-cosine`, `constant+mean5`."""
    return model(m).split("-", 2)[2]


def family(m: Measurement) -> tuple[str, bool]:
    """Return size and whether the peak rate is the low one."""
    return size(m), arm(m).startswith("low-")


ENOUGH = 0.75  # of the rows of a width above LEAST, to judge by it
SHORTER = ("cosine-", "wsd25-")  # arms whose horizon is a part of the others', such as `cosine-48` and `cosine-half`


def comparable(rows: Sequence[Measurement]) -> list[Measurement]:
    """Return the rows of sizes that were also trained at a constant rate, which all comparisons need; all where there is none."""
    held = {size(m) for m in rows if arm(m) == "constant"}
    return [m for m in rows if size(m) in held] or list(rows)


def bits_of(way: str) -> str:
    """Return the bits of a variant of GPTQ."""
    return way.removeprefix("gptq int")[0]


def judged(rows: Sequence[Measurement]) -> str:
    """Return the variant that the growth is judged by and drawn for: 3 bits, or 2 where 3 hurt too little to be told from noise."""
    mine = [m.qid > LEAST for m in of_arm(quantized(rows), "constant") if way(m) == GPTQ[1]]
    return GPTQ[1] if not mine or sum(mine) >= ENOUGH * len(mine) else GPTQ[0]


def of_arm(rows: Sequence[Measurement], name: str) -> list[Measurement]:
    """Return the rows of a schedule at either peak rate."""
    return [m for m in rows if arm(m).removeprefix("low-") == name]


def at(m: Measurement) -> tuple[Any, ...]:
    """Return what two runs of one size and peak share at a checkpoint: size, peak, tokens, variant."""
    return (*family(m), tokens(m), way(m))


@dataclass(frozen=True, kw_only=True)
class Decay:
    """Numbers of the study; ratios are of QiD at equal tokens to the constant rate, where not said otherwise."""

    growth: dict[str, Slope]
    control: Ratio
    ends: dict[str, Ratio]
    loss: dict[str, float]
    low_peak: Ratio
    early_decay: Ratio
    averaged: Ratio
    averaged_loss: float
    beta: tuple[float, float, float]
    lam: tuple[float, float, float]
    rows: int


def found(measurements: Sequence[Measurement]) -> Decay:
    """Return the numbers of the study from its records."""
    rows = quantized(measurements)
    constant = of_arm(rows, "constant")
    last = max(map(tokens, constant), default=0)
    growth = {}
    for name in GPTQ:
        mine = [m for m in constant if way(m) == name and m.qid > LEAST / 2]
        growth[name] = common_slope(
            [tokens(m) for m in mine], [m.qid for m in mine], [model(m) for m in mine], [size(m) for m in mine]
        )
    arms = ["cosine", "wsd25", "wsd50"]
    gptq = [m for m in rows if way(m) in GPTQ]
    before = [m for a in ("wsd25", "wsd50") for m in of_arm(gptq, a) if decayed(m) > 0.999 and tokens(m) < last]
    ends = {a: ratio(at_the_end(of_arm(gptq, a), constant), constant, at, family) for a in arms}
    loss = {}
    for a in arms:
        both = pairs(at_the_end(of_arm(rows, a), constant), constant, at, least=-np.inf)
        loss[a] = float(np.mean([x.baseline_loss - y.baseline_loss for x, y in both])) if both else float("nan")
    low = [m for m in gptq if arm(m) == "low-constant"]
    high = [m for m in gptq if arm(m) == "constant"]
    short = [m for m in gptq if arm(m).removeprefix("low-").startswith(SHORTER) and decayed(m) < 0.2]
    averages = of_arm(gptq, "constant+mean5")
    own = pairs(averages, constant, at)
    every = pairs(of_arm(rows, "constant+mean5"), constant, at, least=-np.inf)
    beta, lam, count = regression([m for m in gptq if "+mean" not in arm(m)])
    return Decay(
        growth=growth,
        control=ratio(before, constant, at, family),
        ends=ends,
        loss=loss,
        low_peak=ratio(low, high, lambda m: (size(m), tokens(m), way(m)), size),
        early_decay=nearest_ratio(short, constant),
        averaged=mean_ratio([float(np.log(a.qid / b.qid)) for a, b in own], [size(a) for a, _ in own]),
        averaged_loss=float(np.mean([a.baseline_loss - b.baseline_loss for a, b in every])) if every else float("nan"),
        beta=beta,
        lam=lam,
        rows=count,
    )


def at_the_end(ones: Sequence[Measurement], constant: Sequence[Measurement]) -> list[Measurement]:
    """Return the rows of each run at its last tokens that the constant run was measured at too, where its rate has fallen by half or more."""
    there = {(*family(m), tokens(m)) for m in constant}
    shared = [m for m in ones if (*family(m), tokens(m)) in there and decayed(m) < 0.5]
    last: dict[str, int] = {}
    for m in shared:
        last[model(m)] = max(last.get(model(m), 0), tokens(m))
    return [m for m in shared if tokens(m) == last[model(m)]]


def nearest_ratio(ones: Sequence[Measurement], others: Sequence[Measurement]) -> Ratio:
    """Return the ratio of QiD where checkpoints do not fall together: the others' ln QiD is interpolated in ln D."""
    logs, clusters = [], []
    for m in ones:
        curve = sorted((o for o in others if family(o) == family(m) and way(o) == way(m) and o.qid > LEAST), key=tokens)
        x = [np.log(tokens(o)) for o in curve]
        if m.qid > LEAST and len(x) > 1 and x[0] <= np.log(tokens(m)) <= x[-1]:
            logs.append(float(np.log(m.qid) - np.interp(np.log(tokens(m)), x, [np.log(o.qid) for o in curve])))
            clusters.append(family(m))
    return mean_ratio(logs, clusters)


Estimate = tuple[float, float, float]


def regression(rows: Sequence[Measurement]) -> tuple[Estimate, Estimate, int]:
    """Return beta and lam of ln QiD = factor(size, width) + beta ln D + lam ln(peak/rate) + mu ln(peak), with 90 % intervals over runs.

    Rows above LEAST. The factor is free for each size and variant; mu holds the peak rates apart. Intervals are
    cluster-robust over training runs.
    """
    mine = [m for m in rows if m.qid > LEAST]
    unknown = (float("nan"),) * 3
    if len(set(map(model, mine))) < 2:
        return unknown, unknown, len(mine)
    groups = {name: i for i, name in enumerate(dict.fromkeys((size(m), way(m)) for m in mine))}
    y = np.log([m.qid for m in mine])
    columns = np.column_stack(
        [
            np.log([tokens(m) for m in mine]),
            -np.log([max(decayed(m), 1e-3) for m in mine]),
            np.log([m.asked.checkpoint.peak_learning_rate or 1.0 for m in mine]),
        ]
    )
    index = np.array([groups[size(m), way(m)] for m in mine])
    number = np.bincount(index)
    centred = columns - np.column_stack([(np.bincount(index, c) / number)[index] for c in columns.T])
    used = [i for i in range(3) if float(centred[:, i] @ centred[:, i]) > 1e-9]
    X = centred[:, used]
    residual_y = y - (np.bincount(index, y) / number)[index]
    inverse = np.linalg.inv(X.T @ X)
    values = inverse @ X.T @ residual_y
    residual = residual_y - X @ values
    runs = list(dict.fromkeys(map(model, mine)))
    scores = np.array(
        [X[[model(m) == run for m in mine]].T @ residual[[model(m) == run for m in mine]] for run in runs]
    )
    covariance = len(runs) / (len(runs) - 1) * inverse @ scores.T @ scores @ inverse
    half = student.ppf(0.95, len(runs) - 1) * np.sqrt(np.diag(covariance))
    at_ = {name: k for k, name in enumerate(used)}
    beta, lam = (
        (float(values[at_[i]]), float(values[at_[i]] - half[at_[i]]), float(values[at_[i]] + half[at_[i]]))
        if i in at_
        else unknown
        for i in (0, 1)
    )
    return beta, lam, len(mine)


def draw(measurements: Sequence[Measurement]) -> Figure:
    """QiD of `judged` against tokens by schedule, a panel a size; below, QiD over that of the constant rate at equal tokens."""
    chosen = judged(measurements)
    rows = [m for m in quantized(measurements) if way(m) == chosen and not family(m)[1]]
    sizes = list(dict.fromkeys(size(m) for m in sorted(rows, key=lambda m: m.asked.checkpoint.parameters)))
    settings: dict[Any, Any] = dict(SETTINGS)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(3.9 * len(sizes), 6.2), layout="constrained")
        axes = figure.subplots(2, len(sizes), squeeze=False, sharey="row", sharex="col")
        for column, name in enumerate(sizes):
            mine = [m for m in rows if size(m) == name and m.qid > LEAST]
            constant = {tokens(m): m.qid for m in mine if arm(m) == "constant"}
            base = sorted(constant)
            for schedule, shade in SHADES.items():
                curve = sorted((m for m in mine if arm(m) == schedule), key=tokens)
                if not curve:
                    continue
                D, q = np.array([tokens(m) for m in curve], dtype=float), np.array([m.qid for m in curve])
                axes[0][column].plot(D, q, "o-", ms=3, lw=1.1, color=shade, label=schedule)
                if not base:
                    continue
                shown = (base[0] <= D) & (base[-1] >= D)
                there = np.exp(np.interp(np.log(D[shown]), np.log(base), np.log([constant[d] for d in base])))
                axes[1][column].plot(D[shown], q[shown] / there, "o-", ms=3, lw=1.1, color=shade)
            axes[0][column].set(yscale="log", title=f"{name} parameters")
            axes[1][column].set_xlabel("training tokens D")
            tokens_axis(axes[1][column], [float(tokens(m)) for m in mine])
            linear_axis(axes[1][column])
        axes[0][0].set_ylabel(f"QiD at {bits_of(chosen)} bits, nats per token")
        axes[1][0].set_ylabel("over that of the constant rate")
        axes[0][0].legend(fontsize=7)
    return figure
