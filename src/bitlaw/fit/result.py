"""What a fit found: values, intervals, scatter, scores, what it was fitted on. Light: numpy at import, no solver.

A `Fit` is frozen, is written to JSON and read back unchanged, and draws its own curve:

    result.values["beta"], result.intervals["beta"]         value and interval at result.level
    result.predict(columns)                                 law value, nats per token
    result.band(columns)                                    interval of the law value (uncertainty of the fit)
    result.band(columns, scatter=True)                      interval of a new measurement (plus fitted scatter)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.clustered import Clustered
from bitlaw.fit.drift import Drift, far_reach, widened
from bitlaw.fit.problem import from_point, point_slopes, to_point
from bitlaw.laws import Law, law_from_definition, load_law
from bitlaw.laws.law import INDICATOR, Array

FIT_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Fitted noise: variance of a row = qid_se^2 + (relative f)^2 + floor^2; freedom is inf unless noise is Student's.

    Of kind `huber`, `relative` is the robust standard deviation of ln(measured / law) and there is no floor.
    """

    kind: str
    relative: float
    floor: float
    freedom: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well the law follows the rows.

    r2: share of variance explained, nats. log_r2 and median_relative_error: over the rows whose measured value is
    above `threshold` nats (`points_above` of them); log_r2 is NaN with fewer than three. log_likelihood, aic and bic
    treat rows as independent (see criteria.py).
    """

    r2: float
    log_r2: float
    median_relative_error: float
    threshold: float
    points: int
    points_above: int
    log_likelihood: float = float("nan")
    aic: float = float("nan")
    bic: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was fitted: where it came from, how many of each, which methods and bits, what was left out and why.

    `censored` rows collapsed: only that their degradation is large takes part.
    """

    source: str
    rows: int
    models: int
    checkpoints: int
    sizes: int
    methods: tuple[str, ...]
    bits: tuple[float, ...]
    suites: tuple[str, ...]
    left_out: Mapping[str, int]
    censored: int = 0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The result of fitting one law to one table. See the module for use; `outcome` says in words how it ended."""

    law: str
    target: str
    values: Mapping[str, float]
    standard_errors: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    degrees_of_freedom: Mapping[str, float]
    level: float
    interval_kind: str
    interval_words: str
    free: tuple[str, ...]
    fixed: Mapping[str, float]
    outcome: str
    starts: int
    starts_agreeing: int
    scatter: Scatter
    scores: Scores
    fitted: Mapping[str, tuple[float, float]]
    data: Data
    seed: int
    warnings: tuple[str, ...] = ()
    covariance: Array = field(default_factory=lambda: np.zeros((0, 0)))
    clusters: Clustered | None = None
    draws: Array = field(default_factory=lambda: np.zeros((0, 0)))
    tied: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offset_spreads: Mapping[str, float] = field(default_factory=dict)
    drift: Mapping[str, Drift] = field(default_factory=dict)
    definition: Mapping[str, Any] | None = None
    own_law: Law | None = field(default=None, compare=False, repr=False)

    @property
    def converged(self) -> bool:
        """True unless the solver gave up; a fit that stopped at a bound has converged there."""
        return self.outcome == "converged" or self.outcome.startswith("stopped at a bound")

    def formula(self) -> Law:
        """Return the law that was fitted, with its offsets."""
        base = self.own_law or (law_from_definition(self.definition) if self.definition else load_law(self.law))
        if not self.levels:
            return base
        from bitlaw.fit.offsets import with_offsets

        return with_offsets(base, self.levels)

    def predict(self, columns: Mapping[str, Any]) -> Array:
        """Return the law's value for columns that broadcast against each other, nats per token.

        A fit with offsets also reads their text columns (`method`, ...); one that is missing, or a value that was not
        fitted, is a level of which nothing is known: factor 1.
        """
        return self.formula().evaluate(self.values, self._with_levels(columns))

    def band(
        self, columns: Mapping[str, Any], *, level: float | None = None, scatter: bool = False
    ) -> tuple[Array, Array]:
        """Return (low, high) around `predict(columns)`.

        Without scatter: uncertainty of the law's value. With scatter: of a new measurement, whose own standard error
        is not included. Where the level of an offset is unknown, the spread of its offsets is added; outside the fitted
        range, how far the law went astray when its own ends were left out (see ends.py).
        """
        level = self.level if level is None else level
        law = self.formula()
        given = self._with_levels(columns)
        shape = np.broadcast_shapes(*(np.shape(given[name]) for name in law.variables))
        flat = {name: np.broadcast_to(np.asarray(given[name], float), shape).ravel() for name in law.variables}
        low, high = self._flat_band(law, flat, level, scatter)
        mean = np.asarray(law.evaluate(self.values, flat), dtype=float)
        low, high = widened(mean, low, high, far_reach(self.drift, self.fitted, flat, level))
        return low.reshape(shape), high.reshape(shape)

    def _with_levels(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.levels:
            return columns
        from bitlaw.fit.offsets import indicators

        return {**columns, **indicators(columns, self.levels)}

    def _unknown_levels(self, columns: Mapping[str, Array]) -> Array | float:
        """Return the variance of the logarithm that unknown levels add, [n]."""
        total: Array | float = 0.0
        for factor, values in self.levels.items():
            known = np.sum([columns[f"{INDICATOR}{factor}={value}"] for value in values], axis=0)
            total = total + self.offset_spreads.get(factor, 0.0) ** 2 * (1.0 - known)
        return total

    def _flat_band(self, law: Law, columns: Mapping[str, Array], level: float, scatter: bool) -> tuple[Array, Array]:
        from scipy.special import stdtrit

        mean = np.asarray(law.evaluate(self.values, columns), dtype=float)
        relative, floor = (self.scatter.relative, self.scatter.floor) if scatter else (0.0, 0.0)
        new = self._unknown_levels(columns)
        if self.clusters is None:
            point = from_point(law, self.free, self.fixed, to_point(law, self.free, self._drawn()), self.tied)
            curves = law.evaluate(point, columns)
            if scatter or np.any(new):
                # A fixed generator: the same fit gives the same band every time it is drawn.
                noise = np.random.default_rng(self.seed).standard_normal((2, *curves.shape))
                curves = curves * np.exp(np.sqrt(relative**2 + new) * noise[0]) + floor * noise[1]
            low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
            return low, high
        slopes = point_slopes(law, self.free, self.tied, self.values, columns)
        contrast = np.stack([np.broadcast_to(slope, mean.shape) / mean for slope in slopes], axis=-1)
        variance = self.clusters.variance(contrast)
        freedom = self.clusters.degrees_of_freedom(contrast)
        reach = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
        extra = 0.0
        if scatter:
            sure = stdtrit(max(self.data.checkpoints - len(self.free), 1), (1 + level) / 2)
            reach, extra = np.hypot(reach, sure * relative), sure * floor
        if np.any(new):
            reach = np.hypot(reach, stdtrit(max(self._fewest_levels() - 1, 1), (1 + level) / 2) * np.sqrt(new))
        reach = np.minimum(reach, 50.0)
        low = mean - np.hypot(mean * -np.expm1(-reach), extra)
        high = mean + np.hypot(mean * np.expm1(reach), extra)
        return low, high

    def _fewest_levels(self) -> int:
        return min((len(values) for values in self.levels.values()), default=2)

    def _drawn(self) -> dict[str, Array]:
        if not len(self.draws):
            raise InputError("This fit has no uncertainty: it was made without intervals. Fit again with intervals.")
        return {name: self.draws[:, index] for index, name in enumerate(self.free)}

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain values that JSON can hold; infinities and NaN become strings."""
        if self.own_law is not None and self.definition is None:
            raise InputError(
                f"Law {self.law!r} is a Python function, which a file cannot hold. Write it as a formula "
                "(bitlaw.laws.law_from_text) to save its fit."
            )
        content: dict[str, Any] = {"bitlaw_fit": FIT_VERSION}
        for part in fields(self):
            if part.name == "own_law":
                continue
            value = getattr(self, part.name)
            if isinstance(value, Clustered):
                value = {name: np.asarray(matrix).tolist() for name, matrix in vars(value).items()}
            elif isinstance(value, np.ndarray):
                value = value.tolist()
            elif isinstance(value, Scatter | Scores | Data):
                value = asdict(value)
            elif part.name == "drift":
                value = {name: asdict(drift) for name, drift in value.items()}
            content[part.name] = _plain(value)
        return content

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the fit as JSON text, and write it to `path` if one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Fit:
        """Return the fit of a dict made by `to_dict`. Raises InputError if it is none, or from a newer bitlaw."""
        version = content.get("bitlaw_fit")
        if not isinstance(version, int):
            raise InputError("This JSON is not a bitlaw fit: it lacks 'bitlaw_fit'. Make one with `bitlaw fit`.")
        if version > FIT_VERSION:
            raise InputError(f"This fit has version {version}; this bitlaw reads up to {FIT_VERSION}. Upgrade bitlaw.")
        parts = {name: _number(value) for name, value in content.items() if name != "bitlaw_fit"}
        try:
            for name, kind in (("scatter", Scatter), ("scores", Scores), ("data", Data)):
                parts[name] = kind(**parts[name])
            parts["drift"] = {name: Drift(**drift) for name, drift in parts.get("drift", {}).items()}
            for name in ("free", "warnings"):
                parts[name] = tuple(parts[name])
            for name in ("methods", "bits", "suites"):
                object.__setattr__(parts["data"], name, tuple(getattr(parts["data"], name)))
            parts["levels"] = {key: tuple(values) for key, values in parts.get("levels", {}).items()}
            for name in ("intervals", "fitted"):
                parts[name] = {key: (low, high) for key, (low, high) in parts[name].items()}
            for name in ("covariance", "draws"):
                parts[name] = np.asarray(parts[name], dtype=float).reshape(-1, max(len(parts["free"]), 1))
            if parts["clusters"] is not None:
                given = {k: np.asarray(v, dtype=float) for k, v in parts["clusters"].items()}
                parts["clusters"] = Clustered(**{"known": np.zeros_like(given["turn"]), **given})
            return cls(**parts)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"This fit is damaged: {error}. Make it again with `bitlaw fit`.") from error

    @classmethod
    def from_json(cls, text: str | Path) -> Fit:
        """Return the fit of JSON text, or of the file at a Path."""
        if isinstance(text, Path):
            try:
                text = text.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"Cannot read the fit: {error}.") from error
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"This is not JSON: {error}. Give a fit written by `bitlaw fit`.") from error
        if not isinstance(content, dict):
            raise InputError("This JSON is not a bitlaw fit. Make one with `bitlaw fit`.")
        return cls.from_dict(content)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}"
    return value


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _number(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if value in ("inf", "-inf", "nan") else value
