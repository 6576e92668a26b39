"""A seeded orthogonal R for any width n = m 2^k, m odd: random signs, Hadamard of size 2^k, a random orthogonal m x m.

    x R = ((x * signs) as [m, 2^k], each row through Hadamard, the m rows mixed)        x R R^T = x

For a power of two it is QuaRot's randomised Hadamard transform (Ashkboos et al., arXiv 2404.00456); for others the odd
factor is mixed by the Q of a seeded Gaussian's QR. Fast: n log n a row, and n m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Rotation:
    """R, held as signs [n], mixing [m, m] and the width of the Hadamard part, 2^k."""

    signs: torch.Tensor
    mixing: torch.Tensor
    width: int

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Return x R. x [..., n] -> [..., n]."""
        parts = (x * self.signs).reshape(*x.shape[:-1], -1, self.width)
        return (self.mixing @ hadamard(parts)).reshape(x.shape)

    def undo(self, x: torch.Tensor) -> torch.Tensor:
        """Return x R^T. x [..., n] -> [..., n]."""
        parts = self.mixing.T @ x.reshape(*x.shape[:-1], -1, self.width)
        return hadamard(parts).reshape(x.shape) * self.signs


def rotation(features: int, seed: int, device: torch.device | str = "cpu") -> Rotation:
    """Return R of that width; the same for a seed on every device."""
    width = features & -features  # the largest power of two that divides it
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (features,), generator=generator) * 2.0 - 1.0
    mixing = torch.ones(1, 1)
    if features > width:
        gaussian = torch.randn(features // width, features // width, generator=generator, dtype=torch.float64)
        mixing = torch.linalg.qr(gaussian).Q.to(torch.float32)
    return Rotation(signs.to(device), mixing.to(device), width)


def hadamard(x: torch.Tensor) -> torch.Tensor:
    """Return x H / sqrt(n), H the Sylvester-Hadamard matrix; its own inverse. x [..., n], n a power of two -> [..., n]."""
    n = x.shape[-1]
    mixed = x
    half = 1
    while half < n:
        pairs = mixed.reshape(*x.shape[:-1], -1, 2, half)
        left, right = pairs[..., 0, :], pairs[..., 1, :]
        mixed = torch.stack((left + right, left - right), -2)
        half *= 2
    made: torch.Tensor = mixed.reshape(x.shape) / math.sqrt(n)
    return made
