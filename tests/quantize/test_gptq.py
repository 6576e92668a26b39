"""GPTQ against a per-column float64 reference that shares no code with it, and its limits that are known exactly."""

import numpy as np
import pytest
import torch

from bitlaw.errors import HessianError, InputError, NonFiniteError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.formats.integer import IntegerFormat
from bitlaw.quantize import InputStatistics, find_method, make_variant
from bitlaw.quantize.arrangement import arrange, blocks, group_ranges, units
from bitlaw.quantize.columns import solve_columns
from bitlaw.quantize.gptq import GptqOptions, gptq


def correlated(features: int, tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=generator) / features**0.5
    return torch.randn(tokens, features, generator=generator) @ mix + 0.3 * torch.randn(
        tokens, features, generator=generator
    )


def group_grid(group: np.ndarray, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    hi, lo = np.maximum(group.max(1), 0), np.minimum(group.min(1), 0)
    if symmetric:
        hi = np.abs(group).max(1)
        lo = -hi
    scale = (hi - lo) / (2**bits - 1)
    return scale, np.full_like(scale, 2 ** (bits - 1)) if symmetric else np.round(-lo / scale)


def plain_gptq(weight, hessian, bits, group, symmetric, damping, scales, order_kind):
    """Algorithm 1 of arXiv 2210.17323, one column at a time, the inverse Hessian formed in float64."""
    w, h = weight.astype(np.float64).copy(), hessian.astype(np.float64)
    n = w.shape[1]
    h = h + damping * np.mean(np.diag(h)) * np.eye(n)
    order = np.argsort(-np.diag(hessian), kind="stable") if order_kind == "activation" else np.arange(n)
    stored = [group_grid(w[:, g : g + group], bits, symmetric) for g in range(0, n, group)]
    w, h = w[:, order], h[np.ix_(order, order)]
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    codes, out = np.zeros_like(w), np.zeros_like(w)
    for j in range(n):
        if scales == "block" and j % 128 == 0:  # the public code takes scales from W, which a block updates at its end
            stale = w.copy()
        if scales == "static":
            scale, zero = stored[order[j] // group]
        elif scales == "block" and j % group == 0:
            scale, zero = group_grid(stale[:, j : j + group], bits, symmetric)
        elif j % group == 0:
            scale, zero = group_grid(w[:, j : j + group], bits, symmetric)
        codes[:, j] = np.clip(np.round(w[:, j] / scale) + zero, 0, 2**bits - 1)
        out[:, j] = (codes[:, j] - zero) * scale
        error = (w[:, j] - out[:, j]) / upper[j, j]
        w[:, j:] -= np.outer(error, upper[j, j:])
    restored = np.zeros_like(out)
    restored[:, order] = out
    return restored


@pytest.mark.parametrize("order", ["none", "activation"])
@pytest.mark.parametrize("scales", ["dynamic", "block", "static"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "group", "bits"), [(48, 64, 16, 2), (32, 256, 128, 4), (40, 192, 48, 3), (24, 384, 192, 4)]
)
def test_equals_plain_reference(rows, columns, group, bits, symmetric, scales, order) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(columns))
    statistics = InputStatistics(columns)
    statistics.add(correlated(columns, 4 * columns, seed=rows))
    options = GptqOptions(scales=scales, order=order, damping=0.01)
    got = gptq(weight, statistics, IntegerFormat(bits=bits, group_size=group, symmetric=symmetric), options)
    want = plain_gptq(weight.numpy(), statistics.hessian.numpy(), bits, group, symmetric, 0.01, scales, order)
    # A code flipped by rounding shifts the later columns of its row a little: compare in units of the grid's step.
    steps = np.abs(got.numpy() - want) / np.abs(want).max() * 2 ** (bits - 1)
    assert (steps < 1e-3).mean() >= 0.999


def test_reference_is_sensitive() -> None:
    """The comparison above would notice another damping, another order or static instead of dynamic scales."""
    weight = torch.randn(32, 128, generator=torch.Generator().manual_seed(0))
    statistics = InputStatistics(128)
    statistics.add(correlated(128, 512, seed=1))
    h = statistics.hessian.numpy()
    base = plain_gptq(weight.numpy(), h, 3, 32, False, 0.01, "dynamic", "none")
    for other in (
        (0.1, "dynamic", "none"),
        (0.01, "static", "none"),
        (0.01, "block", "none"),
        (0.01, "dynamic", "activation"),
    ):
        assert (np.abs(plain_gptq(weight.numpy(), h, 3, 32, False, *other) - base) > 1e-3).mean() > 0.01


@pytest.mark.parametrize("name", ["int2_g32", "int4_row_sym", "int3_g16"])
@pytest.mark.parametrize("scales", ["dynamic", "block", "static"])
def test_identity_hessian_equals_nearest(name: str, scales: str) -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(3))
    statistics = InputStatistics.from_hessian(torch.eye(64))
    grid = parse_format(name)
    assert torch.equal(gptq(weight, statistics, grid, GptqOptions(scales=scales)), quantize_groups(weight, grid))


def test_lowers_the_layer_output_error() -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(4))
    inputs = correlated(128, 1024, seed=5)
    statistics = InputStatistics(128)
    statistics.add(inputs)
    grid = IntegerFormat(bits=3, group_size=64)

    def error(quantized: torch.Tensor) -> float:
        return float((inputs @ (quantized - weight).T).square().mean())

    assert error(gptq(weight, statistics, grid, GptqOptions())) < 0.8 * error(quantize_groups(weight, grid))


@pytest.mark.parametrize("block_size", [1, 7, 32, 128, 1000])
def test_block_size_changes_nothing(block_size: int) -> None:
    weight = torch.randn(16, 96, generator=torch.Generator().manual_seed(6))
    statistics = InputStatistics(96)
    statistics.add(correlated(96, 400, seed=7))
    grid = IntegerFormat(bits=4, group_size=24)
    want = gptq(weight, statistics, grid, GptqOptions())
    got = gptq(weight, statistics, grid, GptqOptions(block_size=block_size))
    assert ((got - want).abs() < 1e-4).float().mean() > 0.999


def test_scales_by_block_are_dynamic_where_groups_are_whole_blocks() -> None:
    weight = torch.randn(16, 256, generator=torch.Generator().manual_seed(6))
    statistics = InputStatistics(256)
    statistics.add(correlated(256, 600, seed=7))
    for group, block, same in ((128, 128, True), (32, 32, True), (32, 1, True), (32, 128, False), (32, 256, False)):
        grid = IntegerFormat(bits=3, group_size=group)
        dynamic = gptq(weight, statistics, grid, GptqOptions(block_size=block))
        by_block = gptq(weight, statistics, grid, GptqOptions(block_size=block, scales="block"))
        assert (((dynamic - by_block).abs() < 1e-4).float().mean() > 0.999) == same, (group, block)
    whole_row = gptq(
        weight, statistics, IntegerFormat(bits=3, group_size=32), GptqOptions(block_size=256, scales="block")
    )
    static = gptq(weight, statistics, IntegerFormat(bits=3, group_size=32), GptqOptions(scales="static"))
    assert (
        (whole_row - static).abs() < 1e-4
    ).float().mean() > 0.999  # a block as wide as the row: the original weights
    with pytest.raises(InputError, match="micro_block=2 rounds at once"):
        GptqOptions(scales="block", micro_block=2)


def test_blocks_cover_all_columns_and_start_no_group_behind_stale_ones() -> None:
    for columns, width, size in [(192, 48, 128), (384, 192, 128), (100, 100, 32), (7, 1, 3)]:
        groups = [(g, min(g + width, columns)) for g in range(0, columns, width)]
        ranges = [(cells[0][0], cells[-1][1]) for cells in blocks(units(groups, 1), size)]
        assert [c for a, b in ranges for c in range(a, b)] == list(range(columns))
        assert all(b - a <= max(size, 1) for a, b in ranges)
        starts = {a for a, _ in ranges}
        assert all(g in starts or any(a <= g and g + width <= b for a, b in ranges) for g in range(0, columns, width))


def test_statistics_equal_numpy_and_factor_inverts() -> None:
    inputs = correlated(24, 100, seed=8)
    statistics = InputStatistics(24)
    statistics.add(inputs[:60].reshape(2, 30, 24))
    statistics.add(inputs[60:])
    hessian = inputs.numpy().T @ inputs.numpy() / 100
    np.testing.assert_allclose(statistics.hessian.numpy(), hessian, rtol=1e-4, atol=1e-5)
    factor = statistics.inverse_factor(0.1, "none").double().numpy()
    assert np.allclose(factor, np.triu(factor))
    damped = hessian + 0.1 * np.mean(np.diag(hessian)) * np.eye(24)
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(24), atol=1e-3)


def test_inputs_never_seen_carry_no_weight() -> None:
    inputs = correlated(32, 200, seed=9)
    inputs[:, 5] = 0.0
    statistics = InputStatistics(32)
    statistics.add(inputs)
    quantized = gptq(
        torch.randn(8, 32, generator=torch.Generator().manual_seed(1)),
        statistics,
        parse_format("int4_g16"),
        GptqOptions(),
    )
    assert quantized[:, 5].abs().sum() == 0
    assert torch.isfinite(quantized).all()


def test_bad_statistics_and_weights() -> None:
    weight, grid = torch.randn(4, 8), parse_format("int4_row")
    with pytest.raises(HessianError, match=r"needs a Hessian \[8, 8\], given \[6, 6\]"):
        gptq(weight, InputStatistics.from_hessian(torch.eye(6)), grid, GptqOptions())
    with pytest.raises(HessianError, match="given none"):
        gptq(weight, None, grid, GptqOptions())
    with pytest.raises(HessianError, match="NaN or infinite"):
        gptq(weight, InputStatistics.from_hessian(torch.full((8, 8), torch.inf)), grid, GptqOptions())
    ones = InputStatistics.from_hessian(torch.ones(8, 8) - 2 * torch.eye(8))
    with pytest.raises(HessianError, match=r"not positive definite with damping=0.0"):
        gptq(weight, ones, grid, GptqOptions(damping=0.0))
    weight[1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="weight holds NaN"):
        gptq(weight, InputStatistics.from_hessian(torch.eye(8)), grid, GptqOptions())


def test_options_are_checked_with_near_matches() -> None:
    assert make_variant("gptq", "int4_g128").options["damping"] == 0.01
    with pytest.raises(InputError, match=r"no option 'dampign'. Did you mean 'damping'"):
        make_variant("gptq", "int4_g128", {"dampign": 0.1})
    with pytest.raises(InputError, match="Did you mean 'gptq'"):
        find_method("gtpq")
    for bad in (
        {"scales": "statik"},
        {"damping": -1.0},
        {"damping": float("nan")},
        {"block_size": 0},
        {"order": "desc"},
    ):
        with pytest.raises(InputError):
            make_variant("gptq", "int4_g128", bad)
    with pytest.raises(InputError, match="Choose one"):
        make_variant("gptq", "int4_g128", {"upstream": "full_precision", "within_block": "sequential"})
    with pytest.raises(InputError, match=r"no option 'damping'. Options: none"):
        make_variant("nearest", "int4_g128", {"damping": 0.1})


def test_a_weight_of_one_row_is_left_as_it_was() -> None:
    """Its columns and its rows are the same numbers in the same order."""
    weight = torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    before, grid = weight.clone(), parse_format("int2_g8")
    places = arrange(torch.arange(16), "none", group_ranges(16, grid))
    factor = torch.eye(16) + torch.triu(torch.full((16, 16), 0.1), diagonal=1)
    assert not torch.equal(solve_columns(weight, factor, places, grid), before)
    assert torch.equal(weight, before)
