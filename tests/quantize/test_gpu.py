"""Every method gives on a GPU what it gives on a CPU, up to codes that lie on a tie."""

import pytest
import torch

from bitlaw.catalog import METHODS
from bitlaw.errors import InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, WeightGradients, find_method
from bitlaw.quantize.error import output_error
from tests.quantize.toys import inputs, statistics_for, statistics_of, weights

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
        # A code on a tie moves one weight; where a row is turned back afterwards, its whole row.
        assert same > (0.9 if name.startswith("rotate") else 0.995)


OPTIONS = (
    {"scales": "static"},
    {"scales": "block"},
    {"scales": "block", "order": "group_aware"},
    {"order": "activation"},
    {"order": "group_aware", "block_size": 64},
    {"damping_rule": "search"},
    {"damping_rule": "absolute", "damping": 0.05},
    {"micro_block": 16},
)


@pytest.mark.parametrize("format_name", ["int3_g32", "int4_g48_short", "mxint3_k32"])
@pytest.mark.parametrize("settings", OPTIONS, ids=str)
def test_every_option_of_gptq_agrees(settings: dict[str, object], format_name: str) -> None:
    """The layer error is the CPU's; a GPU factorises in float32, so a code on a tie may fall the other way."""
    torch.backends.cuda.matmul.allow_tf32 = False
    method, grid = find_method("gptq"), parse_format(format_name)
    options = method.make_options(settings)
    x, weight = inputs(256, 2048, seed=5), weights(64, 256, seed=6)
    on_cpu = method.quantize(weight, statistics_of(x), grid, options).weight
    seen = InputStatistics(256, "cuda")
    seen.add(x.cuda())
    on_gpu = method.quantize(weight.cuda(), seen, grid, options).weight
    hessian = x.T @ x / len(x)
    errors = [output_error(weight, made, hessian) for made in (on_cpu, on_gpu.cpu())]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    plain = output_error(
        weight, method.quantize(weight, statistics_of(x), grid, method.make_options({})).weight, hessian
    )
    assert errors[1] < 2 * plain
    assert torch.equal(on_gpu, method.quantize(weight.cuda(), seen, grid, options).weight)
