"""Learning-rate schedules as shares of the peak rate, and where checkpoints stand on the way.

With t tokens seen of T, W of them warm-up, f the final share and s the share of T that decays:

    t < W       t / W                                                        every schedule
    cosine      f + (1 - f) (1 + cos(pi (t - W) / (T - W))) / 2              Loshchilov & Hutter 2017, equation 5
    constant    1
    wsd         1 up to (1 - s) T, then a straight line to f at T            Hu et al. 2024 (MiniCPM), section 4
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bitlaw.errors import InputError, UnknownName


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule's name and settings: `warmup_tokens` W, `final_share` f of the peak, `decay_share` s (wsd only)."""

    kind: str = "cosine"
    warmup_tokens: float = 0.0
    final_share: float = 0.1
    decay_share: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in SHAPES:
            raise UnknownName("schedule", self.kind, SHAPES)
        if not (math.isfinite(self.warmup_tokens) and self.warmup_tokens >= 0):
            raise InputError(f"warmup_tokens={self.warmup_tokens} is not a number of tokens. Give 0 or more.")
        if not 0.0 <= self.final_share <= 1.0:
            raise InputError(f"final_share={self.final_share} is not a share of the peak rate. Give 0 to 1.")
        if not 0.0 < self.decay_share <= 1.0:
            raise InputError(f"decay_share={self.decay_share} is not a share of the tokens. Give above 0, at most 1.")

    def share(self, tokens: float, total: float) -> float:
        """Return the share of the peak rate at `tokens` of `total`."""
        if tokens < self.warmup_tokens:
            return tokens / self.warmup_tokens
        return SHAPES[self.kind](self, min(tokens, total), total)


def _cosine(schedule: Schedule, tokens: float, total: float) -> float:
    done = (tokens - schedule.warmup_tokens) / max(total - schedule.warmup_tokens, 1.0)
    return schedule.final_share + (1.0 - schedule.final_share) * 0.5 * (1.0 + math.cos(math.pi * done))


def _constant(schedule: Schedule, tokens: float, total: float) -> float:
    return 1.0


def _warmup_stable_decay(schedule: Schedule, tokens: float, total: float) -> float:
    left = (total - tokens) / (schedule.decay_share * total)
    return schedule.final_share + (1.0 - schedule.final_share) * min(1.0, left)


SHAPES: Mapping[str, Callable[[Schedule, float, float], float]] = {
    "cosine": _cosine,
    "constant": _constant,
    "wsd": _warmup_stable_decay,
}


def checkpoint_steps(*, count: int, first_tokens: float, last_step: int, step_tokens: int) -> tuple[int, ...]:
    """Return `count` steps evenly spaced in log tokens from `first_tokens` to the last step; equal ones are merged."""
    first = max(1, round(first_tokens / step_tokens))
    if count == 1 or first >= last_step:
        return (last_step,)
    steps = np.rint(np.geomspace(first, last_step, count)).astype(int).tolist()
    return tuple(sorted(set(steps)))
