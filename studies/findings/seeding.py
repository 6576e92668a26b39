"""A second training seed, a longer cosine, other calibration samples, and models larger than any the laws were fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from pairing import LEAST, Ratio, decayed, mean_ratio, model, pairs, quantized, tokens, way
from scipy.stats import chi2

from bitlaw.fit import Table, fit
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024.rows import is_papers, one_calibration
from bitlaw.report.style import SETTINGS, tokens_axis


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

    horizon: QiD of runs whose cosine is longer over those of the same size and seed at equal tokens, where the rate of the shorter has fallen by a fifth or more.
    loss: mean absolute difference of the seeds' 16-bit losses, nats; loss_spread: its root mean square.
    """

    training: dict[int, Ratio]
    horizon: Ratio
    calibration: dict[int, Spread]
    loss: float
    loss_spread: float


def twins(first: Sequence[Measurement], second: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Return pairs of the same size, tokens, learning rate, variant and calibration text that differ in the training seed."""

    def key(m: Measurement) -> tuple[Any, ...]:
        c = m.asked.checkpoint
        return (c.parameters, tokens(m), f"{c.learning_rate or 0.0:.6e}", way(m), m.asked.calibration.token_hash)

    both = pairs(second, first, key, least=-np.inf)
    return [(a, b) for a, b in both if a.asked.checkpoint.training_seed != b.asked.checkpoint.training_seed]


def longer(first: Sequence[Measurement], second: Sequence[Measurement]) -> Ratio:
    """Return the ratio of QiD of runs with a longer cosine over mini-pythia's; the shorter's ln QiD is interpolated in ln D."""
    logs, clusters = [], []
    curves: dict[tuple[Any, ...], list[Measurement]] = {}
    for m in one_calibration(quantized(first)):
        if m.qid > LEAST:
            curves.setdefault((m.asked.checkpoint.parameters, m.asked.checkpoint.training_seed, way(m)), []).append(m)
    for m in one_calibration(quantized(second)):
        c = m.asked.checkpoint
        curve = sorted(curves.get((c.parameters, c.training_seed, way(m)), ()), key=tokens)
        x = np.log([tokens(o) for o in curve])
        at = np.log(tokens(m))
        if m.qid > LEAST and len(x) > 1 and x[0] <= at <= x[-1] and np.interp(at, x, [decayed(o) for o in curve]) < 0.8:
            logs.append(float(np.log(m.qid) - np.interp(at, x, np.log([o.qid for o in curve]))))
            clusters.append((model(m), way(m)))
    return mean_ratio(logs, clusters)


def found(first: Sequence[Measurement], second: Sequence[Measurement]) -> Seeds:
    """Return the numbers from mini-pythia and mini-pythia-2."""
    both = twins(first, second)
    clear = [(a, b) for a, b in both if min(a.qid, b.qid) > 2 * LEAST]
    training = {}
    for bits in (2, 3, 4):
        mine = [(a, b) for a, b in clear if a.asked.variant.bits == bits]
        training[bits] = mean_ratio([float(np.log(a.qid / b.qid)) for a, b in mine], [model(a) for a, _ in mine])
    calibration = {bits: calibration_spread([*first, *second], bits) for bits in (2, 3, 4)}
    gaps = [a.baseline_loss - b.baseline_loss for a, b in both if a.asked.variant.is_baseline]
    return Seeds(
        training=training,
        horizon=longer(first, second),
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
    """How a law fitted to the other sizes misses a larger model: median relative error, bias as a factor, rows."""

    model: str
    law: str
    error: float
    bias: float
    rows: int


def larger(first: Sequence[Measurement], second: Sequence[Measurement]) -> list[str]:
    """Return the models beyond mini-pythia's largest size, smallest first."""
    largest = max(m.asked.checkpoint.parameters for m in first)
    sizes = {model(m): m.asked.checkpoint.parameters for m in second if m.asked.checkpoint.parameters > largest}
    return sorted(sizes, key=lambda name: sizes[name])


def held_out(first: Sequence[Measurement], second: Sequence[Measurement], laws: Sequence[str]) -> list[Held]:
    """Return how laws fitted to mini-pythia (paper's settings) predict each larger model of mini-pythia-2, laws in their order."""
    fitted = Table.from_measurements(one_calibration(m for m in quantized(first) if is_papers(m.asked.variant)))
    asked = {
        name: [m for m in quantized(second) if model(m) == name and is_papers(m.asked.variant)]
        for name in larger(first, second)
    }
    tests = {name: [m for m in one_calibration(ms) if m.qid > LEAST / 2] for name, ms in asked.items()}
    said = []
    for law in laws if any(tests.values()) else ():
        made = fit(law, fitted)
        for name, ms in tests.items():
            if ms:
                test = Table.from_measurements(ms)
                miss = np.log(made.predict({v: test[v] for v in made.formula().variables}) / test["qid"])
                error, bias = float(np.median(np.abs(np.expm1(miss)))), float(np.exp(np.median(miss)))
                said.append(Held(model=name, law=law, error=error, bias=bias, rows=len(ms)))
    return said


def draw(first: Sequence[Measurement], second: Sequence[Measurement]) -> Figure:
    """QiD of both training seeds against tokens at 2, 3 and 4 bits (plain GPTQ), and the larger model."""
    settings: dict[Any, Any] = dict(SETTINGS)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        shades = ["#b4441d", "#31688e", "#35b779", "#443983", "#d99a1e", "#9a6fb0"]
        sizes = list(dict.fromkeys(m.asked.checkpoint.parameters for m in second))
        for axis, bits in zip(axes, (2, 3, 4)):
            for shade, n in zip(shades, sizes):
                for rows, style, words in ((first, "o--", "seed 0"), (second, "D-", "")):
                    mine = one_calibration(
                        m
                        for m in quantized(rows)
                        if m.asked.checkpoint.parameters == n and way(m) == f"gptq int{bits}_g128"
                    )
                    for number, name in enumerate(dict.fromkeys(map(model, mine))):
                        curve = sorted((m for m in mine if model(m) == name and m.qid > LEAST / 10), key=tokens)
                        axis.plot(
                            [tokens(m) for m in curve],
                            [m.qid for m in curve],
                            style if number == 0 else "s:",
                            ms=3.5,
                            lw=1,
                            color=shade,
                            label=f"{name} {words}".strip(),
                        )
            axis.set(yscale="log", title=f"{bits} bits", xlabel="training tokens D")
            tokens_axis(axis, [float(tokens(m)) for m in second])
        axes[0].set_ylabel("QiD, nats per token")
        axes[0].legend(fontsize=7)
    return figure
