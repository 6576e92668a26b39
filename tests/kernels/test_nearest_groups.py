"""The fused quantize-dequantize kernel gives the numbers of the torch formats, bit by bit; on a CPU in Triton's interpreter."""

import pytest
import torch

from bitlaw import catalog
from bitlaw.errors import InputError
from bitlaw.formats import group_parameters, parse_format, quantize_groups
from bitlaw.kernels import grouped, nearest_groups

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the interpreter's own arithmetic
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
EXAMPLES = sorted({name for entry in catalog.FORMATS.values() for name in entry.load().examples()})


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "available", lambda device: True)


def adversarial(rows: int, columns: int, device: str = "cpu") -> torch.Tensor:
    """Return random rows of many sizes, zeros, constants, ties, denormals, huge values, one outlier, one sign."""
    generator = torch.Generator().manual_seed(columns)
    weight = torch.randn(rows, columns, generator=generator) * torch.randn(rows, 1, generator=generator).mul(20).exp()
    weight[0] = 0.0
    weight[1] = torch.randint(-16, 17, (columns,), generator=generator) / 4
    weight[2] *= 2.0**-130 / weight[2].abs().amax()
    weight[3] *= 2.0**-147 / weight[3].abs().amax()
    weight[4] *= 3e38 / weight[4].abs().amax()
    weight[5] = 0.3
    weight[6, columns // 2] = 1e5 * weight[6].abs().amax()
    weight[7] = weight[7].abs()
    weight[8] = -weight[8].abs() - weight[8].abs().amax()
    return weight.to(device)


def assert_equal(weight: torch.Tensor, name: str) -> None:
    grid = parse_format(name)
    got, want = grouped.quantize_groups(weight, grid), quantize_groups(weight, grid)
    assert got.dtype == want.dtype
    same = (got == want) | (got.isnan() & want.isnan())
    if (
        got.dtype == torch.bfloat16 and not got.is_cuda
    ):  # where a GPU rounds, the interpreter cuts bits and denormals off
        same |= (got.float() - want.float()).abs() <= 2.0**-7 * want.float().abs() + 2.0**-126
    if name.startswith("kmeans") and got.is_cuda:  # the two sums of prefixes need not be in one order
        same |= (got.float() - want.float()).abs() <= 1e-5 * want.float().abs().amax()
    assert same.all(), (weight[~same][:4], got[~same][:4], want[~same][:4])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_equals_torch(name: str, device: str) -> None:
    weight = adversarial(12, 128, device)
    assert_equal(weight, name)
    if parse_format(name).tensor_bits:  # a scale of the whole tensor rounds all but its largest rows to zero
        assert_equal(weight[[1, 5]], name)
        assert quantize_groups(weight[[1, 5]], parse_format(name)).unique().numel() > 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*EXAMPLES, "int2_g32_short_mse", "fp3_e1m1_g32_mse_away", "int1.58_g32_short_mse"])
def test_parameters_equal_those_of_torch(name: str, device: str) -> None:
    weight, grid = adversarial(12, 128 if "short" not in name else 100, device), parse_format(name)
    got, want = grouped.group_parameters(weight, grid), group_parameters(weight, grid)
    assert got.shape == want.shape
    # Where a range over- or underflows its scale, torch leaves one parameter of two as it is: neither is of use.
    useless = [~made.isfinite().all(-1, keepdim=True) for made in (got, want)]
    same = (got == want) | (useless[0] & useless[1])
    assert same.all(), (got[~same][:4], want[~same][:4])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("int4_g32_short", 100),
        ("mxfp4_e2m1_k32_short", 70),
        ("int1.58_g32_short", 33),
        ("nvfp4_k16_short", 41),
        ("int3_g128", 24),  # a row shorter than a group
        ("int8_row", 1),
        ("mxint4_k1", 5),
        ("nf4_g48", 96),
        ("int2_g32_short_mse", 100),
        ("fp3_e1m1_g32_mse_away", 96),
        ("int1.58_row_mse", 70),
        ("kmeans2_row", 70),
        ("int4_tensor", 30),
    ],
)
def test_short_and_odd_groups(name: str, columns: int, device: str) -> None:
    assert_equal(adversarial(9, columns, device), name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["int4_row", "fp8_e4m3_row", "int1.58_row", "nf4_row", "kmeans3_row", "int4_row_mse"])
def test_groups_wider_than_a_tile(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_groups, "WIDEST_TILE", 32)
    for columns in (96, 150):
        assert_equal(adversarial(9, columns, device), name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["int4_g32", "mxfp6_e3m2_k32", "nvfp4_k16", "nf4_g64", "int3_g32_mse"])
def test_other_dtypes(name: str, dtype: torch.dtype, device: str) -> None:
    weight = adversarial(9, 64, device).clamp(-3e4, 3e4).to(dtype)
    assert_equal(weight, name)
    assert_equal(weight.T.contiguous().T, name)  # a column contiguous
    assert_equal(weight[:, :64], name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["int4_g32", "int4_g32_sym", "mxint4_k32", "fp8_e4m3_row", "nf4_g64", "int1.58_g32",
                                  "nvfp4_k16", "nvfp4_k16_single", "kmeans2_row", "int4_g32_mse"])  # fmt: skip
def test_groups_that_are_not_finite_do_not_come_out_finite(name: str, bad: float, device: str) -> None:
    weight = adversarial(9, 64, device)
    weight[6, 40] = bad
    grid = parse_format(name)
    got, want = grouped.quantize_groups(weight, grid), quantize_groups(weight, grid)
    assert torch.equal(got.isfinite(), want.isfinite())
    assert not got[6, 40].isfinite()


def test_refusals_and_empty_weights_are_those_of_torch() -> None:
    with pytest.raises(InputError, match="'q_proj' has 100"):
        grouped.quantize_groups(torch.ones(2, 100), parse_format("int4_g32"), "q_proj")
    assert grouped.quantize_groups(torch.empty(0, 4), parse_format("int4_g32")).shape == (0, 4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_large_weight_on_a_gpu(name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator("cuda").manual_seed(1)
    weight = torch.randn(4096, 4096, device="cuda", generator=generator)
    weight[:16] *= torch.arange(16, device="cuda").mul(8.0).sub(60).exp2()[:, None]
    weight[16:32] = torch.randint(-16, 17, (16, 4096), device="cuda", generator=generator) / 4
    assert_equal(weight.to(dtype), name)


def test_a_search_is_the_kernels_own(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = adversarial(9, 64)
    want = quantize_groups(weight, parse_format("int3_g32_sym_mse"))
    monkeypatch.setattr("bitlaw.formats.integer.search", lambda *_: pytest.fail("torch searched"))
    got = grouped.quantize_groups(weight, parse_format("int3_g32_sym_mse"))
    assert torch.equal(got.nan_to_num(), want.nan_to_num())
    assert not torch.equal(got, quantize_groups(weight, parse_format("int3_g32_sym")))
