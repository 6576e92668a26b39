"""Measurements -> points, fits -> curves: the numbers a panel shows, each with its key and its title."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.panels import Array, Line, Points
from bitlaw.report.words import count, measured

CURVE_POINTS = 60


def small_scale(rows: Sequence[Measurement]) -> float:
    """Return the half width of an axis's linear part: the power of ten nearest to twice the typical standard error of QiD."""
    errors = np.array([m.qid_se for m in rows])
    values = np.array([m.qid for m in rows])
    errors = errors[np.isfinite(errors) & (errors > 0)]
    largest = float(np.max(np.abs(values), initial=0.0)) or 1.0
    noise = 2.0 * float(np.median(errors)) if len(errors) else largest / 1000.0
    return float(10.0 ** np.round(np.log10(np.clip(noise, largest * 1e-5, largest))))


def qid(m: Measurement) -> tuple[float, float]:
    """Return QiD and its paired standard error, nats per token."""
    return m.qid, m.qid_se


def qid_points(ms: Sequence[Measurement], *, joined: bool) -> Points:
    """Return QiD against training tokens; ms: one model under one setup at one bit width."""
    return make_points(ms, [m.asked.checkpoint.tokens or 0 for m in ms], qid, joined=joined)


def make_points(
    ms: Sequence[Measurement],
    x: Sequence[float] | Array,
    value: Callable[[Measurement], tuple[float, float]],
    *,
    what: str = "QiD",
    joined: bool = True,
) -> Points:
    """Return the points of one model. x [n] beside ms; value: measurement -> y and its standard error (NaN: none)."""
    pairs = [value(m) for m in ms]
    return Points(
        model=ms[0].asked.checkpoint.model,
        bits=tuple(m.asked.variant.bits for m in ms),
        x=np.asarray(x, dtype=float),
        y=np.array([y for y, _ in pairs]),
        error=np.array([error for _, error in pairs]),
        keys=tuple(m.key for m in ms),
        titles=tuple(_title(m, what, *pair) for m, pair in zip(ms, pairs)),
        joined=joined,
    )


def _title(m: Measurement, what: str, value: float, error: float) -> str:
    checkpoint = m.asked.checkpoint
    number = {"agreement": f"{value:.2f} %"}.get(what, f"{measured(value, error)} nats")
    return f"{checkpoint.model}, {count(checkpoint.tokens or 0)} tokens, {m.asked.variant.label}: {what} {number}"


def token_line(one: Fit, ms: Sequence[Measurement]) -> Line:
    """Return the law's curve over the tokens of ms, at their size and bits."""
    tokens = [float(m.asked.checkpoint.tokens or 1) for m in ms]
    x = np.geomspace(min(tokens), max(tokens), CURVE_POINTS) if len(set(tokens)) > 1 else np.array(tokens[:1])
    columns = {
        "parameters": np.array(float(ms[0].asked.checkpoint.parameters)),
        "tokens": x,
        "bits": np.array(ms[0].asked.variant.bits),
    }
    return _line(one, ms[0], x, columns)


def bits_line(one: Fit, ms: Sequence[Measurement]) -> Line:
    """Return the law's curve over the bits of ms, at their size and tokens."""
    bits = [m.asked.variant.bits for m in ms]
    x = np.geomspace(min(bits), max(bits), CURVE_POINTS)
    columns = {
        "parameters": np.array(float(ms[0].asked.checkpoint.parameters)),
        "tokens": np.array(float(ms[0].asked.checkpoint.tokens or 1)),
        "bits": x,
    }
    return _line(one, ms[0], x, columns)


def _line(one: Fit, m: Measurement, x: Array, columns: dict[str, Array]) -> Line:
    used = {name: np.broadcast_to(columns[name], x.shape) for name in one.formula().variables}
    low, high = one.band(used)
    return Line(
        model=m.asked.checkpoint.model,
        bits=m.asked.variant.bits,
        x=x,
        y=np.asarray(one.predict(used), dtype=float),
        low=np.asarray(low, dtype=float),
        high=np.asarray(high, dtype=float),
    )
