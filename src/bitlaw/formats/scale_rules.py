"""How far a group's values reach, by name, for formats whose scale is a float.

absmax    every value is inside: the largest magnitude, or smallest and largest value (the default, unnamed)
p99.9     percentile: that share of the magnitudes is inside; of an asymmetric range, at each end. Linear between order
          statistics, as numpy's default; the rest is clamped
mse       squared-error search: the range, shrunk by the factor that gives the least sum of squared rounding errors. Tried
          are 2^(-i/4), i = 0..20, then sixths of that step on both sides of the best; of equals the widest
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch

from bitlaw.errors import InputError

RULE_PATTERN = r"mse|p[0-9.]+"
COARSE = [2.0 ** (-i / 4) for i in range(1, 21)]
FINE = [2.0 ** (i / 24) for i in range(-5, 6) if i]
SEARCH_CHUNK = 2**18
"""Weights searched together on a CPU, so that they stay in its cache."""


def require_rule(rule: str) -> str:
    """Return the rule if it is known, else raise InputError."""
    if rule in ("absmax", "mse") or (re.fullmatch(r"p\d+(\.\d*[1-9])?", rule) and 50 < float(rule[1:]) < 100):
        return rule
    raise InputError(
        f"Scale rule {rule!r} is not known. Known: absmax, mse, or p<percentile> above 50 and below 100, such as p99.9."
    )


def describe(rule: str) -> str:
    """Return the rule in words, for a range symmetric about zero."""
    named = {"absmax": "max |w|", "mse": "shrunk max |w|"}
    return named.get(rule, f"{rule[1:]} % quantile of |w|")


def reach(magnitudes: torch.Tensor, rule: str) -> torch.Tensor:
    """Return the largest value to be inside, or the percentile the rule asks for. magnitudes [..., n] -> [...]."""
    n = magnitudes.shape[-1]
    if rule in ("absmax", "mse"):
        return magnitudes.amax(-1)
    position = (n - 1) * float(rule[1:]) / 100
    below = math.floor(position)
    top = magnitudes.topk(n - below, -1, sorted=True).values
    low, high = top[..., n - below - 1], top[..., max(n - below - 2, 0)]
    # The largest comes first, NaN before all: one that is not finite must stay visible, not be clamped away.
    return torch.where(top[..., 0].isfinite(), low + (high - low) * (position - below), top[..., 0])


def search(
    group: torch.Tensor,
    limits: torch.Tensor,
    parameters: Callable[[torch.Tensor], torch.Tensor],
    round: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the parameters with the least squared error. group [..., n], limits of its range [..., r] -> [..., p].

    parameters(limits [..., r]) -> [..., p] says what a (shrunk) range stands for; round(group, parameters) -> [..., n].
    """
    n, r = group.shape[-1], limits.shape[-1]
    chunk = max(SEARCH_CHUNK // n, 1) if group.device.type == "cpu" else group.numel()
    parts = zip(torch.split(group.reshape(-1, n), chunk), torch.split(limits.reshape(-1, r), chunk), strict=True)
    found = torch.cat([_search(weights, ends, parameters, round) for weights, ends in parts])
    return found.reshape(*group.shape[:-1], found.shape[-1])


def _search(
    group: torch.Tensor,
    limits: torch.Tensor,
    parameters: Callable[[torch.Tensor], torch.Tensor],
    round: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Search groups [g, n] at once -> [g, p]."""

    def error(candidate: torch.Tensor) -> torch.Tensor:
        # float64: the order of summation, which threads and layout choose, must not decide between candidates.
        return round(group, candidate).sub_(group).square_().sum(-1, keepdim=True, dtype=torch.float64)

    best = parameters(limits)
    least = error(best)
    factor = torch.ones_like(limits[:, :1])
    for steps in (COARSE, FINE):
        around = factor
        for step in steps:
            tried = (around * step).clamp_max(1.0)
            candidate = parameters(limits * tried)
            squared = error(candidate)
            better = squared < least
            least = torch.where(better, squared, least)
            factor = torch.where(better, tried, factor)
            best = torch.where(better, candidate, best)
    return best
