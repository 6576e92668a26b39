"""Measurements as pairs that differ in one thing, and ratios of QiD over such pairs with intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from bitlaw.records import Measurement
from bitlaw.report.slopes import Slope, common_slope

LEVEL = 0.9
LEAST = 1e-3  # nats: below it a ratio of two QiD is mostly noise


def way(m: Measurement) -> str:
    """Return the variant with the options that differ from the method's plain ones."""
    v = m.asked.variant
    plain = {"upstream": "quantized", "scales": "dynamic", "order": "none", "within_block": "parallel"}
    changed = [f"{k}={v.options[k]}" for k, usual in plain.items() if v.options.get(k, usual) != usual]
    return " ".join([v.label, *changed])


def model(m: Measurement) -> str:
    """Return the model's name."""
    return m.asked.checkpoint.model


def tokens(m: Measurement) -> int:
    """Return D."""
    return m.asked.checkpoint.tokens or 0


def decayed(m: Measurement) -> float:
    """Return the learning rate in force over the peak rate."""
    c = m.asked.checkpoint
    return (c.learning_rate or 0.0) / (c.peak_learning_rate or 1.0)


def quantized(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows that are not the 16-bit model itself."""
    return [m for m in rows if not m.asked.variant.is_baseline and m.seen.state == "ok"]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A geometric mean of ratios with its interval over clusters, how many pairs and clusters it has, and the spread of ln."""

    value: float
    low: float
    high: float
    pairs: int
    clusters: int
    spread: float

    def words(self, digits: int = 2) -> str:
        """Return `0.93 (0.88 to 0.99)`."""
        if not self.pairs:
            return "not measured"
        if not np.isfinite(self.low):
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def _half(values: NDArray[np.float64]) -> float:
    """Return half of the interval of a mean by Student's t."""
    return float(student.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def mean_ratio(logs: Sequence[float], clusters: Sequence[Hashable]) -> Ratio:
    """Return the geometric mean of ratios given as logarithms; the interval is Student's t over the clusters' means.

    It is never narrower than that over all ratios as if they were independent: two clusters may agree by chance.
    """
    if not len(logs):
        return Ratio(value=np.nan, low=np.nan, high=np.nan, pairs=0, clusters=0, spread=np.nan)
    names = list(dict.fromkeys(clusters))
    means = np.array([np.mean([x for x, c in zip(logs, clusters) if c == name]) for name in names])
    middle = float(means.mean())
    half = np.nan
    if len(means) > 1:
        half = max(_half(means), _half(np.array(logs)))
    return Ratio(
        value=float(np.exp(middle)),
        low=float(np.exp(middle - half)),
        high=float(np.exp(middle + half)),
        pairs=len(logs),
        clusters=len(names),
        spread=float(np.std(logs, ddof=1)) if len(logs) > 1 else np.nan,
    )


def pairs(
    ones: Iterable[Measurement],
    others: Iterable[Measurement],
    key: Callable[[Measurement], Hashable],
    *,
    least: float = LEAST,
) -> list[tuple[Measurement, Measurement]]:
    """Return (one, other) for every key that both have, where both QiD are above `least` nats."""
    by_key = {key(m): m for m in others}
    found = [(m, by_key[key(m)]) for m in ones if key(m) in by_key]
    return [(a, b) for a, b in found if a.qid > least and b.qid > least]


def ratio(
    ones: Iterable[Measurement],
    others: Iterable[Measurement],
    key: Callable[[Measurement], Hashable],
    cluster: Callable[[Measurement], Hashable] = model,
    *,
    least: float = LEAST,
) -> Ratio:
    """Return the ratio of QiD, ones over others, over all pairs."""
    found = pairs(ones, others, key, least=least)
    return mean_ratio([float(np.log(a.qid / b.qid)) for a, b in found], [cluster(a) for a, _ in found])


def ratio_slope(
    ones: Iterable[Measurement],
    others: Iterable[Measurement],
    key: Callable[[Measurement], Hashable],
    cluster: Callable[[Measurement], Hashable],
) -> Slope:
    """Return how the ratio of QiD, ones over others, goes with tokens: the slope of its logarithm in ln D within clusters."""
    found = pairs(ones, others, key)
    clusters = [cluster(a) for a, _ in found]
    return common_slope([tokens(a) for a, _ in found], [a.qid / b.qid for a, b in found], clusters, clusters)
