"""Rounding to a sorted list of values: what NF4, quantile and k-means formats share.

Nearest by midpoints: a value goes to entry i if midpoint(i-1, i) < value <= midpoint(i, i+1), so a tie goes to the lower
entry, as in bitsandbytes. Values beyond the ends become the ends; NaN stays NaN.
"""

from __future__ import annotations

import torch

FEW = 32
"""Up to so many entries a CPU counts the midpoints below a value, a vectorised comparison each, instead of searching."""


def nearest_entry(values: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the entry nearest to each value. values [..., m], codebook [v] or [..., v], ascending -> [..., m]."""
    midpoints = (codebook[..., :-1] + codebook[..., 1:]) / 2
    if codebook.shape[-1] <= FEW and values.device.type == "cpu":
        index = _count_below(values, midpoints)
    else:
        # searchsorted wants one list of midpoints per list of values.
        lists = midpoints if codebook.ndim == 1 else midpoints.expand(*values.shape[:-1], -1).contiguous()
        index = torch.searchsorted(lists, values.contiguous(), out_int32=True)
    if codebook.ndim == 1:
        rounded = codebook.index_select(0, index.flatten()).view(values.shape)
    else:
        rounded = codebook.expand(*values.shape[:-1], -1).gather(-1, index.long())
    return torch.where(values.isnan(), values, rounded)


def _count_below(values: torch.Tensor, midpoints: torch.Tensor) -> torch.Tensor:
    """Return how many midpoints lie below each value, int32."""
    count = torch.zeros(values.shape, dtype=torch.int8)
    below = torch.empty(values.shape, dtype=torch.bool)
    for i in range(midpoints.shape[-1]):
        count += torch.gt(values, midpoints[..., i : i + 1], out=below)
    return count.int()
