"""On a GPU the same numbers as on a CPU, for every format by the names it gives of itself."""

import pytest
import torch

from bitlaw import catalog
from bitlaw.formats import parse_format, quantize_groups

pytestmark = pytest.mark.gpu
EXAMPLES = sorted({name for entry in catalog.FORMATS.values() for name in entry.load().examples()})


@pytest.mark.parametrize("name", EXAMPLES)
def test_equals_the_cpu(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 512, generator=generator) * torch.randn(32, 1, generator=generator).mul(20).exp()
    weight[0] = 0.0
    weight[1] = torch.randint(-16, 17, (512,), generator=generator) / 4  # ties
    weight[2] *= 2.0**-130 / weight[2].abs().amax()  # denormals
    grid = parse_format(name)
    want = quantize_groups(weight, grid)
    got = quantize_groups(weight.cuda(), grid).cpu()
    if name.startswith("kmeans"):  # prefix sums in another order
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6 * float(weight.abs().amax()))
    else:
        assert torch.equal(got, want), (weight[got != want][:4], got[got != want][:4], want[got != want][:4])
