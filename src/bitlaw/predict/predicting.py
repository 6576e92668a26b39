"""How much will quantizing this model hurt? QiD with its interval, the losses, and what the other laws say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, law_names, load_law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import Answer, Interval, count, refuse_outside
from bitlaw.predict.losses import resolve_loss, total_band
from bitlaw.predict.shipped import DATASETS, RECORDS, shipped_fit
from bitlaw.predict.sources import Also, Source, answers_at, published_source, resolve

PYTHIA_VOCABULARY = 50_304


@dataclass(frozen=True, kw_only=True)
class LawValue:
    """What another law says at the same point, and its ratio to the answer."""

    law: str
    value: float
    ratio: float
    source: str
    outside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordsValue:
    """What a fit to the records that come with bitlaw says; no value outside the range they cover, where it means nothing."""

    law: str
    value: float | None
    ratio: float | None
    source: str
    outside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Prediction(Answer):
    """QiD of a model, nats per token (`value`), with the losses around it.

    baseline_loss, quantized_loss and their intervals: nats per token of the published tokenizer and text, or of the
    loss fit given; None where no loss law fits the question (`loss_source` says which or why not). beside: the other
    laws' values. records: what a fit to the records that come with bitlaw says, None where that is the answer itself.
    """

    parameters: float
    tokens: float
    bits: float
    baseline_loss: float | None
    quantized_loss: float | None
    baseline_interval: Interval | None
    quantized_interval: Interval | None
    loss_source: str
    beside: tuple[LawValue, ...]
    records: RecordsValue | None = None


def predict(
    parameters: float,
    tokens: float,
    bits: float,
    *,
    law: str | Law | Fit = "auto",
    loss_law: str | Law | Fit = "auto",
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> Prediction:
    """Predict the degradation of a model of `parameters` (N, non-embedding) trained on `tokens` (D) at `bits` (P).

    law: `auto` (the fit to the records that come with bitlaw inside the range they cover, else the published law of 2, 3
    or 4 bits, else the unified one), `records`, a name, or a Fit of your own measurements.
    loss_law: `auto` (the published 16-bit loss law beside published laws, none beside a Fit, whose text and tokenizer
    it does not know), a name, a Fit of `ouyang2024-loss`, or `none`. strict: refuse outside the fitted range. also:
    values of further variables the law reads, such as group_size. Raises InputError for input that cannot be.
    """
    asked = question(parameters, tokens, bits)
    check_level(level)
    source = resolve(_most_fitting(law, asked), asked["bits"], also)
    outside = source.outside(asked)
    refuse_outside(outside, strict)
    columns = {name: np.array([value]) for name, value in asked.items()}
    value = source.value(columns)
    low, high = source.band(columns, level)
    losses, loss_source = resolve_loss(loss_law, source)
    baseline = loss_interval = quantized_interval = None
    if losses is not None:
        loss_source = losses.words(asked)
        loss = losses.value(columns)
        loss_low, loss_high = losses.band(columns, level)
        baseline = float(loss[0])
        loss_interval = _interval(loss_low, loss_high, level, losses.made_of())
        total = total_band(((loss, loss_low, loss_high), (value, low, high)))
        quantized_interval = _interval(*total, level, "those of QiD and of the 16-bit loss in quadrature")
    return Prediction(
        value=float(value[0]),
        unit="nats per token",
        interval=_interval(low, high, level, source.made_of(asked)),
        **source.provenance(asked),
        conditions=(
            *broken(float(value[0])),
            *source.conditions,
            *(losses.conditions if losses is not None else ()),
        ),
        parameters=asked["parameters"],
        tokens=asked["tokens"],
        bits=asked["bits"],
        baseline_loss=baseline,
        quantized_loss=None if baseline is None else baseline + float(value[0]),
        baseline_interval=loss_interval,
        quantized_interval=quantized_interval,
        loss_source=loss_source,
        beside=_beside(source, asked, float(value[0])),
        records=_records(source, asked, float(value[0])),
    )


def _most_fitting(law: str | Law | Fit, asked: dict[str, float]) -> str | Law | Fit:
    """Return `records` for `auto` where the shipped records cover the question, which the published laws do not reach."""
    if law != "auto":
        return law
    ranges = shipped_fit().fitted
    covered = all(low <= asked[name] <= high for name, (low, high) in ranges.items() if name in asked)
    return RECORDS if covered else law


def _records(source: Source, asked: dict[str, float], value: float) -> RecordsValue | None:
    """Return what the fit to the shipped records says, unless it is what answered or another fit did."""
    if source.fit is not None:
        return None
    found = resolve(RECORDS, asked["bits"])
    outside = tuple(out.words for out in found.outside(asked))
    said = None if outside else float(found.value(asked))
    return RecordsValue(
        law=f"{found.law.name} fitted to {' and '.join(DATASETS)}",
        value=said,
        ratio=said / value if said is not None and value > 0 else None,
        source=found.origin,
        outside=outside,
    )


def whole_vocabulary(vocabulary: int) -> int:
    """Return the vocabulary if it is a whole number of at least 2. Raises InputError."""
    if isinstance(vocabulary, bool) or not isinstance(vocabulary, int | np.integer) or vocabulary < 2:
        raise InputError(f"vocabulary={vocabulary} is not a whole number of tokens above 1, for example 50304.")
    return int(vocabulary)


def broken(value: float, vocabulary: int = PYTHIA_VOCABULARY) -> tuple[str, ...]:
    """Return a sentence if a degradation is above the loss of a uniform guess, else nothing."""
    if value <= math.log(vocabulary):
        return ()
    return (f"above ln({vocabulary}) = {math.log(vocabulary):.2f} nats: worse than guessing, read as broken",)


def _interval(low: Array, high: Array, level: float, made_of: str) -> Interval:
    return Interval(low=float(low[0]), high=float(high[0]), level=level, made_of=made_of)


def question(parameters: float, tokens: float, bits: float) -> dict[str, float]:
    """Return the checked question as columns by name."""
    return {
        "parameters": count("parameters", parameters, "non-embedding parameters (N)"),
        "tokens": count("tokens", tokens, "training tokens (D)"),
        "bits": count("bits", bits, "bits per weight (P)"),
    }


def check_level(level: float) -> None:
    """Raise InputError unless 0 < level < 1."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level={level} must lie between 0 and 1, for example 0.9.")


def _beside(source: Source, asked: dict[str, float], value: float) -> tuple[LawValue, ...]:
    found = []
    for name in law_names():
        law = load_law(name)
        if not answers_at(law, asked["bits"], source.also) or (name == source.law.name and source.fit is None):
            continue
        other = published_source(law, source.also)
        said = float(other.value(asked))
        found.append(
            LawValue(
                law=name,
                value=said,
                ratio=said / value if value > 0 else math.inf,
                source=other.origin,
                outside=tuple(out.words for out in other.outside(asked)),
            )
        )
    return tuple(found)
