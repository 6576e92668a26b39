"""How a fit treats noise, collapsed rows and intervals: frozen settings, checked when made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitlaw.errors import InputError

NOISE_KINDS = ("normal", "student", "huber")
INTERVAL_KINDS = (
    "auto",
    "clustered-model",
    "clustered-checkpoint",
    "clustered-row",
    "bootstrap-model",
    "bootstrap-checkpoint",
    "parametric",
    "posterior",
)
COLLAPSE_ACTIONS = ("censor", "drop", "keep")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Scatter of row i around the law's value f_i: variance = qid_se_i^2 + (relative f_i)^2 + floor^2.

    `relative` and `floor` (nats) are fitted unless a number is given. kind `normal` weighs every row by its variance;
    `student` weighs rows far from the law down, like a Student t with `freedom` degrees of freedom. Small and
    negative degradations stay in: the floor and their standard error say how little they tell.

    kind `huber` is the objective most published laws were fitted with: residuals of ln(measured / law), squared up to
    `delta` and linear beyond, all rows alike. Rows at or below 0 have no logarithm and are left out. delta 0 means
    1.345 times the scatter; 1e-3 is what Hoffmann et al. 2022 used, and is nearly the sum of absolute residuals.
    """

    kind: str = "normal"
    relative: float | None = None
    floor: float | None = None
    freedom: float = 4.0
    delta: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in NOISE_KINDS:
            raise InputError(f"Unknown noise kind {self.kind!r}. Known: {', '.join(NOISE_KINDS)}.")
        if not (math.isfinite(self.freedom) and self.freedom > 2.0):
            raise InputError(f"freedom={self.freedom} must be above 2, so that the variance exists.")
        for name, value in (("relative", self.relative), ("floor", self.floor), ("delta", self.delta)):
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise InputError(f"{name}={value} must be 0 or more; leave it out to have it fitted.")
        if self.relative == 0.0 and self.floor == 0.0:
            raise InputError("relative=0 and floor=0 leave no scatter around the law. Leave one out to have it fitted.")
        if self.kind == "huber" and not (self.relative is None and self.floor is None):
            raise InputError("noise kind 'huber' has no relative or floor: it knows delta only.")


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """When a quantized model counts as broken, and what becomes of the row.

    A model that guesses evenly has a loss of ln(vocabulary). A row is collapsed where its quantized loss (column `loss`;
    without one, its QiD) is at least `share` of that. Beyond, degradation says how a broken network is broken, and no
    law of degradation holds. action `censor`: the row says that the truth is at least the degradation at which the rule
    begins; `drop`: it is left out; `keep`: it stays as measured. The Fit counts the rows.
    """

    vocabulary: int
    share: float = 0.8
    action: str = "censor"

    def __post_init__(self) -> None:
        if self.vocabulary < 2:
            raise InputError(f"vocabulary={self.vocabulary} must be the number of tokens, such as 50304.")
        if not 0.0 < self.share <= 2.0:
            raise InputError(f"share={self.share} of ln(vocabulary) must lie above 0 and at most 2, for example 0.8.")
        if self.action not in COLLAPSE_ACTIONS:
            raise InputError(
                f"Unknown action {self.action!r} for collapsed rows. Known: {', '.join(COLLAPSE_ACTIONS)}."
            )

    @property
    def limit(self) -> float:
        """The loss, nats per token, from which a row counts as collapsed."""
        return self.share * math.log(self.vocabulary)


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How uncertainty is computed, at which level, and with how many replicates where it is a bootstrap.

    clustered-model, clustered-checkpoint, clustered-row: sandwich covariance over groups of related rows with the CR2
        small-sample correction and Student t quantiles of Satterthwaite's degrees of freedom; no replicates.
    bootstrap-model, bootstrap-checkpoint: rows resampled by model, or by checkpoint within each model.
    parametric: tables simulated from the fitted law and noise, correlated within models and checkpoints.
    posterior: draws of the parameters and of the scatters of rows, checkpoints and models together, given what is known
        beforehand; `replicates` draws. Needs the extra `posterior` (emcee).
    auto: clustered by model if there are three or more, else by checkpoint, else by row; the Fit says which.
    """

    kind: str = "auto"
    level: float = 0.9
    replicates: int = 400

    def __post_init__(self) -> None:
        if self.kind not in INTERVAL_KINDS:
            raise InputError(f"Unknown kind of intervals {self.kind!r}. Known: {', '.join(INTERVAL_KINDS)}.")
        if not 0.0 < self.level < 1.0:
            raise InputError(f"level={self.level} must lie between 0 and 1, for example 0.9.")
        if self.replicates < 20:
            raise InputError(f"replicates={self.replicates} are too few for an interval. Give at least 20.")
