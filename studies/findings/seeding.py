"""A second training seed, other calibration samples, and a model larger than any the laws were fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from pairing import LEAST, Ratio, mean_ratio, model, pairs, quantized, tokens, way
from scipy.stats import chi2

from bitlaw.fit import Table, fit
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024.rows import is_papers, one_calibration
from bitlaw.report.style import SETTINGS, tokens_axis

LARGEST = "neox-37.8m"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A standard deviation with its 90 % interval (chi square), and how many checkpoints it is of."""

    value: float
    low: float
    high: float
    checkpoints: int


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Spread of ln QiD over training seeds and over calibration samples, by bits; systematic ratio of the second seed.

    loss: mean absolute difference of the seeds' 16-bit losses, nats; loss_spread: its root mean square.
    """

    training: dict[int, Ratio]
    calibration: dict[int, Spread]
    loss: float
    loss_spread: float


def twins(first: Sequence[Measurement], second: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Return pairs (seed 1, seed 0) of the same size, tokens, variant and calibration text."""

    def key(m: Measurement) -> tuple[Any, ...]:
        return (m.asked.checkpoint.parameters, tokens(m), way(m), m.asked.calibration.token_hash)

    return pairs(quantized(second), quantized(first), key, least=2 * LEAST)


def found(first: Sequence[Measurement], second: Sequence[Measurement]) -> Seeds:
    """Return the numbers from mini-pythia and mini-pythia-2."""
    both = twins(first, second)
    training = {}
    for bits in (2, 3, 4):
        mine = [(a, b) for a, b in both if a.asked.variant.bits == bits]
        training[bits] = mean_ratio([float(np.log(a.qid / b.qid)) for a, b in mine], [model(a) for a, _ in mine])
    calibration = {bits: calibration_spread([*first, *second], bits) for bits in (2, 3, 4)}
    base = {(m.asked.checkpoint.parameters, tokens(m)): m.baseline_loss for m in first}
    gaps = [m.baseline_loss - base[at] for m in second if (at := (m.asked.checkpoint.parameters, tokens(m))) in base]
    return Seeds(
        training=training,
        calibration=calibration,
        loss=float(np.mean(np.abs(gaps))) if gaps else float("nan"),
        loss_spread=float(np.sqrt(np.mean(np.square(gaps)))) if gaps else float("nan"),
    )


def calibration_spread(rows: Sequence[Measurement], bits: int) -> Spread:
    """Return the standard deviation of ln QiD of plain GPTQ over calibration samples, within checkpoints that were measured with several."""
    groups: dict[str, list[float]] = {}
    for m in quantized(rows):
        if way(m) == f"gptq int{bits}_g128" and m.qid > 2 * LEAST:
            groups.setdefault(m.asked.checkpoint.commit, []).append(float(np.log(m.qid)))
    repeated = [g for g in groups.values() if len(g) > 1]
    freedom = sum(len(g) - 1 for g in repeated)
    if not freedom:
        return Spread(value=np.nan, low=np.nan, high=np.nan, checkpoints=0)
    squares = sum(float(np.sum((np.array(g) - np.mean(g)) ** 2)) for g in repeated)
    low, high = ((squares / chi2.ppf(q, freedom)) ** 0.5 for q in (0.95, 0.05))
    return Spread(value=(squares / freedom) ** 0.5, low=float(low), high=float(high), checkpoints=len(repeated))


@dataclass(frozen=True, kw_only=True)
class Held:
    """How a law fitted to the other sizes misses the larger model: median relative error, bias as a factor, rows."""

    law: str
    error: float
    bias: float
    rows: int


def held_out(first: Sequence[Measurement], second: Sequence[Measurement], laws: Sequence[str]) -> list[Held]:
    """Return how laws fitted to mini-pythia (paper's settings) predict the largest model of mini-pythia-2."""
    fitted = one_calibration(m for m in quantized(first) if is_papers(m.asked.variant))
    asked = one_calibration(m for m in quantized(second) if model(m) == LARGEST and is_papers(m.asked.variant))
    asked = [m for m in asked if m.qid > LEAST / 2]
    if not asked:
        return []
    table, test = Table.from_measurements(fitted), Table.from_measurements(asked)
    said = []
    for name in laws:
        made = fit(name, table)
        miss = np.log(made.predict({v: test[v] for v in made.formula().variables}) / test["qid"])
        said.append(
            Held(
                law=name,
                error=float(np.median(np.abs(np.expm1(miss)))),
                bias=float(np.exp(np.median(miss))),
                rows=len(asked),
            )
        )
    return said


def draw(first: Sequence[Measurement], second: Sequence[Measurement]) -> Figure:
    """QiD of both training seeds against tokens at 2, 3 and 4 bits (plain GPTQ), and the larger model."""
    settings: dict[Any, Any] = dict(SETTINGS)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        shades = ["#b4441d", "#31688e", "#35b779", "#443983"]
        sizes = list(dict.fromkeys(m.asked.checkpoint.parameters for m in second))
        for axis, bits in zip(axes, (2, 3, 4)):
            for shade, n in zip(shades, sizes):
                for rows, style, words in ((first, "o--", "seed 0"), (second, "D-", "")):
                    mine = one_calibration(
                        m
                        for m in quantized(rows)
                        if m.asked.checkpoint.parameters == n and way(m) == f"gptq int{bits}_g128"
                    )
                    curve = sorted((m for m in mine if m.qid > LEAST / 10), key=tokens)
                    if curve:
                        label = f"{model(curve[0])} {words}".strip()
                        axis.plot(
                            [tokens(m) for m in curve],
                            [m.qid for m in curve],
                            style,
                            ms=3.5,
                            lw=1,
                            color=shade,
                            label=label,
                        )
            axis.set(yscale="log", title=f"{bits} bits", xlabel="training tokens D")
            tokens_axis(axis, [float(tokens(m)) for m in second])
        axes[0].set_ylabel("QiD, nats per token")
        axes[0].legend(fontsize=7)
    return figure
