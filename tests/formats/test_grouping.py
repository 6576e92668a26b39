"""Groups: short ones, whole tensors, chunks, dtypes and the helpers a column-wise method needs."""

import pytest
import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import (
    bits_per_weight,
    group_columns,
    group_of,
    group_parameters,
    group_starts,
    group_width,
    parse_format,
    quantize_groups,
)
from bitlaw.formats.integer import IntegerFormat

NAMES = [
    "int4_g32_short",
    "mxint4_k32_short",
    "nvfp4_k32_short",
    "nf4_g32_short",
    "kmeans2_g32_short",
    "int1.58_g32_short",
]


def weight(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * columns)) + 3.0


@pytest.mark.parametrize("name", NAMES)
def test_a_short_last_group_is_a_group_of_its_own(name: str) -> None:
    """Nothing of padding: the values lie far from zero, where a padded zero would widen the range."""
    grid, w = parse_format(name), weight(5, 100)
    bound = grid.prepare(w)
    parts = [w[:, 0:32], w[:, 32:64], w[:, 64:96], w[:, 96:100]]
    want = torch.cat([bound.round(part, bound.parameters(part)) for part in parts], 1)
    assert torch.equal(quantize_groups(w, grid), want)
    assert torch.equal(group_parameters(w, grid)[:, 3], bound.parameters(parts[3]))
    assert group_parameters(w, grid).shape[:2] == (5, 4)


def test_columns_know_their_group() -> None:
    grid = parse_format("int4_g32_short")
    assert group_width(100, grid) == 32
    assert group_starts(100, grid) == [0, 32, 64, 96]
    assert group_of(100, grid).tolist() == [j // 32 for j in range(100)]
    assert group_columns(3, 100, grid) == slice(96, 100)
    assert group_columns(0, 20, grid) == slice(0, 20)
    assert bits_per_weight(100, grid) == 4 + 20 * 4 / 100


def test_rows_that_do_not_divide_are_refused_unless_asked() -> None:
    message = r"needs in_features divisible by 128; 'mlp' has 2500. Use group_size=125, _short after the size"
    with pytest.raises(InputError, match=message):
        quantize_groups(torch.zeros(1, 2500), IntegerFormat(bits=4, group_size=128), "mlp")
    assert quantize_groups(torch.zeros(1, 2500), parse_format("int4_g128_short")).shape == (1, 2500)
    assert quantize_groups(torch.zeros(1, 40), IntegerFormat(bits=4, group_size=128)).shape == (1, 40)


@pytest.mark.parametrize(
    "name", ["int4_tensor_sym", "int1.58_tensor", "fp8_e4m3_tensor", "nf4_tensor", "kmeans2_tensor"]
)
def test_one_group_for_the_whole_tensor(name: str) -> None:
    grid, w = parse_format(name), weight(6, 20)
    row = parse_format(name.replace("tensor", "row"))
    assert torch.equal(quantize_groups(w, grid), quantize_groups(w.reshape(1, -1), row).reshape(6, 20))
    bound = grid.prepare(w)
    # Per column, as GPTQ asks: every row has the tensor's parameters, also after the weight has changed.
    assert torch.equal(bound.parameters(w[:, 3:4] * 7), group_parameters(w, grid)[:, 0])
    assert torch.equal(bound.round(w[:, 3:4], bound.parameters(w[:, 3:4])), quantize_groups(w, grid)[:, 3:4])
    assert bound.prepare(w * 2) is bound
    assert (bound.name, bound.bits, bound.group_size) == (name, grid.bits, 0)
    with pytest.raises(AssertionError, match="prepare"):
        grid.parameters(w)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    w = weight(33, 96)
    names = [
        "int4_g32",
        "mxfp4_e2m1_k32",
        "nvfp4_k16",
        "nf4_g32",
        "int4_tensor",
        "kmeans2_row",
        "int4_g32_mse",
        "int4_g40_short",
    ]
    whole = [quantize_groups(w, parse_format(name)) for name in names]
    monkeypatch.setattr("bitlaw.formats.grouping.CHUNK", 100)
    monkeypatch.setattr("bitlaw.formats.scale_rules.SEARCH_CHUNK", 64)
    assert all(torch.equal(quantize_groups(w, parse_format(n)), q) for n, q in zip(names, whole, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_computed_in_float32(dtype: torch.dtype) -> None:
    w = weight(4, 64).to(dtype)
    for name in ("int4_g32", "mxint4_k32", "nvfp4_k16", "fp8_e4m3_row", "nf4_g32"):
        got = quantize_groups(w, parse_format(name))
        assert got.dtype == dtype
        assert torch.equal(got, quantize_groups(w.float(), parse_format(name)).to(dtype))


def test_any_layout_and_the_input_is_left_alone() -> None:
    w = weight(8, 64)
    before = w.clone()
    for name in (
        "int4_g32",
        "mxfp4_e2m1_k32_away",
        "nvfp4_k16",
        "nf4_g32",
        "int4_g32_mse",
        "int1.58_row",
        "kmeans2_g32",
    ):
        grid = parse_format(name)
        assert torch.equal(quantize_groups(w.T.contiguous().T, grid), quantize_groups(w, grid))
        assert torch.equal(quantize_groups(torch.cat([w, w], 1)[:, :64], grid), quantize_groups(w, grid))
    assert torch.equal(w, before)


def test_unknown_names_offer_near_matches() -> None:
    with pytest.raises(UnknownName, match=r"Unknown format 'itn4_g128'. Did you mean 'int"):
        parse_format("itn4_g128")
    with pytest.raises(UnknownName, match="Did you mean 'mxint"):
        parse_format("mxnit4_k32")
    for name in ("", "_g128", "4", "INT4_g128"):
        with pytest.raises(InputError):
            parse_format(name)
