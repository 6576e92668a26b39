"""Measurements -> one `ModelRecords` a checkpoint: its baseline, random-direction curve, quantized points and probes along them.

What counts, by method of the variant:

    none            the unchanged network
    perturb_random  option snr_db, layers "all": a point of the landscape curve (other layers: per-layer sensitivity)
    perturb_along   option along (`nearest`, `gptq`) and offset_db: w + (Q(w) - w) 10^(-offset_db/20)
    perturb_compensated   options snr_db, micro_block, seed: noise compensated as GPTQ compensates its errors
    nearest, gptq   the format's quantized points

`seen.sqnr_db` is the actual signal-to-noise ratio of each. Failed measurements are counted with their reason.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bitlaw.errors import InputError
from bitlaw.predictor.compensation import CompensatedPoint, Compensation, compensation_of
from bitlaw.predictor.curve import Curve, curve_of
from bitlaw.predictor.known_formats import canonical_name
from bitlaw.records import Checkpoint, Measurement

METHODS = ("nearest", "gptq")
SLOPE_DB = 1.0
"""The slope at a quantized point is (loss at +SLOPE_DB - loss at -SLOPE_DB) / (2 SLOPE_DB) along its own direction."""


@dataclass(frozen=True, kw_only=True)
class ModelRecords:
    """All measurements of one checkpoint on one evaluation text.

    points: (method, canonical format) -> the measurement; random: probes over all layers; along: (direction, canonical
    format) -> [(offset_db, measurement)]; layers: (pattern, measurement) of probes of some layers only; compensated: noise
    compensated as GPTQ would.
    """

    checkpoint: Checkpoint
    evaluation: str
    baseline: Measurement
    points: Mapping[tuple[str, str], Measurement]
    random: tuple[Measurement, ...] = ()
    along: Mapping[tuple[str, str], tuple[tuple[float, Measurement], ...]] = field(default_factory=dict)
    layers: tuple[tuple[str, Measurement], ...] = ()
    compensated: tuple[Measurement, ...] = ()
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Suite, model and step: which weights."""
        c = self.checkpoint
        return f"{c.suite}/{c.model}@{c.step}"

    @property
    def family(self) -> str:
        """The model's family."""
        return self.checkpoint.family

    @property
    def loss(self) -> float:
        """Loss of the unchanged network, nats per token."""
        return self.baseline.loss

    @cached_property
    def quantized_parameters(self) -> int:
        """D: the weights that are quantized or perturbed; all non-embedding parameters where no variant says."""
        changed = [*self.points.values(), *self.random]
        counts = [m.seen.quantized_parameters for m in changed if m.seen.quantized_parameters]
        return max(counts, default=self.checkpoint.parameters)

    @property
    def quantized_layers(self) -> int:
        """Linear layers that are quantized or perturbed; 0 where no variant says."""
        return max((m.seen.quantized_layers for m in (*self.points.values(), *self.random)), default=0)

    @cached_property
    def curve(self) -> Curve:
        """The landscape along random directions. Raises InputError, naming the model, where it was not probed enough."""
        points = [
            (
                float(m.asked.variant.options.get("snr_db", m.seen.sqnr_db) or 0.0),
                float(m.seen.sqnr_db or 0.0),
                m.loss,
                m.qid_se,
            )
            for m in self.random
            if m.seen.sqnr_db is not None and math.isfinite(m.loss)
        ]
        try:
            return curve_of(points, self.loss)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    @property
    def curve_if_any(self) -> Curve | None:
        """The landscape, None where it was not probed enough or has no shape."""
        try:
            curve = self.curve
            curve.at(0.0)
        except InputError:
            return None
        return curve

    @cached_property
    def compensation(self) -> Compensation | None:
        """What GPTQ's compensation is worth in dB, None where it was not probed, or not beyond the noise."""
        curve = self.curve_if_any
        if curve is None:
            return None
        points = [
            CompensatedPoint(
                snr_db=float(options["snr_db"] or 0.0),
                block=int(options["micro_block"] or 1),
                loss=m.loss,
                excess_se=m.qid_se,
            )
            for m in self.compensated
            if math.isfinite(m.loss)
            for options in (m.asked.variant.options,)
        ]
        return compensation_of(points, curve)

    def seed_curves(self) -> dict[int, list[tuple[float, float]]]:
        """Return seed -> (SNR, loss) of the random probes, ascending."""
        found: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for m in self.random:
            if m.seen.sqnr_db is not None:
                found[int(m.asked.variant.options.get("seed", 0) or 0)].append((m.seen.sqnr_db, m.loss))
        return {seed: sorted(points) for seed, points in sorted(found.items())}

    def slope(self, direction: str, name: str) -> float:
        """Return dloss/dSNR at the quantized point along its own direction, nats per dB; NaN where it was not probed."""
        found = dict(self.along.get((direction, name), ()))
        if SLOPE_DB not in found or -SLOPE_DB not in found:
            return math.nan
        return (found[SLOPE_DB].loss - found[-SLOPE_DB].loss) / (2.0 * SLOPE_DB)


def collect(measurements: Iterable[Measurement]) -> list[ModelRecords]:
    """Return the records of each checkpoint with a measured baseline, by family, size and step.

    A format under two names is one: of its measurements the first is kept. Where a checkpoint was scored on several
    texts, each is an entry of its own. Raises InputError when there is no baseline at all.
    """
    grouped: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
    for m in measurements:
        c = m.asked.checkpoint
        grouped[c.suite, c.model, f"{c.step:012d}", c.commit, m.asked.evaluation.token_hash].append(m)
    found = [one for group in grouped.values() if (one := _one(group)) is not None]
    if not found:
        raise InputError(
            f"No unquantized baseline among {sum(map(len, grouped.values()))} measurements. Measure checkpoints with `bitlaw measure`."
        )
    return sorted(
        found, key=lambda one: (one.family, one.checkpoint.parameters, one.checkpoint.model, one.checkpoint.step)
    )


def _one(group: Sequence[Measurement]) -> ModelRecords | None:
    baseline = None
    points: dict[tuple[str, str], Measurement] = {}
    random: list[Measurement] = []
    layers: list[tuple[str, Measurement]] = []
    compensated: list[Measurement] = []
    along: dict[tuple[str, str], list[tuple[float, Measurement]]] = defaultdict(list)
    failed: Counter[str] = Counter()
    for m in group:
        variant, options = m.asked.variant, m.asked.variant.options
        if not variant.weights_only:
            continue
        if m.seen.state != "ok":
            failed[f"{variant.label}: {m.seen.reason or 'no reason given'}"] += 1
        elif variant.is_baseline:
            baseline = m
        elif variant.method == "perturb_random":
            where = str(options.get("layers", "all"))
            if where == "all":
                random.append(m)
            else:
                layers.append((where, m))
        elif variant.method == "perturb_along":
            direction, offset = str(options.get("along", "nearest")), float(options.get("offset_db", 0.0) or 0.0)
            if str(options.get("layers", "all")) == "all":
                along[direction, canonical_name(variant.format)].append((offset, m))
        elif variant.method == "perturb_compensated":
            compensated.append(m)
        elif variant.method in METHODS:
            points.setdefault((variant.method, canonical_name(variant.format)), m)
    if baseline is None:
        return None
    return ModelRecords(
        checkpoint=baseline.asked.checkpoint,
        evaluation=baseline.asked.evaluation.name,
        baseline=baseline,
        points=points,
        random=tuple(random),
        along={key: tuple(sorted(rows, key=lambda row: row[0])) for key, rows in along.items()},
        layers=tuple(layers),
        compensated=tuple(compensated),
        failed=dict(failed),
    )
