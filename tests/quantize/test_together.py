"""GPTQ of many layers and variants at once gives what it gives one by one; on a CPU through Triton's interpreter."""

import pytest
import torch

from bitlaw.errors import HessianError
from bitlaw.formats import parse_format
from bitlaw.kernels import gptq_columns
from bitlaw.quantize import InputStatistics, find_method
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.quantize.gptq_together import ROWS_AT_ONCE, _parts, gptq_together
from bitlaw.quantize.method import WeightJob

COLUMNS = 48
# Of Triton's interpreter, which computes what a mask leaves out behind it.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def statistics() -> InputStatistics:
    generator = torch.Generator().manual_seed(7)
    made = InputStatistics(COLUMNS)
    made.add(torch.randn(300, COLUMNS, generator=generator) @ torch.randn(COLUMNS, COLUMNS, generator=generator))
    return made


def jobs() -> list[WeightJob]:
    generator = torch.Generator().manual_seed(8)
    query, value = torch.randn(9, COLUMNS, generator=generator), torch.randn(5, COLUMNS, generator=generator)
    asked = [
        ("int2_g16", GptqOptions()),
        ("int4_g16", GptqOptions(on_failure="nearest")),
        ("int3_g16_sym", GptqOptions(upstream="full_precision")),
        ("int3_g24", GptqOptions()),
        ("int3_row", GptqOptions(block_size=16)),
        ("int4_g16", GptqOptions(scales="static")),
        ("int8_g16", GptqOptions(scales="static")),
        ("int4_g16", GptqOptions(order="group_aware")),
        ("int4_g16", GptqOptions(damping_rule="search")),
        ("mxint4_k16", GptqOptions(micro_block=16, damping_rule="search")),
        ("mxfp4_e2m1_k16", GptqOptions(micro_block=16, damping_rule="search")),
        ("nvfp4_k16", GptqOptions()),
        ("kmeans2_g24", GptqOptions()),
        ("int4_tensor", GptqOptions()),
    ]
    return [
        WeightJob(weight=weight, format=parse_format(name), options=options)
        for name, options in asked
        for weight in (query, value)
    ]


@pytest.mark.parametrize("kernel", [False, True])
def test_equals_one_by_one(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    inputs, asked = statistics(), jobs()
    want = [gptq(job.weight, inputs, job.format, job.options) for job in asked]
    launches = []
    real = gptq_columns.solve_on_gpu
    monkeypatch.setattr(gptq_columns, "available", lambda device: kernel)
    monkeypatch.setattr("bitlaw.kernels.gptq_block.FULL", 2)  # the interpreter runs programs one after the other

    def watched(rest, factors, ranges, groups, stacks, stored, **settings):
        launches.append((len(stacks), len(factors)))
        return real(rest, factors, ranges, groups, stacks, stored, **settings)

    monkeypatch.setattr("bitlaw.quantize.stacked.solve_on_gpu", watched)
    got = gptq_together(asked, inputs)
    assert ((6, 1) in launches) is kernel, "two layers at 2, 4 and 3 symmetric bits of group 16 are one stack"
    assert ((4, 8) in launches) is kernel, "two layers in two elements with every damping are one stack"
    for made, wanted in zip(got, want, strict=True):
        assert isinstance(made, torch.Tensor)
        assert float(((made - wanted).abs() < 1e-4).float().mean()) >= 0.99


def test_a_bad_hessian_is_each_jobs_error() -> None:
    inputs = InputStatistics.from_hessian(torch.diag(torch.tensor([-1.0] * COLUMNS)))
    got = gptq_together(jobs()[:4], inputs)
    assert len(got) == 4
    assert all(isinstance(error, HessianError) for error in got)
    nothing = gptq_together(jobs()[:2], None)
    assert all(isinstance(error, HessianError) for error in nothing)


def test_stacks_are_cut_at_a_number_of_rows() -> None:
    weight = torch.empty(ROWS_AT_ONCE // 2, 1)
    many = [WeightJob(weight=weight, format=parse_format("int4_row"), options=GptqOptions())] * 5
    assert _parts(many, [0, 1, 2, 3, 4]) == [[0, 1], [2, 3], [4]]
    eighth = torch.empty(ROWS_AT_ONCE // 16, 1)
    searched = WeightJob(weight=eighth, format=parse_format("int4_row"), options=GptqOptions(damping_rule="search"))
    assert _parts([searched] * 3, [0, 1, 2]) == [[0, 1], [2]], "a search has its rows eight times"


def test_gptq_offers_it() -> None:
    assert find_method("gptq").together is gptq_together
