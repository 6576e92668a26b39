"""How much will quantizing this model hurt? QiD with its interval, the losses, and what the other laws say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, law_names, load_law
from bitlaw.predict.answers import Answer, Interval, count
from bitlaw.predict.sources import Source, answers_at, fit_source, published_source, resolve

PYTHIA_VOCABULARY = 50_304
PUBLISHED_LOSS = "ouyang2024-loss"


@dataclass(frozen=True, kw_only=True)
class LawValue:
    """What another law says at the same point, and its ratio to the answer."""

    law: str
    value: float
    ratio: float
    source: str
    outside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Prediction(Answer):
    """QiD of a model, nats per token (`value`), with the losses around it.

    baseline_loss, quantized_loss: nats per token of the published tokenizer and text, or of the loss fit given; None
    where no loss law fits the question (`loss_source` says which or why not). beside: the other laws' values.
    """

    parameters: float
    tokens: float
    bits: float
    baseline_loss: float | None
    quantized_loss: float | None
    loss_source: str
    beside: tuple[LawValue, ...]


def predict(
    parameters: float,
    tokens: float,
    bits: float,
    *,
    law: str | Law | Fit = "auto",
    loss_law: str | Law | Fit = "auto",
    level: float = 0.9,
) -> Prediction:
    """Predict the degradation of a model of `parameters` (N, non-embedding) trained on `tokens` (D) at `bits` (P).

    law: `auto` (the published law of 2, 3 or 4 bits, else the unified one), a name, or a Fit of your own measurements.
    loss_law: `auto` (the published 16-bit loss law beside published laws, none beside a Fit, whose text and tokenizer
    it does not know), a name, a Fit of `ouyang2024-loss`, or `none`. Raises InputError for input that cannot be.
    """
    asked = question(parameters, tokens, bits)
    check_level(level)
    source = resolve(law, asked["bits"])
    columns = {name: np.array([value]) for name, value in asked.items()}
    value = float(source.value(columns)[0])
    low, high = (float(end[0]) for end in source.band(columns, level))
    baseline, loss_source = _baseline(loss_law, source, asked)
    conditions = source.conditions
    if value > math.log(PYTHIA_VOCABULARY):
        conditions = (
            f"above ln({PYTHIA_VOCABULARY}) = {math.log(PYTHIA_VOCABULARY):.2f} nats: worse than guessing, read as broken",
            *conditions,
        )
    return Prediction(
        value=value,
        unit="nats per token",
        interval=Interval(low=low, high=high, level=level, made_of=source.made_of(asked)),
        law=source.law.name,
        formula=source.law.text,
        constants=dict(source.values),
        source=source.origin,
        sureness=source.sureness,
        outside=source.outside(asked),
        conditions=conditions,
        parameters=asked["parameters"],
        tokens=asked["tokens"],
        bits=asked["bits"],
        baseline_loss=baseline,
        quantized_loss=None if baseline is None else baseline + value,
        loss_source=loss_source,
        beside=_beside(source, asked, value),
    )


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


def _baseline(loss_law: str | Law | Fit, source: Source, asked: dict[str, float]) -> tuple[float | None, str]:
    if loss_law == "none":
        return None, "none asked for"
    if loss_law == "auto":
        if source.fit is not None:
            return (
                None,
                "no loss law given for the text and tokenizer of this fit; give loss_law=Fit of ouyang2024-loss",
            )
        loss_law = PUBLISHED_LOSS
    if isinstance(loss_law, Fit):
        found = fit_source(loss_law)
    else:
        found = published_source(load_law(loss_law) if isinstance(loss_law, str) else loss_law)
    if found.law.target != "baseline_loss":
        raise InputError(f"Law {found.law.name!r} gives {found.law.target}, not baseline_loss. Use {PUBLISHED_LOSS!r}.")
    outside = "; ".join(out.words for out in found.outside({name: asked[name] for name in found.law.variables}))
    return float(found.value(asked)), f"{found.law.name}, {found.origin}" + (
        f" (outside: {outside})" if outside else ""
    )


def _beside(source: Source, asked: dict[str, float], value: float) -> tuple[LawValue, ...]:
    found = []
    for name in law_names():
        law = load_law(name)
        if not answers_at(law, asked["bits"]) or (name == source.law.name and source.fit is None):
            continue
        other = published_source(law)
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
