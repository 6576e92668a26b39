"""`frontier(source)`: loss against true bytes over sizes and formats: what to choose at each budget, and whether GPTQ is worth it.

    bytes = quantized weights x bits_per_weight / 8        scales, zero points and codebooks counted, as measured
          + the other weights of the blocks x 2             16 bits
          + embeddings and head x 2                         with embeddings (off: `embeddings=False`)

One convention for every point, the unquantized ones too (the paper's Figure 6 mixes fp32 with embeddings, fp16 with, and
quantized without). A point is on the frontier if no other has at most its bytes and less loss. Errors: within a checkpoint
those of QiD, paired over windows; between checkpoints those of the losses, as if texts were independent, which is cautious.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.predictor.forecasting import predictor_predict
from bitlaw.predictor.landscape import METHODS, ModelRecords, collect
from bitlaw.predictor.saved import Predictors, load_predictors
from bitlaw.predictor.training import Source, measurements_of

FULL_BYTES = 2.0  # of a weight that is not quantized
ON, MAYBE, BEATEN = "frontier", "may be", "beaten"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model in one format. loss with its interval, nats per token; `qid_se` and `loss_se` standard errors.

    state: `frontier`, `may be` (beaten, but within the errors), or `beaten`. predicted: from a predictor, not measured.
    """

    model: str
    family: str
    method: str
    format: str
    bits_per_weight: float
    bytes: float
    loss: float
    low: float
    high: float
    qid_se: float
    loss_se: float
    state: str = BEATEN
    predicted: bool = False


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What GPTQ saves over nearest at one model and format, with its interval; both in nats per token.

    verdict: `worth it` if the whole interval is above the least saving that counts, `not worth it` if it is below,
    `unclear` else. seconds: what GPTQ's measurement took beyond nearest's.
    """

    model: str
    format: str
    bits_per_weight: float
    saved: float
    low: float
    high: float
    verdict: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """All points, fewest bytes first; what is best at each budget; whether GPTQ is worth it."""

    points: tuple[Point, ...]
    budgets: tuple[tuple[float, Point | None], ...]
    worth: tuple[Worth, ...]
    embeddings: bool
    level: float
    least: float
    evaluation: str

    @property
    def members(self) -> tuple[Point, ...]:
        """The Pareto set, fewest bytes first."""
        return tuple(point for point in self.points if point.state == ON)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "embeddings": self.embeddings,
            "level": self.level,
            "least": self.least,
            "evaluation": self.evaluation,
            "points": [asdict(point) for point in self.points],
            "budgets": [{"bytes": size, "best": None if best is None else asdict(best)} for size, best in self.budgets],
            "worth": [asdict(one) for one in self.worth],
        }


def frontier(
    source: Source,
    *,
    embeddings: bool = True,
    budgets: Sequence[float] = (),
    level: float = 0.9,
    least: float = 0.01,
    families: Sequence[str] = (),
    predictor: Predictors | str | os.PathLike[str] | None = None,
) -> Frontier:
    """Return the frontier of the last checkpoint of every model in a source.

    embeddings: count embeddings and head at 16 bits (needs `parameters_total` in the records). budgets: bytes; none given,
    ten between the smallest and the largest point. least: the saving in nats from which GPTQ is worth running. families:
    only these. predictor: fills in formats that were probed and not measured, flagged as predicted. Raises InputError when
    nothing was measured or models were scored on different texts.
    """
    if not (math.isfinite(least) and least >= 0):
        raise InputError(
            f"least={least} must be 0 or more: the saving in nats per token from which GPTQ is worth running."
        )
    models = last_checkpoints(collect(measurements_of(source)[0]))
    if families:
        known = sorted({m.family for m in models})
        if missing := [name for name in families if name not in known]:
            raise InputError(f"No model of family {missing[0]!r} was measured. Families: {', '.join(known)}.")
        models = [m for m in models if m.family in families]
    texts = {m.baseline.asked.evaluation.token_hash: m.evaluation for m in models}
    if len(texts) > 1:
        raise InputError(
            f"Models were scored on {len(texts)} different texts or tokenizers ({', '.join(sorted(texts.values())[:4])}): their losses "
            "do not compare. Choose one with --where evaluation_name=... or --families."
        )
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    points = [point for model in models for point in _measured(model, embeddings, z)]
    if predictor is not None:
        trained = predictor if isinstance(predictor, Predictors) else load_predictors(Path(predictor))
        points += [point for model in models for point in _predicted(model, trained, embeddings, level, points)]
    placed = _placed(sorted(points, key=lambda p: (p.bytes, p.loss)), z)
    sizes = [point.bytes for point in placed]
    chosen = tuple(budgets) or tuple(np.geomspace(min(sizes), max(sizes), 10).tolist())
    return Frontier(
        points=tuple(placed),
        budgets=tuple((float(size), best_within(placed, size)) for size in chosen),
        worth=tuple(one for model in models for one in worth_of(model, z, least)),
        embeddings=embeddings,
        level=level,
        least=least,
        evaluation=next(iter(texts.values())),
    )


def last_checkpoints(models: Sequence[ModelRecords]) -> list[ModelRecords]:
    """Return the last measured checkpoint of each model on each evaluation text."""
    last: dict[tuple[str, str, str], ModelRecords] = {}
    for model in models:
        key = (model.checkpoint.suite, model.checkpoint.model, model.baseline.asked.evaluation.token_hash)
        if key not in last or model.checkpoint.step > last[key].checkpoint.step:
            last[key] = model
    return list(last.values())


def bytes_of(model: ModelRecords, bits_per_weight: float, *, embeddings: bool) -> float:
    """Return the bytes of a model with its quantized weights at `bits_per_weight`; 16 for the unquantized."""
    c = model.checkpoint
    quantized = min(model.quantized_parameters, c.parameters)
    size = quantized * bits_per_weight / 8.0 + (c.parameters - quantized) * FULL_BYTES
    if not embeddings:
        return size
    if c.parameters_total is None:
        raise InputError(
            f"{model.name} does not say its total parameters, so embeddings cannot be counted. Use embeddings=False."
        )
    return size + (c.parameters_total - c.parameters) * FULL_BYTES


def _measured(model: ModelRecords, embeddings: bool, z: float) -> list[Point]:
    found = []
    for m in (model.baseline, *model.points.values()):
        variant = m.asked.variant
        stored = 16.0 if variant.is_baseline else m.seen.bits_per_weight
        if stored is None or not math.isfinite(m.loss):
            continue
        error = float(np.nan_to_num(m.loss_se))
        found.append(
            Point(
                model=model.checkpoint.model,
                family=model.family,
                method=variant.method,
                format=variant.format,
                bits_per_weight=stored,
                bytes=bytes_of(model, stored, embeddings=embeddings),
                loss=m.loss,
                low=m.loss - z * error,
                high=m.loss + z * error,
                qid_se=float(np.nan_to_num(m.qid_se)),
                loss_se=error,
            )
        )
    return found


def _predicted(
    model: ModelRecords, trained: Predictors, embeddings: bool, level: float, have: Sequence[Point]
) -> list[Point]:
    if not model.random:
        return []
    known = {(p.model, p.method, p.format) for p in have}
    measurements = [model.baseline, *model.random, *model.points.values()]
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    found = []
    for row in predictor_predict(measurements, predictor=trained, level=level).rows:
        if (model.checkpoint.model, row.method, row.format) in known or row.measured is not None:
            continue
        error = (row.high - row.low) / 2.0 / z
        found.append(
            Point(
                model=model.checkpoint.model,
                family=model.family,
                method=row.method,
                format=row.format,
                bits_per_weight=row.bits_per_weight,
                bytes=bytes_of(model, row.bits_per_weight, embeddings=embeddings),
                loss=row.loss,
                low=row.low,
                high=row.high,
                qid_se=error,
                loss_se=math.hypot(error, model.baseline.loss_se),
                predicted=True,
            )
        )
    return found


def _placed(points: Sequence[Point], z: float) -> list[Point]:
    """Return the points with their states; points: fewest bytes first, of equal bytes the least loss first."""
    found: list[Point] = []
    best: list[Point] = []  # the frontier so far
    for point in points:
        beats = [other for other in best if other.loss <= point.loss]
        if not beats:
            best.append(point)
            found.append(replace(point, state=ON))
            continue
        clearly = any(point.loss - other.loss > z * difference_error(point, other) for other in beats)
        found.append(replace(point, state=BEATEN if clearly else MAYBE))
    return found


def difference_error(a: Point, b: Point) -> float:
    """Return the standard error of the difference of two losses."""
    return math.hypot(a.qid_se, b.qid_se) if a.model == b.model else math.hypot(a.loss_se, b.loss_se)


def best_within(points: Sequence[Point], size: float) -> Point | None:
    """Return the point with the least loss among those of at most `size` bytes; None if there is none."""
    inside = [point for point in points if point.bytes <= size * (1.0 + 1e-12)]
    return min(inside, key=lambda point: point.loss, default=None)


def worth_of(model: ModelRecords, z: float, least: float) -> list[Worth]:
    """Return what GPTQ saves at every format measured with both methods."""
    found = []
    for (method, name), nearest in sorted(model.points.items()):
        gptq = model.points.get(("gptq", name))
        if method != METHODS[0] or gptq is None:
            continue
        saved, error = nearest.loss - gptq.loss, math.hypot(nearest.qid_se, gptq.qid_se)
        low, high = saved - z * error, saved + z * error
        found.append(
            Worth(
                model=model.checkpoint.model,
                format=name,
                bits_per_weight=float(nearest.seen.bits_per_weight or math.nan),
                saved=saved,
                low=low,
                high=high,
                verdict="worth it" if low > least else "not worth it" if high < least else "unclear",
                seconds=gptq.made.seconds - nearest.made.seconds,
            )
        )
    return found
