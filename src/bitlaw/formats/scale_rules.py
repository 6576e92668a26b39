"""How far a group's values reach, by name, for formats whose scale is a float.

absmax    every value is inside: the largest magnitude, or smallest and largest value (the default, unnamed)
p99.9     percentile: that share of the magnitudes is inside; of an asymmetric range, at each end. Linear between order
          statistics, as numpy's default; the rest is clamped
mse       squared-error search: the range, shrunk by the factor that gives the least sum of squared rounding errors. Tried
          are 2^(-i/4), i = 0..20, then the sixths of a step on both sides of the best one; of equals the widest
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch

from bitlaw.errors import InputError

RULE_PATTERN = r"mse|p[0-9.]+"
COARSE = [2.0 ** (-i / 4) for i in range(21)]
FINE = [2.0 ** (i / 24) for i in range(-5, 6) if i]
SEARCH_CHUNK = 2**16
"""Weights searched together on a CPU, so that they stay in its cache."""


def require_rule(rule: str) -> str:
    """Return the rule if it is known, else raise InputError."""
    if rule in ("absmax", "mse") or (re.fullmatch(r"p\d+(\.\d*[1-9])?", rule) and 50 < float(rule[1:]) < 100):
        return rule
    raise InputError(
        f"Scale rule {rule!r} is not known. Known: absmax, mse, or p<percentile> above 50 and below 100, such as p99.9."
    )


def reach(magnitudes: torch.Tensor, rule: str) -> torch.Tensor:
    """Return the largest value to be inside, or the percentile the rule asks for. magnitudes [..., n] -> [...]."""
    n = magnitudes.shape[-1]
    if rule in ("absmax", "mse"):
        return magnitudes.amax(-1)
    position = (n - 1) * float(rule[1:]) / 100
    below = math.floor(position)
    top = magnitudes.topk(n - below, -1, sorted=True).values
    low, high = top[..., n - below - 1], top[..., max(n - below - 2, 0)]
    # topk orders NaN first: a group that holds one must keep it visible.
    return torch.where(top[..., 0].isnan(), top[..., 0], low + (high - low) * (position - below))


def search(
    group: torch.Tensor,
    candidate: Callable[[torch.Tensor, float | torch.Tensor], torch.Tensor],
    round: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the parameters with the least squared error. group [..., n] -> [..., p].

    candidate(group, factor) -> [..., p] gives parameters for a range shrunk by a number or [...]; round(group,
    parameters) -> [..., n].
    """
    flat = group.reshape(-1, group.shape[-1])
    chunk = max(SEARCH_CHUNK // max(flat.shape[1], 1), 1) if group.device.type == "cpu" else max(len(flat), 1)
    parts = [_search(part, candidate, round) for part in torch.split(flat, chunk)]
    found = torch.cat(parts)
    return found.reshape(*group.shape[:-1], found.shape[-1])


def _search(
    group: torch.Tensor,
    candidate: Callable[[torch.Tensor, float | torch.Tensor], torch.Tensor],
    round: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Search groups [g, n] at once -> [g, p]."""
    best = candidate(group, 1.0)
    least = _squared_error(group, best, round)
    factor = torch.ones_like(least)
    coarse: torch.Tensor | None = None
    for step in [*COARSE[1:], *FINE]:
        if step in FINE and coarse is None:
            coarse = factor.clone()
        tried = torch.full_like(factor, step) if coarse is None else (coarse * step).clamp(max=1.0)
        parameters = candidate(group, tried)
        error = _squared_error(group, parameters, round)
        better = error < least
        least = torch.where(better, error, least)
        factor = torch.where(better, tried, factor)
        best = torch.where(better.unsqueeze(-1), parameters, best)
    return best


def _squared_error(
    group: torch.Tensor, parameters: torch.Tensor, round: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    return round(group, parameters).sub_(group).square_().sum(-1)
