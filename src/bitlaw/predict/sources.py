"""Which law answers, with which constants and which interval: a published law or a Fit behind one face.

Outside the fitted range every interval widens by a rule: with u_j the drift of the exponent of variable j (see
evidence.py) and x_j outside its range by the factor r_j,

    log half-width^2 = (half-width inside)^2 + (z u_tokens ln r)^2 + (z u_parameters ln r)^2 + (z u_bits ln r)^2

with z the normal quantile of the level. A Fit knows its own drift in tokens and size, from leaving out the ends of its rows
(bitlaw.fit.ends), and its band already holds it; only bits widen by the rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit.drift import widened
from bitlaw.fit.result import Fit
from bitlaw.laws import VARIABLES, Law, law_names, load_law
from bitlaw.laws.law import INDICATOR, Array
from bitlaw.predict.answers import Outside, outside_of
from bitlaw.predict.evidence import ONE_BIT, UNIFIED, drift, published_evidence
from bitlaw.predict.grids import DERIVED, LAW_GROUP, WIDTH_LIKE, derived
from bitlaw.predict.shipped import RECORDS, shipped_fit

Also = Mapping[str, float | str]
"""Values of what an answer depends on beyond N, D and P: group_size=128.0, or method="gptq" for a fit with offsets."""

PREDICTABLE = ("parameters", "tokens", "bits")  # what every question asks for; more comes with `also`


class Provenance(TypedDict):
    """The parts of an `Answer` that say where it comes from."""

    law: str
    formula: str
    constants: Mapping[str, float]
    source: str
    sureness: str
    outside: tuple[Outside, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A law of QiD that can answer: published constants, or a Fit.

    `also` holds what the law reads beyond N, D and P: a group size, or the method of a fit with offsets.
    """

    law: Law
    values: Mapping[str, float]
    fitted: Mapping[str, tuple[float, float]]
    origin: str
    sureness: str
    conditions: tuple[str, ...]
    fit: Fit | None = None
    also: Also = field(default_factory=dict)
    setting: str = ""

    @property
    def name(self) -> str:
        """The law's name, and which of its sets of constants if it has several."""
        several = len(self.law.published) > 1 and self.setting and self.fit is None
        return f"{self.law.name}@{self.setting}" if several else self.law.name

    def value(self, columns: Mapping[str, Array | float]) -> Array:
        """Return QiD, nats per token, for columns that broadcast."""
        read = self.read(columns)
        return self.law.evaluate(self.values, read) if self.fit is None else self.fit.predict(read)

    def read(self, columns: Mapping[str, Array | float]) -> dict[str, Any]:
        """Return the columns with everything else the law reads; what depends on the width alone is derived from it."""
        wanted = [name for name in DERIVED if name in self.law.variables and name not in (*self.also, *columns)]
        found = derived(float(np.ravel(columns["bits"])[0]), self.also) if wanted else {}
        return {**{name: found[name] for name in wanted}, **self.also, **columns}

    def outside(self, asked: Mapping[str, float]) -> tuple[Outside, ...]:
        """Return which asked values leave the fitted range."""
        further = {name: value for name, value in self.also.items() if isinstance(value, float)}
        return outside_of(self.fitted, {**further, **asked})

    def provenance(self, asked: Mapping[str, float], outside: tuple[Outside, ...] | None = None) -> Provenance:
        """Return the parts of an answer that say where it comes from, for the point asked about.

        outside: what is outside where more than this law has a range.
        """
        return Provenance(
            law=self.name,
            formula=self.law.text,
            constants=dict(self.values),
            source=self.origin,
            sureness=self.sureness,
            outside=self.outside(asked) if outside is None else outside,
        )

    def made_of(self, asked: Mapping[str, float]) -> str:
        """Return in words what `band` contains at one point."""
        if self.fit is None:
            words = published_evidence(self.law.name, asked["bits"], self.setting).words
        else:
            words = f"uncertainty of the fit ({self.fit.interval_words}) and its scatter"
        if self.outside(asked):
            own = ", ".join(self.fit.drift) if self.fit is not None else ""
            words += "; widened outside the fitted range by "
            words += (
                f"how far the law strays when its own ends are left out ({own})"
                if own
                else "the drift of local exponents"
            )
        return words

    def band(self, columns: Mapping[str, Array], level: float) -> tuple[Array, Array]:
        """Return (low, high) of a new measurement, for columns of one shape [n]; bits are the same in every row."""
        mean = self.value(columns)
        wide = NormalDist().inv_cdf((1 + level) / 2) * self._stray(columns)
        if self.fit is None:
            bits = float(np.ravel(columns["bits"])[0])
            residuals = published_evidence(self.law.name, bits, self.setting).residuals
            ends = np.quantile(residuals, [(1 - level) / 2, (1 + level) / 2])
            low, high = mean * np.exp(min(ends[0], 0.0)), mean * np.exp(max(ends[1], 0.0))
        else:
            low, high = self.fit.band(self.read(columns), level=level, scatter=True)
        return widened(mean, low, high, wide)

    def _stray(self, columns: Mapping[str, Array]) -> Array:
        """Return the log standard deviation that distance from the fitted range adds, [n]."""
        total = np.zeros(np.shape(columns["tokens"]))
        judged = set(self.fit.drift) if self.fit is not None else set()
        judged |= {"parameters"} if "layer_size" in judged else set()
        for name, (below, beyond) in drift().items():
            if name not in self.fitted or name in judged:
                continue
            if name == "bits" and not set(WIDTH_LIKE) & set(self.law.variables):  # it misses all of their effect
                below = beyond = load_law(UNIFIED).constants().values["gamma"]
            low, high = self.fitted[name]
            value = np.asarray(columns[name], dtype=float)
            far = beyond * np.maximum(np.log(value / high), 0.0) + below * np.maximum(np.log(low / value), 0.0)
            total = total + far**2
        return np.asarray(np.sqrt(total))


def named_source(name: str, also: Also | None = None) -> Source:
    """Return the source of a published law by name, or `name@setting` where it has several sets of constants."""
    law, _, setting = name.partition("@")
    return published_source(load_law(law), also, setting)


def published_source(law: Law, also: Also | None = None, setting: str = "") -> Source:
    """Return the source of a law's published constants. Raises InputError where they are incomplete."""
    constants = law.constants(setting or None)
    notes = (constants.note,) if constants.note else ()
    return Source(
        law=law,
        setting=constants.setting,
        values=constants.values,
        fitted=constants.fitted,
        origin=constants.source,
        sureness=constants.sureness,
        conditions=(
            f"constants are of {constants.data}; other families and quantizers differ",
            *notes,
            *_assumed(law, also or {}),
        ),
        also=_further(law, also or {}),
    )


def fit_source(fit: Fit, also: Also | None = None) -> Source:
    """Return the source of a Fit. Raises InputError if the fit did not converge."""
    if not fit.converged:
        raise InputError(f"The fit of {fit.law!r} {fit.outcome}: it cannot answer. Fit again with more rows or starts.")
    data = fit.data
    methods = ", ".join(data.methods) or "unknown method"
    law, given = fit.formula(), dict(also or {})
    further = _further(law, given)
    unknown = [factor for factor in fit.levels if factor not in given]
    for factor, values in fit.levels.items():
        if factor in given and given[factor] not in values:
            raise UnknownName(factor, str(given[factor]), values)
    spread = tuple(
        f"any {factor}: the fit has {', '.join(fit.levels[factor])}; give one with also={{{factor!r}: ...}} (--also)"
        for factor in unknown
    )
    return Source(
        law=law,
        values=fit.values,
        fitted=fit.fitted,
        origin=f"fit to {data.source}: {data.rows} rows of {data.checkpoints} checkpoints of {data.models} models, {methods}",
        sureness=f"{fit.outcome}; log-R2 {fit.scores.log_r2:.2f}, median relative error "
        f"{100 * fit.scores.median_relative_error:.0f} % over {fit.scores.points_above} rows",
        conditions=(
            f"models, text and quantizer like those of {data.source}",
            *spread,
            *_assumed(law, given),
            *fit.warnings,
        ),
        fit=fit,
        also={**further, **{factor: given[factor] for factor in fit.levels if factor in given}},
    )


def _further(law: Law, also: Also) -> dict[str, float]:
    """Return the given values of the variables that a law reads beyond N, D and P. Raises InputError for one missing."""
    further = [name for name in law.variables if name not in PREDICTABLE and not name.startswith(INDICATOR)]
    needed = [name for name in further if name not in DERIVED or name in also]
    if "group_size" in also and set(DERIVED) & set(further):  # the errors of the grid follow from it
        needed = list(dict.fromkeys([*needed, "group_size"]))
    if missing := [name for name in needed if name not in also]:
        said = ", ".join(f"{name} ({VARIABLES[name].meaning})" for name in missing)
        raise InputError(
            f"Law {law.name!r} also reads {said}. Give also={{{missing[0]!r}: value}}, or --also {missing[0]}=VALUE."
        )
    try:
        return {name: float(also[name]) for name in needed}
    except ValueError as error:
        raise InputError(f"Law {law.name!r} reads numbers: {error}.") from None


def _assumed(law: Law, also: Also) -> tuple[str, ...]:
    """Return a sentence about the variables that are derived from the width because nobody gave them."""
    names = [name for name in law.variables if name in DERIVED and name not in also]
    if not names:
        return ()
    group = also.get("group_size", LAW_GROUP)
    return (f"{', '.join(names)} not given: taken as of integers in groups of {group:g} rounding Gaussian weights",)


def answers_at(law: Law, bits: float, also: Collection[str] = ()) -> bool:
    """True if a law with published constants gives QiD at this bit width from N, D, P and the variables in `also`."""
    if (
        law.target != "qid"
        or not set(law.variables) <= {*PREDICTABLE, *DERIVED, *also}
        or "tokens" not in law.variables
    ):
        return False
    reads_width = bool(set(WIDTH_LIKE) & set(law.variables))
    for published in law.published:
        low, high = published.fitted.get("bits", (0.0, 0.0))
        if all(name in published.values for name in law.names) and (reads_width or low == bits == high):
            return True
    return False


def resolve(law: str | Law | Fit, bits: float, also: Also | None = None) -> Source:
    """Return the source that answers. `auto`: the law of exactly this bit width if one is published, else the unified.

    `records`: the fit to the records that come with bitlaw.
    """
    if isinstance(law, Fit):
        source = fit_source(law, also)
    elif law == RECORDS:
        source = fit_source(shipped_fit(), also)
    elif law == "auto":
        exact = ONE_BIT.get(bits, UNIFIED)
        source = published_source(load_law(exact), also)
    else:
        source = named_source(law, also) if isinstance(law, str) else published_source(law, also)
    if source.law.target != "qid" or "tokens" not in source.law.variables:
        able = ", ".join(name for name in law_names() if answers_at(load_law(name), bits))
        raise InputError(
            f"Law {source.law.name!r} gives {source.law.target} from {', '.join(source.law.variables)}; this question "
            f"needs qid from tokens. Use one of: auto, {RECORDS}, {able}."
        )
    return source
