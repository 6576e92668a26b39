"""Rounding to a sorted list of values: what NF4, quantile and k-means formats share.

Nearest by midpoints: a value goes to entry i if midpoint(i-1, i) < value <= midpoint(i, i+1), so a tie goes to the lower
entry, as in bitsandbytes. Values beyond the ends become the ends; NaN stays NaN.
"""

from __future__ import annotations

import torch


def nearest_entry(values: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the entry nearest to each value. values [..., m], codebook [v] or [..., v], ascending -> [..., m]."""
    midpoints = (codebook[..., :-1] + codebook[..., 1:]) / 2
    if codebook.ndim == 1:
        rounded = codebook[torch.bucketize(values.contiguous(), midpoints)]
    else:
        midpoints = midpoints.expand(*values.shape[:-1], -1).contiguous()
        index = torch.searchsorted(midpoints, values.contiguous())
        rounded = codebook.expand(*values.shape[:-1], -1).gather(-1, index)
    return torch.where(values.isnan(), values, rounded)
