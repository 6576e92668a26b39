"""The loss between two checkpoints of one training path, w(t) = a + t (b - a), and how far training moved the weights.

    0 is the earlier checkpoint, 1 the later one, beyond 1 where training was heading.

Curvature along the path is e.H.e at both ends, e = (b - a) / |b - a| over all parameters: how sharp the loss has become in
the direction that training takes (the mechanism of arXiv 2411.17691: late training moves weights little and needs them exact).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bitlaw.errors import InputError
from bitlaw.sweep.curvature import TaylorTerms, taylor_terms
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import linear_layers
from bitlaw.sweep.score import Tally, reference


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """The loss at t, nats per token, with its standard error over windows; None and the reason where it is not finite."""

    t: float
    loss: float | None
    se: float | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class WeightChange:
    """l2 norms of the weights at both ends and of their change, over `parameters` numbers."""

    parameters: int
    norm_from: float
    norm_to: float
    change: float

    @property
    def relative(self) -> float:
        """Change over the norm it started from; NaN from weights that are all zero."""
        return self.change / self.norm_from if self.norm_from else math.nan

    @property
    def cosine(self) -> float:
        """Cosine between both ends; NaN where one is zero."""
        ends = 2.0 * self.norm_from * self.norm_to
        return (self.norm_from**2 + self.norm_to**2 - self.change**2) / ends if ends else math.nan


@dataclass(frozen=True, kw_only=True)
class TrainingPath:
    """What lies between two checkpoints: points, change of all parameters and of the linear layers in the blocks, curvature.

    `begin` and `end` are the Taylor terms at t = 0 and 1 along the path, for a unit of length; None for equal checkpoints.
    """

    points: tuple[PathPoint, ...]
    everything: WeightChange
    linear_layers: WeightChange
    begin: TaylorTerms | None
    end: TaylorTerms | None


@torch.no_grad()
def training_path(
    earlier: nn.Module,
    later: nn.Module,
    evaluation: torch.Tensor,
    places: Sequence[float],
    *,
    batch_windows: int = 16,
    curvature: bool = True,
) -> TrainingPath:
    """Return the loss at each t of `places` on evaluation [windows, T], the weight change and the curvature at both ends.

    Both models are unchanged afterwards. Raises InputError for models whose parameters differ in name or shape.
    """
    a, b = dict(earlier.named_parameters()), dict(later.named_parameters())
    if {n: p.shape for n, p in a.items()} != {n: p.shape for n, p in b.items()}:
        raise InputError("The two checkpoints are of different models: their parameters differ in name or shape.")
    decoder = Decoder(earlier)
    linear = {f"{n.name}.weight" for i in range(len(decoder.blocks)) for n in linear_layers(decoder, i)}
    everything, inside = _change(a, b, a), _change(a, b, linear)
    device = next(iter(a.values())).device
    chunks = list(torch.split(evaluation.to(device), batch_windows))
    work = copy.deepcopy(earlier).eval()
    moving = dict(work.named_parameters())
    points = []
    for t in places:
        for name, parameter in moving.items():
            parameter.copy_(b[name] if t == 1.0 else a[name] + t * (b[name] - a[name]))
        points.append(_point(t, work, chunks))
    ends: list[TaylorTerms | None] = [None, None]
    if curvature and everything.change:
        direction = {name: (b[name].float() - a[name].float()) / everything.change for name in a}
        ends = [taylor_terms(model, [direction], chunks)[0] for model in (earlier, later)]
    return TrainingPath(points=tuple(points), everything=everything, linear_layers=inside, begin=ends[0], end=ends[1])


def _change(
    a: dict[str, nn.Parameter], b: dict[str, nn.Parameter], names: Sequence[str] | set[str] | dict[str, nn.Parameter]
) -> WeightChange:
    def norm(parts: Sequence[torch.Tensor]) -> float:
        return math.sqrt(sum(float(part.double().square().sum()) for part in parts))

    return WeightChange(
        parameters=sum(a[name].numel() for name in names),
        norm_from=norm([a[name] for name in names]),
        norm_to=norm([b[name] for name in names]),
        change=norm([b[name].double() - a[name].double() for name in names]),
    )


def _point(t: float, model: nn.Module, chunks: Sequence[torch.Tensor]) -> PathPoint:
    tally = Tally()
    for ids in chunks:
        tally.add(None, reference(model(input_ids=ids, use_cache=False).logits, ids))
    if tally.non_finite_tokens:
        told = f"{tally.non_finite_tokens} of {tally.tokens_scored} scored tokens have a non-finite loss"
        return PathPoint(t=t, loss=None, se=None, reason=told)
    loss = tally.nats / tally.tokens_scored
    squares = tally.nats_squared - 2.0 * loss * tally.nats_tokens + loss**2 * tally.tokens_squared
    windows = tally.windows
    se = math.sqrt(max(squares, 0.0) * windows / (windows - 1)) / tally.tokens_scored if windows > 1 else None
    return PathPoint(t=t, loss=loss, se=se)
