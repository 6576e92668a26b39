"""`predictor_predict(...)`: one model's probes and a predictor -> loss by format and method with intervals, nothing quantized.

    from bitlaw.api import predictor_predict
    forecast = predictor_predict(measurements_of_one_model)          # baseline and perturb_random probes
    for row in forecast.rows: print(row.format, row.method, row.loss, row.low, row.high, row.outside)

What was measured decides which predictor answers: probes alone, `zero-shot`; probes and nearest points, `after-nearest` for
GPTQ; compensated probes too, the kind for GPTQ that reads them, `-compensated` (all as means with others, `-mean`, where training tokens and learning rates are known); neither, `config` (training tokens
known) or `config-no-tokens`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.errors import InputError, UnknownName
from bitlaw.predictor.curve import Curve
from bitlaw.predictor.known_formats import PAPER_FORMATS, canonical_name, facts
from bitlaw.predictor.landscape import METHODS, ModelRecords, collect
from bitlaw.predictor.rows import Rows, format_columns, model_columns, rows_from
from bitlaw.predictor.saved import Predictors, Trained, load_predictors
from bitlaw.records import Measurement

MOST_DB = 3.0  # a format this far below the lowest probe is said to be beyond the landscape


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a method and format are predicted to do to one model.

    loss and its interval [low, high], qid = loss - baseline, in nats per token. `predictor`: which kind answered;
    `outside`: what lies beyond what it was trained on, in words; `measured`: the loss where it was measured after all.
    """

    format: str
    method: str
    bits_per_weight: float
    snr_db: float
    loss: float
    low: float
    high: float
    qid: float
    predictor: str
    outside: tuple[str, ...] = ()
    measured: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelForecast:
    """All forecasts of one model, by method and then fewest bits first; `level` of the intervals."""

    model: str
    family: str
    baseline_loss: float
    level: float
    rows: tuple[Forecast, ...]
    trained_on: str

    @property
    def inside(self) -> bool:
        """True if every forecast lies within what its predictor was trained on."""
        return not any(row.outside for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        named = ("model", "family", "baseline_loss", "level", "trained_on")
        content = {name: getattr(self, name) for name in named}
        return {**content, "inside": self.inside, "rows": [asdict(row) for row in self.rows]}


def predictor_predict(
    measurements: Iterable[Measurement],
    *,
    predictor: Predictors | str | os.PathLike[str] | None = None,
    formats: Sequence[str] = PAPER_FORMATS,
    methods: Sequence[str] = METHODS,
    kind: str = "auto",
    level: float = 0.9,
    strict: bool = False,
) -> ModelForecast:
    """Return forecasts for one model from its measurements: a baseline, and perturb_random probes where there are any.

    predictor: trained predictors, a file of them, or None for those that come with bitlaw. formats: names; two names of one
    format are answered once. kind: which predictor answers; `auto` as the module says. strict: refuse (InputError) instead
    of flagging what lies outside the training range. Raises InputError for several models at once, a format whose error
    nobody knows, or probes too few for the kind.
    """
    models = collect(measurements)
    if len(models) != 1:
        raise InputError(
            f"Forecasts are for one model at a time; these are of {', '.join(m.name for m in models)}. Choose one (--where model=...)."
        )
    model = models[0]
    trained = (
        predictor
        if isinstance(predictor, Predictors)
        else load_predictors(None if predictor is None else Path(predictor))
    )
    names = list(dict.fromkeys(canonical_name(name) for name in formats))
    if not names:
        raise InputError("No format was named. Name some, such as mxint4_k32 or mxfp4_e2m1_k32.")
    curve = None
    if model.random:
        curve = model.curve
        curve.at(0.0)  # a landscape without shape is refused here, by name
    found = []
    for method in methods:
        if method not in METHODS:
            raise UnknownName("method of forecasts", method, METHODS)
        chosen = choose(model, trained, method, names, curve) if kind == "auto" else kind
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(chosen[name] if isinstance(chosen, dict) else chosen, []).append(name)
        for group, members in groups.items():
            found += _forecasts(model, trained, group, method, members, curve, level)
    if strict and (words := sorted({w for row in found for w in row.outside})):
        raise InputError(
            f"Outside what the predictor was trained on: {'; '.join(words[:4])}. Leave strict out to get flagged answers."
        )
    order = {method: index for index, method in enumerate(methods)}
    return ModelForecast(
        model=model.name,
        family=model.family,
        baseline_loss=model.loss,
        level=level,
        rows=tuple(sorted(found, key=lambda row: (order[row.method], row.bits_per_weight, row.format))),
        trained_on=f"{trained.data['rows']} rows of {len(trained.data['models'])} models ({', '.join(trained.families)}), "
        f"{trained.data['source']}, digest {trained.data['digest']}",
    )


def choose(
    model: ModelRecords, trained: Predictors, method: str, names: Sequence[str], curve: Curve | None
) -> dict[str, str]:
    """Return format -> the kind of predictor that answers. Raises InputError when none can."""
    target = target_of(method)
    checkpoint = model.checkpoint
    tokens = bool(checkpoint.tokens)
    rates = tokens and None not in (checkpoint.learning_rate, checkpoint.peak_learning_rate)
    chosen = {}
    for name in names:
        wanted = []
        if curve is not None:
            compensated = method == "gptq" and model.compensation is not None
            nearest = method == "gptq" and ("nearest", name) in model.points
            if compensated and nearest:
                wanted += ["after-nearest-compensated-mean"] * rates + ["after-nearest-compensated"]
            if nearest:
                wanted += ["after-nearest-mean"] * rates + ["after-nearest"]
            if compensated:
                wanted += ["zero-shot-compensated-mean"] * rates + ["zero-shot-compensated"]
            wanted += ["zero-shot-mean"] * rates + ["zero-shot"]
        wanted += ["config"] * tokens + ["config-no-tokens"]
        kinds = [one for one in wanted if trained.has(one, target)]
        if not kinds:
            raise InputError(
                f"No predictor of {target} for a model with {'' if curve else 'no '}landscape probes is in this file. Train "
                f"{wanted[0]!r} with `bitlaw predictor train`."
            )
        chosen[name] = kinds[0]
    return chosen


def target_of(method: str) -> str:
    """Return the target whose predictor answers for a method."""
    return "gptq_qid" if method == "gptq" else "nearest_qid"


def rows_for(model: ModelRecords, names: Sequence[str], curve: Curve | None) -> Rows:
    """Return the rows of one model for formats that need not have been quantized; what was not measured is NaN."""
    found = []
    for name in names:
        known = facts(name)
        nearest = model.points.get(("nearest", name))
        found.append(
            {
                **model_columns(model),
                **format_columns(known, model),
                "sqnr_db": nearest.seen.sqnr_db if nearest and nearest.seen.sqnr_db is not None else math.nan,
                "nearest_loss": nearest.loss if nearest else math.nan,
                "nearest_se": nearest.qid_se if nearest else math.nan,
                "slope": model.slope("nearest", name),
                "bits_per_weight": known.bits_per_weight,
            }
        )
        if curve is not None and nearest and math.isnan(found[-1]["slope"]):
            found[-1]["slope"] = float(curve.slope(found[-1]["sqnr_db"]))
    return rows_from(found, {model.name: curve}, {model.name: model.compensation})


def _forecasts(
    model: ModelRecords,
    trained: Predictors,
    kind: str,
    method: str,
    names: Sequence[str],
    curve: Curve | None,
    level: float,
) -> list[Forecast]:
    rows = rows_for(model, names, curve)
    one = _find(trained, kind, method)
    reads = [name for name in ("nearest_loss", "sqnr_db") if "nearest run" in _reads(kind)]
    if missing := [rows.format[i] for i in range(len(rows)) if any(not np.isfinite(rows[name][i]) for name in reads)]:
        raise InputError(
            f"Predictor {kind!r} reads the loss after rounding to nearest, which was not measured for {', '.join(missing[:4])}. "
            "Measure it, or use zero-shot."
        )
    loss = one.predict(rows)
    unseen = ~np.isin(rows.element, np.array(trained.elements))
    half = one.half_width(rows, loss, level, unseen=unseen)
    words = one.outside(rows)
    found = []
    for i, name in enumerate(names):
        said = list(words[i])
        if unseen[i]:
            said.append(
                f"{rows.element[i]} is no format the predictor was trained on: answered through its SNR, interval widened"
            )
        if curve is not None and "landscape" in _reads(kind) and rows["gaussian_db"][i] < curve.low_db - MOST_DB:
            said.append(f"its SNR {rows['gaussian_db'][i]:.1f} dB is below the lowest probe, {curve.low_db:.1f} dB")
        point = model.points.get((method, name))
        found.append(
            Forecast(
                format=name,
                method=method,
                bits_per_weight=float(rows["bits_per_weight"][i]),
                snr_db=float(rows["gaussian_db"][i]),
                loss=float(loss[i]),
                low=float(loss[i] - half[i]),
                high=float(loss[i] + half[i]),
                qid=float(loss[i] - model.loss),
                predictor=kind,
                outside=tuple(said),
                measured=None if point is None else point.loss,
            )
        )
    return found


def _find(trained: Predictors, kind: str, method: str) -> Trained:
    for target in (target_of(method), "gptq_change", "gptq_loss"):
        if trained.has(kind, target) and (method == "gptq" or target == "nearest_qid"):
            return trained.find(kind, target)
    return trained.find(kind, target_of(method))


def _reads(kind: str) -> str:
    from bitlaw.predictor.kinds import kind_of

    return kind_of(kind).reads
