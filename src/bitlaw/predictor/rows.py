"""The feature table: one row a model and distinct format, with the paper's eight inputs, two more, and what was measured.

    D  parameters quantized        NLL(w)  baseline loss         SQNR  of nearest, dB     NLL(nearest)
    slope  dNLL/dSNR at nearest    P  bits                       E  exponent bits         K  block
    tokens, learning-rate state    further inputs of ours

Zero-shot and config-only predictors read `gaussian_db` (the format's error on Gaussian weights) in place of SQNR and
NLL(nearest). `gain_db` is what GPTQ's compensation is worth at the format's SNR and block, NaN where it was not probed. Each row
also carries its model's landscape curve and what compensation is worth in it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.predictor.compensation import Compensation
from bitlaw.predictor.curve import Array, Curve
from bitlaw.predictor.known_formats import PAPER_FORMATS, FormatFacts, canonical_name, facts, snr_at
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.records import Checkpoint

FEATURES: Mapping[str, str] = {
    "parameters": "D: quantized parameters",
    "baseline_loss": "NLL(w): loss before quantization, nats per token",
    "sqnr_db": "SQNR of rounding to nearest, dB",
    "nearest_loss": "NLL after rounding to nearest, nats per token",
    "slope": "dNLL/dSNR at the nearest point, nats per dB",
    "bits": "P: bits of an element, sign included",
    "exponent_bits": "E: exponent bits (0 for integers)",
    "block": "K: weights that share a scale",
}
"""The paper's eight inputs."""
TRAINING: Mapping[str, str] = {
    "tokens": "training tokens seen",
    "lr_state": "learning rate over its peak",
}
"""Two more inputs, whose worth an ablation measures."""
TARGETS: Mapping[str, str] = {
    "gptq_change": "NLL after GPTQ - NLL after nearest, nats per token",
    "gptq_loss": "NLL after GPTQ, nats per token",
    "gptq_qid": "NLL after GPTQ - NLL before, nats per token",
    "nearest_qid": "NLL after nearest - NLL before, nats per token",
}


TEXTS = ("model", "family", "format", "element")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The table. `columns`: name -> [n] (float64); texts beside it; `curves`: model -> landscape (None: not probed);
    `compensations`: model -> what GPTQ's compensation is worth (None: not probed).

    `left_out` says how many rows are missing and why; `keys` are the content keys of the measurements behind it.
    """

    columns: Mapping[str, Array]
    model: NDArray[np.str_]
    family: NDArray[np.str_]
    format: NDArray[np.str_]
    element: NDArray[np.str_]
    curves: Mapping[str, Curve | None]
    compensations: Mapping[str, Compensation | None] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.model)

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def take(self, chosen: Any) -> Rows:
        """Return some rows, by a mask or indices."""
        texts = {name: getattr(self, name)[chosen] for name in TEXTS}
        return replace(self, columns={name: column[chosen] for name, column in self.columns.items()}, **texts)

    def matrix(self, names: Sequence[str]) -> Array:
        """Return the named columns as [n, names]."""
        return np.stack([self.columns[name] for name in names], axis=1)

    def known(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which rows have finite values in all of the named columns, [n]."""
        found = np.ones(len(self), dtype=bool)
        for name in names:
            found &= np.isfinite(self.columns[name])
        return found

    def target(self, name: str) -> Array:
        """Return a target of TARGETS, [n]."""
        c = self.columns
        after = c["nearest_loss"] if name == "nearest_qid" else c["gptq_loss"]
        return after - self.reference(name)

    def target_error(self, name: str) -> Array:
        """Return the standard error of a target's measurements, nats, [n]; the loss before is taken as known."""
        c = self.columns
        if name == "nearest_qid":
            return c["nearest_se"]
        return np.hypot(c["gptq_se"], c["nearest_se"]) if name == "gptq_change" else c["gptq_se"]

    def reference(self, name: str) -> Array:
        """Return what a target is added to to give a loss, [n]: target + reference = loss."""
        c = self.columns
        zero = np.zeros(len(self))
        return {"gptq_change": c["nearest_loss"], "gptq_loss": zero}.get(name, c["baseline_loss"])

    @property
    def models(self) -> list[str]:
        """Model names in order of appearance."""
        return list(dict.fromkeys(self.model.tolist()))

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted content keys behind the rows, first 16 digits."""
        return hashlib.sha256("\n".join(sorted(self.keys)).encode()).hexdigest()[:16]


def tabulate(
    models: Iterable[ModelRecords], *, need_gptq: bool = True, formats: Collection[str] = PAPER_FORMATS
) -> Rows:
    """Return the table of every model and distinct format with a nearest point (and, unless told otherwise, a GPTQ point).

    formats: those that count, by any of their names; empty: all.

    The slope is that along the nearest direction; where it was not probed, that of the random curve at the same SNR.
    Raises InputError, saying which probes are missing, when no row is left.
    """
    found: list[dict[str, Any]] = []
    curves: dict[str, Curve | None] = {}
    compensations: dict[str, Compensation | None] = {}
    keys: set[str] = set()
    left_out: Counter[str] = Counter()
    wanted = {canonical_name(name) for name in formats}
    for model in models:
        if not any(method == "nearest" for method, _ in model.points):
            left_out["checkpoints without a format rounded to nearest"] += 1
            continue
        curves[model.name] = curve = _curve(model, left_out)
        compensations[model.name] = model.compensation
        for method, name in model.points:
            if method != "nearest":
                continue
            if wanted and name not in wanted:
                left_out["rows of other formats than the table's"] += 1
                continue
            row, reason = _row(model, name, curve, need_gptq=need_gptq)
            if reason:
                left_out[reason] += 1
                continue
            found.append(row)
            keys |= {model.points[m, name].key for m in ("nearest", "gptq") if (m, name) in model.points}
        keys |= {model.baseline.key}
    if not found:
        why = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no format was rounded to nearest"
        raise InputError(f"No model and format has all a predictor needs: {why}.")
    return replace(rows_from(found, curves, compensations), keys=tuple(sorted(keys)), left_out=dict(left_out))


def rows_from(
    found: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Curve | None],
    compensations: Mapping[str, Compensation | None],
) -> Rows:
    """Return the table of rows, name -> value, that share their names."""
    texts = {name: np.array([row[name] for row in found], dtype=str) for name in TEXTS}
    return Rows(
        columns={name: np.array([row[name] for row in found], dtype=float) for name in found[0] if name not in TEXTS},
        model=texts["model"],
        family=texts["family"],
        format=texts["format"],
        element=texts["element"],
        curves=curves,
        compensations=compensations,
    )


def _curve(model: ModelRecords, left_out: Counter[str]) -> Curve | None:
    if not model.random:
        return None
    curve = model.curve_if_any
    if curve is None:
        left_out["landscapes with too few usable points"] += 1
    return curve


def training_state(checkpoint: Checkpoint) -> tuple[float, float]:
    """Return training tokens and learning rate over its peak; NaN where unknown."""
    rate, peak = checkpoint.learning_rate, checkpoint.peak_learning_rate
    return float(checkpoint.tokens or math.nan), rate / peak if rate is not None and peak else math.nan


def format_columns(known: FormatFacts, model: ModelRecords) -> dict[str, Any]:
    """Return the columns that a format's name gives; its SNR is that of the blocks which fit the model's rows."""
    snr = snr_at(known.name, row_length(model))
    compensation = model.compensation
    return {
        "format": known.name,
        "element": known.element,
        "bits": known.bits,
        "exponent_bits": float(known.exponent_bits),
        "block": float(known.block),
        "gaussian_db": snr,
        "later": later_share(known, row_length(model)),
        "gain_db": math.nan if compensation is None else float(compensation.gain_db(known.block, snr)),
    }


def row_length(model: ModelRecords) -> float:
    """Return about how many weights a row of the model's layers has: sqrt(parameters a layer / 2.5); infinite if unknown.

    Only narrow networks care, whose rows are shorter than the formats' blocks.
    """
    layers = model.quantized_layers
    return math.sqrt(model.quantized_parameters / layers / 2.5) if layers else math.inf


def later_share(known: FormatFacts, row: float) -> float:
    """Return the share of a row that lies behind its first block: what GPTQ, rounding whole blocks, can adjust; 0 to 1."""
    return 1.0 - min(known.block or row, row) / row if math.isfinite(row) else 1.0


def model_columns(model: ModelRecords) -> dict[str, Any]:
    """Return the columns that are the same in every row of a model."""
    c = model.checkpoint
    tokens, state = training_state(c)
    return {
        "model": model.name,
        "family": model.family,
        "parameters": float(model.quantized_parameters),
        "baseline_loss": model.loss,
        "tokens": tokens,
        "lr_state": state,
        "layer_size": model.quantized_parameters / model.quantized_layers if model.quantized_layers else math.nan,
        "learning_rate": math.nan if c.learning_rate is None else c.learning_rate,
        "peak_learning_rate": math.nan if c.peak_learning_rate is None else c.peak_learning_rate,
    }


def _row(model: ModelRecords, name: str, curve: Curve | None, *, need_gptq: bool) -> tuple[dict[str, Any], str]:
    nearest, gptq = model.points["nearest", name], model.points.get(("gptq", name))
    if need_gptq and gptq is None:
        return {}, "rows without a GPTQ measurement"
    if nearest.seen.sqnr_db is None or not math.isfinite(nearest.loss) or (gptq and not math.isfinite(gptq.loss)):
        return {}, "rows whose loss or SQNR is not finite"
    slope, source = model.slope("nearest", name), 1.0
    if not math.isfinite(slope):
        if curve is None:
            return {}, "rows without a slope: neither probes along nearest (offset_db +1 and -1) nor random probes"
        slope, source = float(curve.slope(nearest.seen.sqnr_db)), 0.0
    try:
        known = facts(name)
    except InputError:
        return {}, f"rows of {name}, whose error on Gaussian weights nobody measured"
    stored = nearest.seen.bits_per_weight
    return {
        **model_columns(model),
        **format_columns(known, model),
        "sqnr_db": nearest.seen.sqnr_db,
        "nearest_loss": nearest.loss,
        "nearest_se": nearest.qid_se,
        "slope": slope,
        "slope_along": source,
        "gptq_loss": gptq.loss if gptq else math.nan,
        "gptq_se": gptq.qid_se if gptq else math.nan,
        "gptq_sqnr_db": gptq.seen.sqnr_db if gptq and gptq.seen.sqnr_db is not None else math.nan,
        "bits_per_weight": known.bits_per_weight if stored is None else stored,
    }, ""
