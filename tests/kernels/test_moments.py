"""Second moments in one triangle: the panels cover it, and mirroring gives the symmetric whole."""

import pytest
import torch

from bitlaw.kernels import moments
from bitlaw.quantize import InputStatistics


@pytest.mark.parametrize("features", [1, 3, 17, 64])
def test_panels_cover_the_lower_triangle(features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out_dtype: product(a.to(out_dtype), b.to(out_dtype)))
    x = torch.randn(50, features, generator=torch.Generator().manual_seed(0)).bfloat16()
    total = torch.zeros(features, features)
    for part in x.split(20):
        moments.add_lower(total, part)
    torch.testing.assert_close(moments.mirrored(total), x.float().T @ x.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", moments.HALVES)
def test_statistics_of_halves_equal_those_of_float32(dtype: torch.dtype) -> None:
    x = torch.randn(3000, 200, generator=torch.Generator().manual_seed(1)).to(dtype).cuda()
    halves, floats = InputStatistics(200, "cuda"), InputStatistics(200, "cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    for part in x.split(1024):
        halves.add(part)
        floats.add(part.float())
    torch.testing.assert_close(halves.hessian, floats.hessian, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(halves.magnitude, floats.magnitude, rtol=1e-5, atol=1e-6)
    assert torch.equal(halves.largest, floats.largest)
    torch.testing.assert_close(
        halves.inverse_factor(0.01, "activation"), floats.inverse_factor(0.01, "activation"), rtol=1e-3, atol=1e-4
    )
