"""Damping rules, column orders, micro-blocks and short groups of GPTQ, against plain float64 code that shares none of it."""

import numpy as np
import pytest
import torch

from bitlaw.catalog import FORMATS, find
from bitlaw.errors import HessianError, InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.quantize.arrangement import blocks, units
from bitlaw.quantize.error import output_error
from bitlaw.quantize.gptq import DAMPING_GRID, GptqOptions, gptq
from tests.quantize.toys import inputs, statistics_of, weights

EXAMPLES = sorted({name for family in FORMATS for name in find("format", family).load().examples()})


def plain_round(values: np.ndarray, group: np.ndarray, bits: int) -> np.ndarray:
    """Asymmetric integers of the group's range, float64. values [rows, m], group [rows, n]."""
    hi, lo = np.maximum(group.max(1), 0), np.minimum(group.min(1), 0)
    scale = (hi - lo) / (2**bits - 1)
    zero = np.round(-lo / scale)
    codes = np.clip(np.round(values / scale[:, None]) + zero[:, None], 0, 2**bits - 1)
    return (codes - zero[:, None]) * scale[:, None]


def plain_micro_gptq(weight, hessian, bits, group, micro, damping=0.01, order=None):
    """Sharify et al.'s algorithm 1 with explicit inverses: blocks of `micro` columns, E = (W - Q) inv(U_jj)."""
    w, h = weight.astype(np.float64), hessian.astype(np.float64)
    n = w.shape[1]
    order = np.arange(n) if order is None else order
    h = h + damping * np.mean(np.diag(h)) * np.eye(n)
    w, h = w[:, order].copy(), h[np.ix_(order, order)]
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    out = np.zeros_like(w)
    grids: dict[int, np.ndarray] = {}
    for start in range(0, n, micro):
        stop = min(start + micro, n)
        for j in range(start, stop):
            if j % group == 0:
                grids[j // group] = w[:, j : min(j + group, n)].copy()
            out[:, j : j + 1] = plain_round(w[:, j : j + 1], grids[j // group], bits)
        error = (w[:, start:stop] - out[:, start:stop]) @ np.linalg.inv(upper[start:stop, start:stop])
        w[:, stop:] -= error @ upper[start:stop, stop:]
    restored = np.zeros_like(out)
    restored[:, order] = out
    return restored


def agree(got: torch.Tensor, want: np.ndarray, bits: int) -> bool:
    """Whether 99.9 % of values agree to 1e-3 of a step: a code on a tie may flip, and moves later columns a little."""
    steps = np.abs(got.double().numpy() - want) / np.abs(want).max() * 2 ** (bits - 1)
    return bool((steps < 1e-3).mean() >= 0.999)


@pytest.mark.parametrize("order", ["none", "group_aware"])
@pytest.mark.parametrize(
    ("columns", "group", "micro", "bits"),
    [(96, 16, 16, 3), (96, 32, 8, 3), (128, 16, 32, 4), (192, 192, 48, 2), (100, 32, 32, 3), (100, 32, 1, 4)],
)
def test_micro_blocks_and_short_groups_equal_plain_reference(columns, group, micro, bits, order) -> None:
    x, weight = inputs(columns, 6 * columns, seed=1), weights(40, columns, seed=2)
    statistics = statistics_of(x)
    places = None
    if order == "group_aware":
        places = gar_order(statistics.hessian.diagonal().numpy(), group)
    grid = parse_format(f"int{bits}_g{group}_short")
    got = gptq(weight, statistics, grid, GptqOptions(micro_block=micro, order=order))
    want = plain_micro_gptq(weight.numpy(), statistics.hessian.numpy(), bits, group, micro, order=places)
    assert agree(got, want, bits)
    if micro > 1:
        other = plain_micro_gptq(weight.numpy(), statistics.hessian.numpy(), bits, group, 1, order=places)
        assert not agree(got, other, bits), "the comparison would not notice micro-blocks"


def gar_order(diagonal: np.ndarray, group: int) -> np.ndarray:
    """Group-aware reordering as GPTQModel states it: groups by their largest diagonal, columns inside by theirs."""
    members = [np.arange(s, min(s + group, len(diagonal))) for s in range(0, len(diagonal), group)]
    members = [m[np.argsort(-diagonal[m], kind="stable")] for m in members]
    return np.concatenate(sorted(members, key=lambda m: -diagonal[m[0]]))


@pytest.mark.parametrize(("columns", "group"), [(64, 16), (100, 32), (7, 3), (5, 8)])
def test_group_aware_order_equals_plain_sort(columns: int, group: int) -> None:
    statistics = statistics_of(inputs(columns, 200, seed=columns))
    got = statistics.order("group_aware", group).numpy()
    assert np.array_equal(got, gar_order(statistics.hessian.diagonal().numpy(), group))


def test_group_aware_keeps_stored_groups_with_a_short_one_in_the_middle() -> None:
    x = inputs(40, 400, seed=3)
    x[:, 32:] *= 10.0  # the short last group is the most important and comes first
    statistics = statistics_of(x)
    assert set(statistics.order("group_aware", 32)[:8].tolist()) == set(range(32, 40))
    weight, grid = weights(24, 40, seed=4), parse_format("int2_g32_short")
    quantized = gptq(weight, statistics, grid, GptqOptions(order="group_aware"))
    for part in (quantized[:, :32], quantized[:, 32:]):
        assert all(len(row.unique()) <= 4 for row in part)
    identity = InputStatistics.from_hessian(torch.diag(1.0 + torch.arange(40.0)))
    for order in ("none", "group_aware"):
        options = GptqOptions(order=order)
        assert torch.equal(gptq(weight, identity, grid, options), quantize_groups(weight, grid))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"scales": "static"}, {"scales": "block", "block_size": 48}, {"micro_block": 32}, {"order": "group_aware"}],
    ids=lambda s: str(s),
)
def test_identity_hessian_equals_nearest_for_every_format(name: str, settings: dict[str, object]) -> None:
    weight, grid = weights(5, 64, seed=5), parse_format(name)
    statistics = InputStatistics.from_hessian(torch.eye(64))
    assert torch.equal(gptq(weight, statistics, grid, GptqOptions(**settings)), quantize_groups(weight, grid))


def test_a_micro_block_of_the_whole_row_is_nearest() -> None:
    """Nothing is compensated inside a micro-block, whatever the Hessian."""
    weight, grid = weights(8, 64, seed=6), parse_format("mxint3_k64")
    statistics = statistics_of(inputs(64, 300, seed=7))
    assert torch.equal(gptq(weight, statistics, grid, GptqOptions(micro_block=64)), quantize_groups(weight, grid))
    assert not torch.equal(gptq(weight, statistics, grid, GptqOptions(micro_block=32)), quantize_groups(weight, grid))


@pytest.mark.parametrize(("group", "micro"), [(32, 24), (32, 48), (16, 5)])
def test_micro_blocks_that_cut_across_groups_are_refused(group: int, micro: int) -> None:
    weight, statistics = weights(4, 96, seed=8), statistics_of(inputs(96, 300, seed=9))
    with pytest.raises(InputError, match=f"micro_block={micro} and groups of {group} cut across"):
        gptq(weight, statistics, parse_format(f"int4_g{group}"), GptqOptions(micro_block=micro))


@pytest.mark.parametrize("block_size", [1, 16, 40, 64, 1000])
@pytest.mark.parametrize(("group", "micro"), [(16, 32), (64, 16), (24, 8)])
def test_block_size_changes_nothing_under_micro_blocks(block_size: int, group: int, micro: int) -> None:
    weight, statistics = weights(16, 192, seed=10), statistics_of(inputs(192, 800, seed=11))
    grid = parse_format(f"int4_g{group}")
    want = gptq(weight, statistics, grid, GptqOptions(micro_block=micro))
    got = gptq(weight, statistics, grid, GptqOptions(micro_block=micro, block_size=block_size))
    assert ((got - want).abs() < 1e-4).float().mean() > 0.999


def test_units_and_blocks_cover_the_columns() -> None:
    for groups, micro in [([(0, 4), (4, 8), (8, 10)], 2), ([(0, 2), (2, 4), (4, 6), (6, 7)], 4), ([(0, 9)], 4)]:
        made = units(groups, micro)
        assert [c for unit in made for a, b in unit for c in range(a, b)] == list(range(groups[-1][1]))
        assert all(b - a <= micro for unit in made for a, b in unit)
        for size in (1, 3, 5, 100):
            batched = blocks(made, size)
            assert [cell for block in batched for cell in block] == [cell for unit in made for cell in unit]


@pytest.mark.parametrize("name", ["int3_g32", "mxint2_k32"])
def test_search_takes_the_damping_of_least_output_error(name: str) -> None:
    weight, x, grid = weights(32, 64, seed=12), inputs(64, 96, seed=13), parse_format(name)
    statistics = statistics_of(x)
    got = gptq(weight, statistics, grid, GptqOptions(damping_rule="search", damping=123.0))
    tried = [gptq(weight, statistics, grid, GptqOptions(damping=share)) for share in DAMPING_GRID]
    errors = [float((x @ (q - weight).T).square().sum()) for q in tried]  # from the tokens, not from H
    assert len(set(errors)) > 3
    assert torch.equal(got, tried[int(np.argmin(errors))])
    assert pytest.approx((1e-3, 1e-2, 1e-1, 1, 10, 100, 1e3, 1e4)) == DAMPING_GRID


def test_search_passes_over_dampings_that_cannot_be_factorised() -> None:
    hessian = torch.ones(16, 16) - 2 * torch.eye(16)  # eigenvalues -2 and 14, mean diagonal -1
    hessian.diagonal().add_(1.5)
    statistics = InputStatistics.from_hessian(hessian)
    weight, grid = weights(4, 16, seed=14), parse_format("int3_row")
    with pytest.raises(HessianError):
        gptq(weight, statistics, grid, GptqOptions(damping=0.01))
    assert torch.isfinite(gptq(weight, statistics, grid, GptqOptions(damping_rule="search"))).all()
    hopeless = InputStatistics.from_hessian(-torch.eye(16) - torch.ones(16, 16))
    with pytest.raises(HessianError, match="not positive definite"):
        gptq(weight, hopeless, grid, GptqOptions(damping_rule="search"))


def test_absolute_damping_is_in_squared_input_units() -> None:
    weight, statistics, grid = (
        weights(16, 64, seed=15),
        statistics_of(inputs(64, 300, seed=16)),
        parse_format("int3_g32"),
    )
    mean = float(statistics.hessian.diagonal().double().mean())
    absolute = gptq(weight, statistics, grid, GptqOptions(damping_rule="absolute", damping=0.1 * mean))
    relative = gptq(weight, statistics, grid, GptqOptions(damping=0.1))
    assert ((absolute - relative).abs() < 1e-4).float().mean() > 0.999
    assert not torch.equal(absolute, gptq(weight, statistics, grid, GptqOptions(damping=0.2 * mean)))


def test_every_column_choice_lowers_the_output_error_of_a_block_format() -> None:
    weight, statistics, grid = (
        weights(32, 128, seed=17),
        statistics_of(inputs(128, 600, seed=18)),
        parse_format("mxint3_k16"),
    )
    nearest = output_error(weight, quantize_groups(weight, grid), statistics.hessian)
    for settings in ({}, {"micro_block": 16}, {"order": "group_aware"}, {"order": "activation"}, {"scales": "static"}):
        quantized = gptq(weight, statistics, grid, GptqOptions(**settings))
        assert output_error(weight, quantized, statistics.hessian) < 0.95 * nearest


def test_bad_options() -> None:
    for bad, said in (
        ({"damping_rule": "searched"}, "Did you mean 'search'"),
        ({"order": "group_awar"}, "Did you mean 'group_aware'"),
        ({"micro_block": 0}, "at least 1"),
        ({"micro_block": 1.5}, "at least 1"),
        ({"micro_block": True}, "at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            make_variant("gptq", "int4_g128", bad)
