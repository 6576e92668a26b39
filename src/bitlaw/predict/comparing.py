"""What does every law say? At one point side by side, or on a table of measurements by held-out scores.

At a point: each published law of QiD with its full constants (each set of them), your fits, and each law of the loss,
with interval, how far outside its range the point lies, and the ratio to the law that would answer. Laws that cannot be
asked are listed with the reason. On a table: `bitlaw.fit`'s comparison of laws on held-out rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, law_names, load_law
from bitlaw.predict.answers import plain
from bitlaw.predict.grids import DERIVED, WIDTH_LIKE
from bitlaw.predict.losses import LossSource
from bitlaw.predict.predicting import check_level, question
from bitlaw.predict.sources import PREDICTABLE, Also, Source, fit_source, published_source, resolve

LOSSES = {"qid": "QiD", "baseline_loss": "16-bit loss", "loss": "quantized loss"}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one law says at the point: value and interval in nats per token (None where it has no interval).

    what: QiD, 16-bit loss or quantized loss. ratio: over the answer of the same kind (QiD laws only). inside: in the
    range its constants were fitted on; where not, `outside` says how far.
    """

    law: str
    what: str
    value: float
    low: float | None
    high: float | None
    ratio: float | None
    inside: bool
    outside: tuple[str, ...]
    formula: str
    source: str
    sureness: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every law at one point: the law that would answer (`law`), what each says, and why the others cannot."""

    parameters: float
    tokens: float
    bits: float
    level: float
    law: str
    said: tuple[Said, ...]
    silent: Mapping[str, str]

    @property
    def spread(self) -> float:
        """Largest over smallest QiD of the laws that are inside their range, of all where none is; NaN with none."""
        found = [said for said in self.said if said.what == LOSSES["qid"] and said.value > 0]
        values = [said.value for said in found if said.inside] or [said.value for said in found]
        return max(values) / min(values) if values else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**{key: plain(value) for key, value in asdict(self).items()}, "spread": plain(self.spread)}


def compare_laws(
    parameters: float,
    tokens: float,
    bits: float,
    *,
    fits: Iterable[Fit] = (),
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> Comparison:
    """Return what every law with known constants, and every given fit, says about one model at one bit width.

    also: values of further variables some laws read, such as group_size; laws that lack theirs are listed as silent.
    strict: only laws that are inside their range. Raises InputError, also when none is left.
    """
    asked = question(parameters, tokens, bits)
    check_level(level)
    further = dict(also or {})
    answer = resolve("auto", asked["bits"], further)
    reference = float(answer.value(asked))
    sources: list[Source] = [fit_source(fit, further) for fit in fits]
    silent: dict[str, str] = {}
    for name in law_names():
        law = load_law(name)
        if reason := _silent(law, asked["bits"], further):
            silent[name] = reason
            continue
        sources += [
            published_source(law, further, published.setting)
            for published in law.published
            if set(law.names) <= set(published.values) and _holds(law, published.fitted, asked["bits"])
        ]
    said = [_said(source, asked, level, reference) for source in sources]
    if strict:
        silent |= {one.law: f"outside its range: {'; '.join(one.outside)}" for one in said if not one.inside}
        said = [one for one in said if one.inside]
        if not said:
            raise InputError("No law is inside its fitted range here, and strict was asked for. Leave out strict.")
    order = list(LOSSES.values())
    return Comparison(
        **asked,
        level=level,
        law=answer.name,
        said=tuple(sorted(said, key=lambda one: (order.index(one.what), not one.inside))),
        silent=silent,
    )


def _holds(law: Law, fitted: Mapping[str, tuple[float, float]], bits: float) -> bool:
    """Return whether constants may be asked at this width: not if they hold at another single width only."""
    low, high = fitted.get("bits", (0.0, math.inf))
    return bool(set(WIDTH_LIKE) & set(law.variables)) or low != high or low == bits


def _silent(law: Law, bits: float, also: Also) -> str:
    """Return why a law cannot be asked here, or an empty string."""
    if law.target not in LOSSES:
        return f"gives {law.target}"
    if law.name.startswith("chen2025"):
        return "of quantization-aware training"
    try:
        law.constants()
    except InputError:
        known = {name for published in law.published for name in published.values}
        return f"constants not known: {', '.join(name for name in law.names if name not in known) or 'no full set'}"
    if missing := [name for name in law.variables if name not in (*PREDICTABLE, *DERIVED, *also)]:
        return f"also reads {', '.join(missing)}"
    if not any(_holds(law, published.fitted, bits) for published in law.published):
        return "holds at another bit width"
    return ""


def _said(source: Source, asked: Mapping[str, float], level: float, reference: float) -> Said:
    columns = {name: np.array([value]) for name, value in asked.items()}
    value = float(source.value(columns)[0])
    low = high = None
    if source.law.target == "qid":
        low, high = (float(end[0]) for end in source.band(columns, level))
    elif source.law.target == "baseline_loss":
        low, high = (float(end[0]) for end in LossSource(source=source).band(columns, level))
    outside = source.outside({name: asked[name] for name in asked if name in source.fitted})
    return Said(
        law=source.name if source.fit is None else f"fit of {source.name} to {source.fit.data.source}",
        what=LOSSES[source.law.target],
        value=value,
        low=low,
        high=high,
        ratio=value / reference if source.law.target == "qid" and reference > 0 else None,
        inside=not outside,
        outside=tuple(out.words for out in outside),
        formula=source.law.text,
        source=source.origin,
        sureness=source.sureness,
    )
