"""gwq, cmpq and crossquant: which weights are kept, how widths are given, what a row-and-column scale is; each by definition."""

import itertools
import math

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import make_variant
from bitlaw.quantize.cmpq import CmpqOptions, allocate, cmpq
from bitlaw.quantize.crossquant import CrossquantOptions, crossquant, crossquant_round
from bitlaw.quantize.error import kernel_share, output_error
from bitlaw.quantize.gwq import GwqOptions, gwq
from bitlaw.quantize.outliers import sparse_bits, top_share
from tests.quantize.toys import gradients_of, inputs, statistics_of, weights


def test_top_share_keeps_the_largest_and_breaks_ties_by_place() -> None:
    scores = torch.tensor([[1.0, 5.0, 3.0], [3.0, 3.0, 0.0]])
    assert top_share(scores, 0.5).tolist() == [[False, True, True], [True, False, False]]
    assert top_share(scores, 0.0).sum() == 0
    assert top_share(scores, 1.0).all()
    assert top_share(scores, 0.05).sum() == 0
    big = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    kept = top_share(big, 0.03)
    assert kept.sum() == 60
    assert float(big[kept].min()) > float(big[~kept].max())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25])
def test_gwq_keeps_the_weights_of_largest_gradient_and_counts_them(share: float) -> None:
    x, weight, grid = inputs(64, 400, seed=1), weights(40, 64, seed=2), parse_format("int3_g32")
    gradients = gradients_of(x, 40, seed=3)
    made = gwq(weight, gradients, grid, GwqOptions(share=share))
    number = round(share * weight.numel())
    places = np.argsort(-gradients.absolute.numpy().ravel(), kind="stable")[:number]
    kept = np.zeros(weight.numel(), dtype=bool)
    kept[places] = True
    mask = torch.from_numpy(kept).reshape(weight.shape)
    assert torch.equal(made.weight[mask], weight[mask])
    rest = quantize_groups(weight.masked_fill(mask, 0.0), grid)
    assert torch.equal(made.weight[~mask], rest[~mask])
    assert made.stored_bits == weight.numel() * 3 + 40 * 2 * 19 + number * (16 + math.ceil(math.log2(40 * 64)))


def test_sparse_bits() -> None:
    assert sparse_bits(10, 1024) == 260.0
    assert sparse_bits(10, 1025) == 270.0
    assert sparse_bits(0, 5) == 0.0
    assert sparse_bits(1, 1) == 17.0


@pytest.mark.parametrize("average", [2.0, 2.2, 2.5, 3.0, 3.7, 4.0])
def test_cmpq_widths_are_the_best_of_all_with_that_average(average: float) -> None:
    norms = torch.tensor([9.0, 0.2, 1.0, 4.0, 0.01, 30.0, 2.0])
    widths = allocate(norms, average)
    total = 14 + round((average - 2) * 7)

    def modelled(bits) -> float:
        return sum(float(n) * 4.0**-b for n, b in zip(norms, bits, strict=True))

    best = min((c for c in itertools.product((2, 3, 4), repeat=7) if sum(c) == total), key=modelled)
    assert int(widths.sum()) == total
    assert modelled(widths.tolist()) == pytest.approx(modelled(best))


def test_cmpq_rounds_columns_on_their_own_grids() -> None:
    x, weight = inputs(32, 300, seed=4), weights(48, 32, seed=5)
    statistics, grid = statistics_of(x), parse_format("kmeans3_row")
    plain = CmpqOptions(channel_outliers=0.0, weight_outliers=0.0, average_bits=2.5)
    made = cmpq(weight, statistics, grid, plain)
    widths = allocate(statistics.hessian.diagonal(), 2.5)
    for j, bits in enumerate(widths.tolist()):
        column = quantize_groups(weight[:, j : j + 1].T.contiguous(), parse_format(f"kmeans{bits}_row"))
        torch.testing.assert_close(made.weight[:, j : j + 1], column.T)
    codes = sum(48 * bits + 16 * 2**bits + 2 for bits in widths.tolist())
    assert made.stored_bits == codes
    uniform = cmpq(weight, statistics, parse_format("int3_row"), plain)
    assert output_error(weight, made.weight, statistics.hessian) < output_error(
        weight, uniform.weight, statistics.hessian
    )


def test_cmpq_protects_channels_and_weights() -> None:
    x, weight = inputs(64, 300, seed=6), weights(48, 64, seed=7)
    statistics, grid = statistics_of(x), parse_format("int3_row")
    bare = cmpq(weight, statistics, grid, CmpqOptions(channel_outliers=0.0, weight_outliers=0.0))
    made = cmpq(weight, statistics, grid, CmpqOptions(channel_outliers=0.05, weight_outliers=0.02))
    channels = torch.topk(x.abs().mean(0), 3).indices
    assert torch.equal(made.weight[:, channels], weight[:, channels])
    others = torch.ones(64, dtype=torch.bool)
    others[channels] = False
    errors = (bare.weight - weight).abs()[:, others]
    kept = (made.weight == weight)[:, others]
    assert int(kept.sum()) == round(0.02 * weight.numel())
    assert float(errors[kept].min()) >= float(errors[~kept].max())
    assert made.stored_bits > bare.stored_bits


def test_cmpq_nominal_bits_and_what_it_refuses() -> None:
    assert make_variant("cmpq", "kmeans3_row").bits == 3.0
    assert make_variant("cmpq", "kmeans3_row", {"average_bits": 2.25}).bits == 2.25
    statistics, weight = statistics_of(inputs(32, 100, seed=8)), weights(8, 32, seed=9)
    for name in ("nf4_g64", "mxfp4_e2m1_k32", "int1.58_row"):
        with pytest.raises(InputError, match="such as int3_row or kmeans3_row"):
            cmpq(weight, statistics, parse_format(name), CmpqOptions(average_bits=3.0))
    with pytest.raises(InputError, match="cmpq averages 2 to 4 bits"):
        make_variant("cmpq", "int8_row")
    for bad in ({"average_bits": 4.5}, {"average_bits": -1}, {"channel_outliers": 2}, {"weight_outliers": -0.1}):
        with pytest.raises(InputError, match=next(iter(bad))):
            make_variant("cmpq", "kmeans3_row", bad)


@pytest.mark.parametrize("alpha", [0.0, 0.15, 0.5, 1.0])
def test_crossquant_is_row_and_column_scales(alpha: float) -> None:
    weight = weights(16, 24, seed=10)
    made = crossquant(weight, None, parse_format("int4_row_sym"), CrossquantOptions(alpha=alpha))
    w = weight.double().numpy()
    t = np.abs(w).max(1)[:, None] ** alpha * np.abs(w).max(0)[None, :] ** (1 - alpha)
    step = 2 / 15  # symmetric integers of 4 bits over -1 .. 1
    want = np.clip(np.round(w / t / step), -8, 7) * step * t
    inner = np.abs(w / t) < 1 - 1e-6  # the largest of a row lies on a tie of this grid, -7.5 steps
    assert (np.abs(made.weight.double().numpy() - want) < 1e-4)[inner].all()
    assert inner.mean() > 0.9
    assert made.stored_bits == 16 * 24 * 4 + (16 + 24) * 16 + 16


@pytest.mark.parametrize("name", ["int4_row_sym", "int3_g8_sym"])
def test_crossquant_of_rows_alone_is_nearest(name: str) -> None:
    weight, grid = weights(16, 24, seed=11), parse_format(name)
    made = crossquant(weight, None, grid, CrossquantOptions(alpha=1.0)).weight
    largest = weight.reshape(16, -1, grid.group_size or 24).abs().amax(-1, keepdim=True)
    inner = (weight.reshape(16, -1, grid.group_size or 24).abs() < largest).reshape(16, 24)  # the largest is a tie
    torch.testing.assert_close(made[inner], quantize_groups(weight, grid)[inner], atol=1e-5, rtol=0)


def test_crossquant_shrinks_the_quantization_kernel_of_activations_with_outliers() -> None:
    """The paper's finding: per-token INT8 rounds small elements to zero when a few channels are large."""
    x = inputs(64, 500, seed=12) * torch.where(torch.arange(64) % 16 == 5, 100.0, 1.0)
    grid = parse_format("int8_row_sym")
    per_token = kernel_share(quantize_groups(x, grid))
    cross = kernel_share(crossquant_round(x, grid, 0.15))
    assert per_token > 0.2
    assert cross < 0.25 * per_token


def test_kernel_share_counts_zeros() -> None:
    assert kernel_share(torch.tensor([[0.0, 1.0], [-0.0, 2.0]])) == 0.5
    assert kernel_share(torch.zeros(3, 3)) == 1.0
    assert kernel_share(torch.empty(0)) == 0.0
    for bad in ({"alpha": 1.2}, {"alpha": -0.1}):
        with pytest.raises(InputError, match="from 0 to 1"):
            make_variant("crossquant", "int4_row", bad)
    with pytest.raises(InputError, match="from 0 to 1"):
        make_variant("gwq", "int4_row", {"share": 1.01})
