"""Every method gives on a GPU what it gives on a CPU, up to codes that lie on a tie."""

import pytest
import torch

from bitlaw.catalog import METHODS
from bitlaw.errors import InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, WeightGradients, find_method
from bitlaw.quantize.error import output_error
from tests.quantize.toys import inputs, statistics_for, weights

pytestmark = pytest.mark.gpu


def moved(statistics, x: torch.Tensor):
    if isinstance(statistics, WeightGradients):
        return WeightGradients(absolute=statistics.absolute.cuda(), squared=statistics.squared.cuda())
    if isinstance(statistics, InputStatistics):
        made = InputStatistics(x.shape[1], "cuda")
        generator = torch.Generator().manual_seed(78)
        made.add(x.cuda(), (x + 0.2 * torch.randn(x.shape, generator=generator)).cuda())
        return made
    return None


@pytest.mark.parametrize("format_name", ["int3_g32", "int4_row_sym", "mxfp4_e2m1_k32", "kmeans3_row", "nf4_g64"])
@pytest.mark.parametrize("name", METHODS)
def test_cpu_and_gpu_agree(name: str, format_name: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    method, grid = find_method(name), parse_format(format_name)
    options = method.make_options({})
    x, weight = inputs(128, 1024, seed=3), weights(96, 128, seed=4)
    statistics = statistics_for(method, options, x, 96)
    try:
        on_cpu = method.quantize(weight, statistics, grid, options)
    except InputError:
        with pytest.raises(InputError, match=f"not {format_name}"):
            method.quantize(weight.cuda(), moved(statistics, x), grid, options)
        return
    on_gpu = method.quantize(weight.cuda(), moved(statistics, x), grid, options)
    assert on_gpu.weight.is_cuda
    assert on_gpu.stored_bits == on_cpu.stored_bits
    hessian = x.T @ x / len(x)
    errors = [output_error(weight, made, hessian) for made in (on_cpu.weight, on_gpu.weight.cpu())]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)  # a code on a tie moves later columns, either way
    if not method.calibrated:
        same = ((on_cpu.weight - on_gpu.weight.cpu()).abs() < 1e-4).double().mean()
        assert same > 0.995
