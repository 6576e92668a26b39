"""The inverse of a large triangular matrix as products of blocks.

    | A  0 |^-1     |     A^-1          0   |
    | B  C |     =  | -C^-1 B A^-1    C^-1  |

Solving for the identity takes n^3 operations, as a solver does not know which of its answers are zero. Halving takes n^3 / 3 and what
products with triangular halves waste; these leave out panels of zeros. Almost all of it is matrix products, the fastest thing a GPU does.
"""

from __future__ import annotations

import torch

SOLVED_WHOLE = 1024
"""Rows up to which a solver is asked."""
PANELS = 4


def invert_lower(lower: torch.Tensor) -> torch.Tensor:
    """Return the inverse of a lower triangular matrix [n, n]; what is above its diagonal is not read. float32 or float64."""
    size = len(lower)
    if size <= SOLVED_WHOLE:
        identity = torch.eye(size, dtype=lower.dtype, device=lower.device)
        solved: torch.Tensor = torch.linalg.solve_triangular(lower, identity, upper=False)
        return solved
    half = size // 2
    inverse = torch.zeros_like(lower)
    inverse[:half, :half] = invert_lower(lower[:half, :half])
    inverse[half:, half:] = invert_lower(lower[half:, half:])
    right = _times_lower(lower[half:, :half], inverse[:half, :half])
    inverse[half:, :half] = _lower_times(inverse[half:, half:], right).neg_()
    return inverse


def _times_lower(left: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Return left [m, n] times lower triangular [n, n]."""
    made = torch.empty_like(left)
    for a, b in _panels(len(lower)):
        made[:, a:b] = left[:, a:] @ lower[a:, a:b]
    return made


def _lower_times(lower: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return lower triangular [n, n] times right [n, m]."""
    made = torch.empty_like(right)
    for a, b in _panels(len(lower)):
        made[a:b] = lower[a:b, :b] @ right[:b]
    return made


def _panels(size: int) -> list[tuple[int, int]]:
    width = -(-size // PANELS)
    return [(start, min(start + width, size)) for start in range(0, size, width)]
