"""The first two terms of the loss's Taylor series along a direction e at the unchanged weights:

    loss(w + x e) = loss(w) + x g.e + x^2 / 2 e.H.e + ...        nats per scored token, x in units of the weights

g.e and e.H.e come from automatic differentiation, H e by differentiating g.e once more (double backward), in float32
whatever the model's dtype, with attention written out (fused attention has no second derivative).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bitlaw.errors import NonFiniteError

AT_ONCE = 4096
"""Tokens differentiated at once: two graphs of written-out attention are kept for them."""


@dataclass(frozen=True, kw_only=True)
class TaylorTerms:
    """g.e (nats per token and unit of length) and e.H.e (per squared unit)."""

    gradient: float
    curvature: float

    def change(self, distance: float, order: int) -> float:
        """Return the change of the loss at a distance along e, to order 0, 1 or 2; nats per token."""
        return sum((0.0, distance * self.gradient, 0.5 * distance**2 * self.curvature)[: order + 1])


def taylor_terms(
    model: nn.Module, directions: Sequence[Mapping[str, torch.Tensor]], chunks: Sequence[torch.Tensor]
) -> list[TaylorTerms]:
    """Return the terms along each direction e, given as parameter name -> its part, in the parameter's own layout.

    chunks: token ids [B, T]; the loss is the mean over all their scored tokens. Directions share each forward pass; each costs
    about one backward pass more. The model is as before afterwards. Raises NonFiniteError if a term is not finite.
    """
    first = next(model.parameters())
    work = model if first.dtype == torch.float32 else copy.deepcopy(model).float()
    named = dict(work.named_parameters())
    moved = {name: named[name] for name in dict.fromkeys(n for direction in directions for n in direction)}
    asked_before = {name: p.requires_grad for name, p in named.items()}
    scored = sum(ids[:, 1:].numel() for ids in chunks)
    sums = torch.zeros(len(directions), 2, dtype=torch.float64)
    try:
        for name, parameter in named.items():
            parameter.requires_grad_(name in moved)
        for ids in chunks:
            for part in torch.split(ids, max(1, AT_ONCE // ids.shape[1])):
                sums += _chunk(work, moved, directions, part)
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(asked_before[name])
    if not torch.isfinite(sums).all():
        raise NonFiniteError("the gradient or curvature of the 16-bit model's loss is not finite")
    return [TaylorTerms(gradient=g / scored, curvature=c / scored) for g, c in sums.tolist()]


def _chunk(
    model: nn.Module,
    moved: Mapping[str, nn.Parameter],
    directions: Sequence[Mapping[str, torch.Tensor]],
    ids: torch.Tensor,
) -> torch.Tensor:
    """Return the summed nats' g.e and e.H.e of one chunk, [directions, 2]."""
    terms = torch.zeros(len(directions), 2, dtype=torch.float64)
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        nats = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
        gradients = torch.autograd.grad(nats, list(moved.values()), create_graph=True, materialize_grads=True)
        of_name = dict(zip(moved, gradients, strict=True))
        for number, direction in enumerate(directions):
            parts = [(of_name[name] * part).sum().to(nats.device) for name, part in direction.items()]
            slope = torch.stack(parts).sum()
            terms[number, 0] = float(slope.detach())
            if slope.requires_grad:  # a gradient that depends on no weight has no second derivative
                parameters = [moved[name] for name in direction]
                turned = torch.autograd.grad(slope, parameters, retain_graph=True, materialize_grads=True)
                terms[number, 1] = float(
                    sum(
                        (t.double() * part.double()).sum().to(nats.device)
                        for t, part in zip(turned, direction.values(), strict=True)
                    )
                )
    return terms
