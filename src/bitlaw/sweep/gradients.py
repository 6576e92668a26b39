"""Gradients of the calibration loss with respect to every linear layer's weight: one backward pass a batch, whole model.

The loss of a batch is the mean cross-entropy of its predicted tokens, as in training. The model's parameters, their
`requires_grad` and their `grad` are as before afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bitlaw.errors import NonFiniteError
from bitlaw.quantize import WeightGradients
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import LinearLayer


def collect_gradients(
    decoder: Decoder, layers: Sequence[LinearLayer], chunks: Sequence[torch.Tensor]
) -> dict[str, WeightGradients]:
    """Return mean |g| and mean g^2 over chunks of every layer's weight, by layer name. chunks: token ids, [B, T] each.

    Memory: two float32 numbers a weight, and the activations of one chunk. Raises NonFiniteError for a loss that is NaN
    or infinite.
    """
    weights = list({id(layer.stored): layer.stored for layer in layers}.values())  # experts may share one
    asked_before = {id(p): p.requires_grad for p in decoder.model.parameters()}
    absolute = [torch.zeros_like(w, dtype=torch.float32) for w in weights]
    squared = [torch.zeros_like(w, dtype=torch.float32) for w in weights]
    try:
        for parameter in decoder.model.parameters():
            parameter.requires_grad_(False)
        for weight in weights:
            weight.requires_grad_(True)
        for ids in chunks:
            for total, squares, gradient in zip(absolute, squared, _gradients(decoder, weights, ids), strict=True):
                total += gradient.abs()
                squares += gradient.square()
    finally:
        for parameter in decoder.model.parameters():
            parameter.requires_grad_(asked_before[id(parameter)])
    means = {
        id(weight): (total.div_(len(chunks)), squares.div_(len(chunks)))
        for weight, total, squares in zip(weights, absolute, squared, strict=True)
    }
    found = {}
    for layer in layers:
        total, squares = means[id(layer.stored)]
        found[layer.name] = WeightGradients(absolute=layer.from_stored(total), squared=layer.from_stored(squares))
    return found


def _gradients(decoder: Decoder, weights: Sequence[torch.Tensor], ids: torch.Tensor) -> list[torch.Tensor]:
    with torch.enable_grad():
        logits = decoder.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        if not torch.isfinite(loss):
            raise NonFiniteError("the 16-bit model itself gives a non-finite loss on the calibration text")
        gradients = torch.autograd.grad(loss, list(weights), allow_unused=True)
    return [torch.zeros_like(w) if g is None else g.float() for w, g in zip(weights, gradients, strict=True)]
