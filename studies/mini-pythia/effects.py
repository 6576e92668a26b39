"""Effects with 90 % intervals, computed from rows: slopes over size and tokens, paired ratios, seeds, sensitivity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rows import THRESHOLD, Row
from scipy.stats import t as student

LEVEL = 0.95  # quantile of a two-sided 90 % interval


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A value with its 90 % interval and how many numbers stand behind it."""

    value: float
    low: float
    high: float
    count: int

    def words(self, digits: int = 2) -> str:
        """Return `value (low to high)`."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def mean_of(values: Sequence[float], *, log: bool = False) -> Effect:
    """Mean with Student's interval; `log`: of logarithms, given back as a factor."""
    x = np.asarray(values, float)
    reach = student.ppf(LEVEL, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan
    found = (x.mean(), x.mean() - reach, x.mean() + reach)
    value, low, high = np.exp(found) if log else found
    return Effect(value=float(value), low=float(low), high=float(high), count=len(x))


def ratio(rows: Sequence[Row], top: Callable[[Row], bool], bottom: Callable[[Row], bool]) -> Effect:
    """Geometric mean of QiD(top) / QiD(bottom) at the same checkpoint; interval over the means of models."""
    below = {r.at: r.qid for r in rows if bottom(r)}
    found = defaultdict(list)
    for r in rows:
        if top(r) and min(r.qid, below.get(r.at, 0.0)) > 2 * THRESHOLD:
            found[r.model].append(np.log(r.qid / below[r.at]))
    effect = mean_of([float(np.mean(v)) for v in found.values()], log=True)
    return Effect(**{**vars(effect), "count": sum(map(len, found.values()))})


def paths(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Model -> its rows by tokens, smallest model first. The rows must be of one variant."""
    found = defaultdict(list)
    for r in sorted(rows, key=lambda r: (r.N, r.D)):
        found[r.model].append(r)
    return dict(found)


def size_slopes(rows: Sequence[Row], grid: Sequence[float]) -> list[tuple[float, Effect]]:
    """alpha at fixed tokens: minus the slope of ln QiD over ln N across models, QiD interpolated in logarithms."""
    out = []
    for D in grid:
        n, q = [], []
        for path in paths(rows).values():
            good = [r for r in path if r.qid > 0]
            tokens, values = np.log([r.D for r in good]), np.log([r.qid for r in good])
            if tokens[0] <= np.log(D) <= tokens[-1] + 0.01:
                n.append(np.log(path[0].N))
                q.append(np.interp(np.log(D), tokens, values))
        if len(n) >= 4:
            out.append((D, slope(np.asarray(n), -np.asarray(q))))
    return out


def slope(x: np.ndarray, y: np.ndarray) -> Effect:
    """Least-squares slope of y over x with Student's interval."""
    x = x - x.mean()
    b = float(x @ y / (x @ x))
    left = y - y.mean() - b * x
    reach = student.ppf(LEVEL, len(x) - 2) * np.sqrt(left @ left / (len(x) - 2) / (x @ x))
    return Effect(value=b, low=b - reach, high=b + reach, count=len(x))


def token_slopes(rows: Sequence[Row], low: float, high: float) -> Effect:
    """beta between two token counts: slope of ln QiD over ln D within each model, averaged over models."""
    found = []
    for path in paths(rows).values():
        part = [r for r in path if low <= r.D <= high and r.qid > THRESHOLD]
        if len(part) >= 3:
            found.append(slope(np.log([r.D for r in part]), np.log([r.qid for r in part])).value)
    return mean_of(found)


def regression(rows: Sequence[Row], decay: bool) -> tuple[Effect, Effect | None]:
    """ln QiD = bits + model + beta ln D [- delta ln(rate / peak)] -> beta and delta; interval: jackknife over models."""
    kept = [r for r in rows if r.qid > THRESHOLD and r.D > 5e6]
    models = sorted({r.model for r in kept})

    def solve(used: list[Row]) -> np.ndarray:
        names = sorted({r.model for r in used}), sorted({r.bits for r in used})
        columns = [[float(r.model == m) for r in used] for m in names[0]]
        columns += [[float(r.bits == b) for r in used] for b in names[1][1:]]
        columns += [np.log([r.D for r in used])] + ([-np.log([r.decay for r in used])] if decay else [])
        found = np.linalg.lstsq(np.asarray(columns).T, np.log([r.qid for r in used]), rcond=None)[0]
        return found[-2:] if decay else found[-1:]

    whole = solve(kept)
    left = np.array([solve([r for r in kept if r.model != m]) for m in models])
    se = np.sqrt((len(models) - 1) / len(models) * ((left - left.mean(0)) ** 2).sum(0))
    reach = student.ppf(LEVEL, len(models) - 1) * se
    effects = [Effect(value=v, low=v - h, high=v + h, count=len(kept)) for v, h in zip(whole, reach)]
    return effects[0], effects[1] if decay else None


def error_slopes(rows: Sequence[Row]) -> Effect:
    """Slope s of ln QiD over ln(format error) across nearest formats, one a checkpoint (QiD between .002 and .5 nats)."""
    found = defaultdict(list)
    for r in rows:
        if r.method == "nearest" and 0.002 < r.qid < 0.5:
            found[r.at].append((-r.sqnr * np.log(10) / 10, np.log(r.qid)))
    slopes = defaultdict(list)
    for (model, _), pairs in found.items():
        if len(pairs) >= 6:
            x, y = np.array(pairs).T
            slopes[model].append(slope(x, y).value)
    effect = mean_of([float(np.mean(v)) for v in slopes.values()])
    return Effect(**{**vars(effect), "count": sum(map(len, slopes.values()))})


def separable(rows: Sequence[Row], *, slope_one: bool) -> tuple[float, float, int]:
    """How much of ln QiD of nearest formats is checkpoint + format -> (R2, median relative error, rows), .002 < QiD < .5.

    slope_one: the format's part is ln(error), no constant free; else each format has a free constant.
    """
    used = [r for r in rows if r.method == "nearest" and 0.002 < r.qid < 0.5]
    places, formats = sorted({r.at for r in used}), sorted({r.format for r in used})
    design = [[float(r.at == p) for r in used] for p in places]
    y = np.log([r.qid for r in used])
    known = np.array([-r.sqnr * np.log(10) / 10 for r in used]) if slope_one else np.zeros(len(used))
    if not slope_one:
        design += [[float(r.format == f) for r in used] for f in formats[1:]]
    matrix = np.asarray(design).T
    left = y - known - matrix @ np.linalg.lstsq(matrix, y - known, rcond=None)[0]
    error = float(np.median(np.abs(np.expm1(left))))
    return 1.0 - float(left @ left / ((y - y.mean()) @ (y - y.mean()))), error, len(used)


def seed_noise(rows: Sequence[Row], bits: float) -> tuple[float, float, float, int]:
    """Plain gptq g128 with other calibration seeds -> (sd of ln QiD, sd in nats, median se / QiD, checkpoints).

    The first and third over checkpoints with QiD above .002 nats; the second over those below.
    """
    found = defaultdict(list)
    for r in rows:
        if r.method == "gptq" and r.format == f"int{bits:g}_g128" and not r.setting:
            found[r.at].append(r)
    many = [v for v in found.values() if len(v) > 1]
    logs = [(np.var(np.log([r.qid for r in v]), ddof=1), len(v) - 1) for v in many if min(r.qid for r in v) > 0.002]
    nats = [(np.var([r.qid for r in v], ddof=1), len(v) - 1) for v in many if min(r.qid for r in v) <= 0.002]

    def pooled(parts: list[tuple[float, int]]) -> float:
        return float(np.sqrt(sum(v * n for v, n in parts) / sum(n for _, n in parts))) if parts else float("nan")

    near = [r.se / r.qid for v in many for r in v if min(o.qid for o in v) > 0.002]
    return pooled(logs), pooled(nats), float(np.median(near)) if near else float("nan"), len(many)


def off_line(rows: Sequence[Row], place: tuple[str, int], way: str) -> float:
    """QiD of a variant over what error x sensitivity says, the sensitivity being that of the checkpoint's nearest formats."""
    here = [r for r in rows if r.at == place]
    used = [r for r in here if r.method == "nearest" and 0.002 < r.qid < 0.5]
    level = np.mean([np.log(r.qid) + r.sqnr * np.log(10) / 10 for r in used])
    one = next(r for r in here if r.way == way)
    return float(one.qid / np.exp(level - one.sqnr * np.log(10) / 10))


def bottoms(rows: Sequence[Row]) -> dict[str, tuple[Row, Row]]:
    """Model -> the row with the least quantized loss, and the last one."""
    return {model: (min(path, key=lambda r: r.loss), path[-1]) for model, path in paths(rows).items()}


def exact_ties(bits: int) -> float:
    """Share of random groups whose largest weight, over a symmetric scale, is exactly halfway between two codes in float32."""
    largest = np.abs(np.random.default_rng(0).normal(size=200_000).astype(np.float32))
    top = np.float32(2**bits - 1)
    return float(np.mean(largest / (2 * largest / top) == top / 2))
