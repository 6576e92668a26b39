"""The inverse by blocks: that of a solver, for sizes that halve evenly and that do not, at the conditions GPTQ meets."""

import pytest
import torch

from bitlaw.quantize import triangular
from bitlaw.quantize.triangular import invert_lower


def factor(size: int, dtype: torch.dtype) -> torch.Tensor:
    """The Cholesky factor of a Hessian of few tokens with damping 0.01: its condition is some thousands."""
    generator = torch.Generator().manual_seed(size)
    inputs = torch.randn(size // 2 + 1, size, generator=generator, dtype=torch.float64)
    inputs[:, 0] *= 30.0
    hessian = inputs.T @ inputs / len(inputs)
    return torch.linalg.cholesky(hessian + 0.01 * hessian.diagonal().mean() * torch.eye(size)).to(dtype)


@pytest.mark.parametrize("size", [1, 8, 9, 37, 64, 200])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_a_solver(size: int, dtype: torch.dtype, within: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangular, "SOLVED_WHOLE", 8)
    lower = factor(size, dtype)
    got = invert_lower(lower + 7.0 * torch.ones_like(lower).triu(1))  # what is above the diagonal is not read
    want = torch.linalg.solve_triangular(lower.double(), torch.eye(size, dtype=torch.float64), upper=False)
    assert torch.equal(got, got.tril())
    assert float((got.double() - want).abs().max()) <= within * float(want.abs().max())


def test_loses_no_more_digits_than_a_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangular, "SOLVED_WHOLE", 32)
    lower = factor(512, torch.float32)
    identity = torch.eye(512)
    solver = torch.linalg.solve_triangular(lower, identity, upper=False)

    def left_over(inverse: torch.Tensor) -> float:
        return float((lower.double() @ inverse.double() - identity).norm())

    assert left_over(invert_lower(lower)) < 3.0 * left_over(solver)
