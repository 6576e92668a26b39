"""How a fit treats noise and makes intervals: two frozen settings, checked when made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitlaw.errors import InputError

INTERVAL_KINDS = (
    "auto",
    "clustered-model",
    "clustered-checkpoint",
    "clustered-row",
    "bootstrap-model",
    "bootstrap-checkpoint",
    "parametric",
)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Scatter of row i around the law's value f_i: variance = qid_se_i^2 + (relative f_i)^2 + floor^2.

    `relative` and `floor` (nats) are fitted unless a number is given. kind `normal` weighs every row by its variance;
    `student` weighs rows far from the law down, like a Student t with `freedom` degrees of freedom. Small and
    negative degradations stay in: the floor and their standard error say how little they tell.
    """

    kind: str = "normal"
    relative: float | None = None
    floor: float | None = None
    freedom: float = 4.0

    def __post_init__(self) -> None:
        if self.kind not in ("normal", "student"):
            raise InputError(f"Unknown noise kind {self.kind!r}. Known: normal, student.")
        if not (math.isfinite(self.freedom) and self.freedom > 2.0):
            raise InputError(f"freedom={self.freedom} must be above 2, so that the variance exists.")
        for name, value in (("relative", self.relative), ("floor", self.floor)):
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise InputError(f"{name}={value} must be 0 or more; leave it out to have it fitted.")
        if self.relative == 0.0 and self.floor == 0.0:
            raise InputError("relative=0 and floor=0 leave no scatter around the law. Leave one out to have it fitted.")


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How uncertainty is computed, at which level, and with how many replicates where it is a bootstrap.

    clustered-model, clustered-checkpoint, clustered-row: sandwich covariance over groups of related rows with the CR2
        small-sample correction and Student t quantiles of Satterthwaite's degrees of freedom; no replicates.
    bootstrap-model, bootstrap-checkpoint: rows resampled by model, or by checkpoint within each model.
    parametric: tables simulated from the fitted law and noise, correlated within models and checkpoints.
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
