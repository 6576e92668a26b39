"""The page's tables as rows of cells: numbers keep their full value beside the text that is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitlaw.errors import InputError
from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup, last_points
from bitlaw.report.words import bits_name, count, interval, measured, plain, several


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is shown and, for a number, the number itself (sorting and tests read it)."""

    text: str
    value: float | None = None
    note: str = ""
    numeric: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Column heads (name, explanation) and rows of cells; `anchors` are the ids of rows, if they have any."""

    name: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    anchors: tuple[str, ...] = ()


def number(value: float | None, text: str = "", note: str = "") -> Cell:
    """Return a cell of a number; unknown (None or NaN) is a dash."""
    if value is None or math.isnan(value):
        return Cell(text="–", note=note, numeric=True)
    return Cell(text=text or plain(value), value=float(value), note=note, numeric=True)


def last_table(experiment: Experiment) -> Table:
    """QiD of each model at its last checkpoint: a row for each setup and model, a column for each bit width."""
    rows = []
    for setup, measurements in experiment.quantized.items():
        last = last_points(measurements)
        for model, parameters in experiment.models.items():
            found = {bits: m for (name, bits), m in last.items() if name == model}
            if not found:
                continue
            any_one = next(iter(found.values()))
            cells = [Cell(text=setup.label), Cell(text=model), number(parameters, count(parameters))]
            tokens = float(any_one.asked.checkpoint.tokens or 0)
            cells += [number(tokens, count(tokens)), number(any_one.baseline_loss, f"{any_one.baseline_loss:.4f}")]
            cells += [_qid_cell(found.get(bits)) for bits in experiment.bits]
            rows.append(tuple(cells))
    heads = (
        ("method", "setup of the quantization"),
        ("model", ""),
        ("N", "non-embedding parameters"),
        ("D", "training tokens"),
        ("16-bit loss", "nats per token"),
        *((f"QiD, {bits_name(b)}", "nats per token ± paired standard error") for b in experiment.bits),
    )
    return Table(name="last", heads=heads, rows=tuple(rows))


def _qid_cell(m: Measurement | None) -> Cell:
    return number(None) if m is None else number(m.qid, measured(m.qid, m.qid_se), note=f"row-{m.key}")


def exponent_table(fits: Mapping[Setup, Sequence[Fit]]) -> Table:
    """Every parameter of every fit with its interval, beside the published value."""
    rows = []
    for setup, ones in fits.items():
        for one in ones:
            law = one.formula()
            known = law.published[0] if law.published else None
            for name in law.names:
                low, high = one.intervals.get(name, (math.nan, math.nan))
                fixed = name in one.fixed
                rows.append(
                    (
                        Cell(text=setup.label),
                        Cell(text=one.law, note=law.text),
                        Cell(text=name, note=law.parameter(name).meaning),
                        number(one.values[name]),
                        Cell(text="held fixed" if fixed else interval(low, high)),
                        number(known.values.get(name) if known else None),
                    )
                )
    level = next((one.level for ones in fits.values() for one in ones), 0.9)
    heads = (
        ("method", ""),
        ("law", ""),
        ("constant", ""),
        ("fitted", ""),
        (f"{level:.0%} interval", "uncertainty of the fit"),
        ("published", "for other models, data and quantizer"),
    )
    return Table(name="exponents", heads=heads, rows=tuple(rows))


def fit_warnings(fits: Mapping[Setup, Sequence[Fit]]) -> list[str]:
    """Return what the fits warn of, each under its setup."""
    return [f"{setup.label}, {one.law}: {w}." for setup, ones in fits.items() for one in ones for w in one.warnings]


def published_sources(fits: Mapping[Setup, Sequence[Fit]]) -> list[str]:
    """Return where the published constants beside the fits come from, and what they were fitted to."""
    laws = {one.law: one.formula() for ones in fits.values() for one in ones}
    known = {name: law.published[0] for name, law in laws.items() if law.published}
    return [f"{name}, {laws[name].text}: {one.source}; fitted to {one.data}" for name, one in known.items()]


def fit_table(fits: Mapping[Setup, Sequence[Fit]]) -> Table:
    """How each fit went: rows, outcome, scores, noise."""
    rows = []
    for setup, ones in fits.items():
        for one in ones:
            s = one.scores
            rows.append(
                (
                    Cell(text=setup.label),
                    Cell(text=one.law),
                    number(one.data.rows, f"{one.data.rows} of {several(one.data.models, 'model')}"),
                    Cell(text=f"{one.outcome} ({one.starts_agreeing} of {one.starts} starts agree)"),
                    number(s.log_r2),
                    number(s.median_relative_error, f"{s.median_relative_error:.0%}"),
                    Cell(text=f"{one.scatter.relative:.0%} of the value, {plain(one.scatter.floor, 2)} nats"),
                    Cell(text=one.interval_words or one.interval_kind),
                )
            )
    heads = (
        ("method", ""),
        ("law", ""),
        ("points", ""),
        ("outcome", ""),
        ("R² of log QiD", "over points above the threshold in the caption"),
        ("median error", "relative, same points"),
        ("scatter beyond sampling", "fitted: relative part and floor"),
        ("intervals", "how they were made"),
    )
    return Table(name="fits", heads=heads, rows=tuple(rows))


_MEASUREMENT_HEADS: tuple[tuple[str, str], ...] = (
    ("model", ""),
    ("step", "optimizer step of the checkpoint"),
    ("N", "non-embedding parameters"),
    ("D", "training tokens"),
    ("variant", "method and format"),
    ("bits", "nominal bits per weight"),
    ("stored", "bits per weight, scales and zero points counted"),
    ("loss", "nats per token"),
    ("loss s.e.", "over windows"),
    ("QiD", "loss minus 16-bit loss, nats per token"),
    ("QiD s.e.", "paired over windows"),
    ("KL", "from the 16-bit model, nats per token"),
    ("agree %", "tokens where both rank the same token first"),
    ("SQNR dB", "signal to quantization noise of the weights"),
    ("fallbacks", "layers not quantized as asked"),
    ("s", "seconds it took"),
    ("key", "content key in the store"),
)


def measurement_table(experiment: Experiment) -> Table:
    """Every ok measurement with its headline numbers."""
    rows = [_measurement_row(m) for m in experiment.all_ok]
    return Table(
        name="measurements",
        heads=_MEASUREMENT_HEADS,
        rows=tuple(rows),
        anchors=tuple(f"row-{m.key}" for m in experiment.all_ok),
    )


def _measurement_row(m: Measurement) -> tuple[Cell, ...]:
    checkpoint, variant, seen = m.asked.checkpoint, m.asked.variant, m.seen
    quantized = not variant.is_baseline
    tokens = checkpoint.tokens
    loss_se, qid_se = _known(m, "loss_se"), _known(m, "qid_se")
    kl, agreement = _known(m, "kl"), _known(m, "agreement")
    return (
        Cell(text=checkpoint.model),
        number(checkpoint.step, str(checkpoint.step)),
        number(checkpoint.parameters, count(checkpoint.parameters)),
        number(tokens, count(tokens) if tokens is not None else ""),
        Cell(text=variant.label),
        number(variant.bits, f"{variant.bits:g}"),
        number(seen.bits_per_weight, f"{seen.bits_per_weight or 0:.3f}"),
        number(m.loss, f"{m.loss:.4f}"),
        number(loss_se, f"{loss_se:.4f}"),
        number(m.qid if quantized else None, f"{m.qid:.5f}"),
        number(qid_se if quantized else None, f"{qid_se:.5f}"),
        number(kl if quantized else None, f"{kl:.5f}"),
        number(100 * agreement if quantized else None, f"{100 * agreement:.2f}"),
        number(seen.sqnr_db, f"{seen.sqnr_db or 0:.1f}"),
        number(seen.fallback_layers, str(seen.fallback_layers), note=seen.fallbacks),
        number(m.made.seconds, f"{m.made.seconds:.2f}"),
        Cell(text=m.key[:8], note=m.key),
    )


def _known(m: Measurement, name: str) -> float:
    try:
        return float(getattr(m, name))
    except InputError:
        return math.nan


def failure_table(experiments: Iterable[Experiment]) -> Table:
    """Every failed measurement with its reason."""
    failed = [m for e in experiments for m in e.failed]
    rows = tuple(
        (
            Cell(text=m.asked.checkpoint.suite),
            Cell(text=m.asked.checkpoint.model),
            number(m.asked.checkpoint.step, str(m.asked.checkpoint.step)),
            Cell(text=m.asked.variant.label),
            Cell(text=m.seen.reason or "no reason given"),
            Cell(text=m.key[:8], note=m.key),
        )
        for m in failed
    )
    heads = (("suite", ""), ("model", ""), ("step", ""), ("variant", ""), ("reason", ""), ("key", ""))
    return Table(name="failed", heads=heads, rows=rows, anchors=tuple(f"row-{m.key}" for m in failed))


def checkpoint_table(experiment: Experiment) -> Table:
    """Every checkpoint measured: where it lies on its training path and the hash of its weights."""
    found = {(c.model, c.step, c.commit): c for c in (m.asked.checkpoint for m in experiment.all_ok)}
    rows = tuple(
        (
            Cell(text=c.model),
            Cell(text=c.family),
            number(c.step, str(c.step)),
            number(c.parameters, f"{c.parameters:,}"),
            number(c.tokens, f"{c.tokens or 0:,}"),
            number(c.learning_rate, f"{c.learning_rate or 0:.3g}"),
            number(c.peak_learning_rate, f"{c.peak_learning_rate or 0:.3g}"),
            Cell(text=c.schedule or "–"),
            Cell(text=c.commit[:16], note=c.commit),
        )
        for c in found.values()
    )
    heads = (
        ("model", ""),
        ("family", "architecture or training family"),
        ("step", ""),
        ("N", "non-embedding parameters"),
        ("D", "training tokens"),
        ("learning rate", "in force at this step"),
        ("peak", "largest learning rate of the schedule"),
        ("schedule", ""),
        ("commit", "of the hub, or SHA-256 of the weights"),
    )
    return Table(name="checkpoints", heads=heads, rows=rows)
