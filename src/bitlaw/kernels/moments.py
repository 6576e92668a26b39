"""Second moments of 16-bit inputs on a GPU: products in 16 bits with float32 sums, and one triangle only.

X^T X is symmetric, so panel i of its rows needs only the columns up to the panel's own end:

    panels of rows          x . . .
                            x x . .        4 panels: 10/16 of the operations, each product as large as the GPU likes
                            x x x .
                            x x x x

Products of two bfloat16 or float16 numbers are exact in float32, so only the order of the sums differs from float32 inputs.
"""

from __future__ import annotations

import torch

PANELS = 4
HALVES = (torch.bfloat16, torch.float16)


def serves(inputs: torch.Tensor) -> bool:
    """Whether `add_lower` is the way for these inputs: 16 bits, on a GPU."""
    return inputs.is_cuda and inputs.dtype in HALVES


def add_lower(total: torch.Tensor, inputs: torch.Tensor) -> None:
    """Add X^T X to the lower triangle of `total`, and parts of it above the diagonal that `mirrored` leaves out.

    total [in, in] float32, inputs X [tokens, in] bfloat16 or float16, both on one GPU.
    """
    features = inputs.shape[1]
    width = -(-features // PANELS)
    for start in range(0, features, width):
        stop = min(start + width, features)
        panel = inputs[:, start:stop]
        total[start:stop, :stop] += torch.mm(panel.T, inputs[:, :stop], out_dtype=torch.float32)


def mirrored(total: torch.Tensor) -> torch.Tensor:
    """Return the symmetric matrix whose lower triangle is total's. total [in, in] -> [in, in]."""
    lower = torch.tril(total)
    return lower + torch.tril(lower, diagonal=-1).T
