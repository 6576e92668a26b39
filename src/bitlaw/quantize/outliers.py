"""Weights kept in 16 bits beside a quantized matrix: which, and what they cost to store."""

from __future__ import annotations

import math

import torch

VALUE_BITS = 16


def top_share(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Return a mask of the `share` of elements with the largest scores, the number rounded; ties in stored order.

    scores: any shape -> bool, same shape.
    """
    flat = scores.flatten()
    kept = round(share * flat.numel())
    mask = torch.zeros_like(flat, dtype=torch.bool)
    if kept:
        least = torch.kthvalue(flat, flat.numel() - kept + 1).values
        mask = flat > least
        ties = torch.nonzero(flat == least).flatten()[: kept - int(mask.sum())]
        mask[ties] = True
    return mask.reshape(scores.shape)


def sparse_bits(kept: int, weights: int) -> float:
    """Return the bits of a side table of `kept` among `weights` elements: a 16-bit value and an index of log2(weights)."""
    return kept * (VALUE_BITS + math.ceil(math.log2(max(weights, 2))))
