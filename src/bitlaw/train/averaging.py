"""Averages of weights along training: an averaged checkpoint beside each one that is kept.

For a checkpoint at step s, with `count` k and `share` w, the weights of k steps evenly spaced from (1 - w) s to s are
averaged, all with the same weight (latest weight averaging, Kaddour 2022, arXiv 2209.14981). The training itself does not
see the average. Example: k = 3, w = 0.2, s = 100 averages steps 80, 90 and 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from bitlaw.train.plan import Average


def averaged_steps(average: Average, step: int) -> tuple[int, ...]:
    """Return the steps whose weights are averaged for a checkpoint at `step`; equal ones are merged."""
    first = max(1.0, (1.0 - average.share) * step)
    return tuple(sorted(set(np.rint(np.linspace(first, step, average.count)).astype(int).tolist())))


class WeightSums:
    """Sums of a model's weights on the way to the checkpoints that are averaged: step -> float32 sums, one a parameter."""

    def __init__(self, average: Average, kept: Sequence[int]) -> None:
        """Prepare for the kept steps; nothing is summed when `average.count` is 0."""
        self._wanted: dict[int, list[int]] = {}
        for target in kept if average.count else ():
            for step in averaged_steps(average, target):
                self._wanted.setdefault(step, []).append(target)
        self._sums: dict[int, tuple[int, list[torch.Tensor]]] = {}

    @torch.no_grad()
    def add(self, step: int, model: nn.Module) -> None:
        """Add the weights of a step to the sums that want them."""
        for target in self._wanted.get(step, ()):
            values = [p.detach().float() for p in model.parameters()]
            count, sums = self._sums.get(target, (0, [torch.zeros_like(v) for v in values]))
            torch._foreach_add_(sums, values)
            self._sums[target] = (count + 1, sums)

    @contextmanager
    def averaged(self, step: int, model: nn.Module) -> Iterator[bool]:
        """Within it, the model holds the average for a step; yields False, and changes nothing, where there is none."""
        if step not in self._sums:
            yield False
            return
        count, sums = self._sums[step]
        own = [p.data for p in model.parameters()]
        try:
            for parameter, total in zip(model.parameters(), sums, strict=True):
                parameter.data = (total / count).to(parameter.dtype)
            yield True
        finally:
            for parameter, data in zip(model.parameters(), own, strict=True):
                parameter.data = data

    def drop(self, step: int) -> None:
        """Forget the sums of a step that is written."""
        self._sums.pop(step, None)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on."""
        return {str(step): {"count": count, "sums": sums} for step, (count, sums) in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any], model: nn.Module) -> None:
        """Go on from a saved state, on the model's device."""
        device = next(model.parameters()).device
        self._sums = {
            int(step): (int(saved["count"]), [s.to(device) for s in saved["sums"]]) for step, saved in state.items()
        }
