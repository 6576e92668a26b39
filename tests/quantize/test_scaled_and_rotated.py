"""awq, smooth and rotate: W' = Q(W T) T^-1. Their searches by brute force on tokens, their transforms by definition."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard as sylvester

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import find_method, make_variant
from bitlaw.quantize.awq import (
    CLIP_STEPS,
    CLIP_TRIED,
    AwqGptqOptions,
    AwqOptions,
    awq,
    awq_gptq,
    clip_groups,
    search_scale,
)
from bitlaw.quantize.error import output_error
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.quantize.rotate import RotateGptqOptions, RotateOptions, rotate, rotate_gptq, rotated_statistics
from bitlaw.quantize.rotation import hadamard, rotation
from bitlaw.quantize.smooth import SmoothOptions, migration, smooth
from tests.quantize.toys import inputs, statistics_for, statistics_of, weights

GRID = parse_format("int3_g32")


def test_awq_takes_the_exponent_of_least_output_error_on_the_tokens() -> None:
    x, weight = inputs(64, 400, seed=1), weights(32, 64, seed=2)
    magnitude = x.abs().mean(0)
    errors, scales = [], []
    for step in range(20):
        s = magnitude ** (step / 20)
        s = s / math.sqrt(float(s.max()) * float(s.min()))
        scales.append(s)
        errors.append(float((x @ (quantize_groups(weight * s, GRID) / s - weight).T).square().sum()))
    best = int(np.argmin(errors))
    assert 0 < best < 19, "the toy should have an exponent worth finding"
    torch.testing.assert_close(search_scale(weight, statistics_of(x), GRID, 20), scales[best])
    assert errors[best] < 0.9 * errors[0]


@pytest.mark.parametrize("name", ["int2_g32", "mxint3_k16", "int3_tensor_sym", "int3_g24_short"])
def test_awq_is_never_worse_than_nearest(name: str) -> None:
    grid = parse_format(name)
    for seed in range(4):
        x, weight = inputs(64, 300, seed=10 * seed), weights(16, 64, seed=seed)
        statistics = statistics_of(x)
        nearest = output_error(weight, quantize_groups(weight, grid), statistics.hessian)
        for options in (AwqOptions(), AwqOptions(clip=False), AwqOptions(grid=1)):
            made = awq(weight, statistics, grid, options)
            assert output_error(weight, made.weight, statistics.hessian) <= nearest * (1 + 1e-5)
    assert torch.equal(
        awq(weight, statistics, grid, AwqOptions(grid=1, clip=False)).weight, quantize_groups(weight, grid)
    )


def test_clips_are_those_of_least_error_on_the_groups_own_inputs() -> None:
    x, weight = inputs(32, 200, seed=3), weights(6, 32, seed=4)
    grid = parse_format("int3_g16")
    clipped = clip_groups(weight, statistics_of(x).hessian, grid)
    some = 0
    for row in range(6):
        for start in (0, 16):
            group, tokens = weight[row : row + 1, start : start + 16], x[:, start : start + 16]
            limits = [float(group.abs().max()) * (1 - i / CLIP_STEPS) for i in range(CLIP_TRIED)]
            tried = [group.clamp(-limit, limit) for limit in limits]
            errors = [float((tokens @ (quantize_groups(t, grid) - group).T).square().sum()) for t in tried]
            best = int(np.argmin(errors))
            some += best > 0
            torch.testing.assert_close(clipped[row : row + 1, start : start + 16], tried[best])
    assert some > 2


def test_awq_gptq_is_gptq_on_the_scaled_layer() -> None:
    x, weight = inputs(64, 400, seed=5), weights(24, 64, seed=6)
    statistics = statistics_of(x)
    s = search_scale(weight, statistics, GRID, 20)
    want = gptq(weight * s, statistics_of(x / s), GRID, GptqOptions(scales="static")) / s
    got = awq_gptq(weight, statistics, GRID, AwqGptqOptions(clip=False))
    assert ((got.weight - want).abs() < 1e-4).float().mean() > 0.995
    assert output_error(weight, got.weight, statistics.hessian) < output_error(
        weight, awq(weight, statistics, GRID, AwqOptions(clip=False)).weight, statistics.hessian
    )
    assert got.stored_bits == weight.numel() * 3 + 24 * 2 * (16 + 3) + 64 * 16
    with pytest.raises(InputError, match="Use scales='static', or clip=false"):
        make_variant("awq_gptq", "int4_g128", {"scales": "dynamic"})
    assert make_variant("awq_gptq", "int4_g128", {"scales": "dynamic", "clip": False}).options["clip"] is False


@pytest.mark.parametrize("name", ["awq", "awq_gptq", "smooth", "rotate", "rotate_gptq", "hqq", "gptq", "gwq"])
def test_eight_bits_reproduce_the_weight(name: str) -> None:
    """With 255 steps a group the relative change is below 1 %, scaled, rotated or not."""
    method = find_method(name)
    options = method.make_options({})
    x, weight = inputs(96, 500, seed=7), weights(16, 96, seed=8, outliers=False)
    made = method.quantize(weight, statistics_for(method, options, x, 16), parse_format("int8_g32"), options).weight
    assert float((made - weight).norm() / weight.norm()) < 0.012
    assert float((x @ (made - weight).T).norm() / (x @ weight.T).norm()) < 0.01


def test_smooth_is_equation_4() -> None:
    x, weight = inputs(64, 400, seed=9), weights(24, 64, seed=10)
    x[:, 7] = 0.0
    weight[:, 9] = 0.0
    scale = migration(x.abs().amax(0), weight.abs().amax(0), 0.3)
    for j in (0, 3, 20):
        want = float(x[:, j].abs().max()) ** 0.3 / float(weight[:, j].abs().max()) ** 0.7
        assert float(scale[j]) == pytest.approx(want, rel=1e-5)
    assert scale[7] == scale[9] == 1.0
    got = smooth(weight, statistics_of(x), GRID, SmoothOptions(alpha=0.3))
    torch.testing.assert_close(got.weight, quantize_groups(weight * scale, GRID) / scale)
    assert got.stored_bits == weight.numel() * 3 + 24 * 2 * 19 + 64 * 16


@pytest.mark.parametrize("features", [1, 2, 7, 8, 12, 96, 100, 64])
def test_rotations_are_orthogonal(features: int) -> None:
    turn = rotation(features, seed=3)
    matrix = turn.apply(torch.eye(features))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(features), atol=1e-5, rtol=0)
    x = torch.randn(5, 3, features, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turn.apply(x), x @ matrix, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turn.undo(turn.apply(x)), x, atol=1e-5, rtol=1e-5)
    assert torch.equal(rotation(features, seed=3).apply(x), turn.apply(x))
    if features > 2:
        assert not torch.allclose(rotation(features, seed=4).apply(x), turn.apply(x))


@pytest.mark.parametrize("n", [1, 2, 16, 128])
def test_hadamard_is_sylvesters(n: int) -> None:
    np.testing.assert_allclose(hadamard(torch.eye(n)).numpy(), sylvester(n) / math.sqrt(n), atol=1e-6)


def test_rotated_statistics_are_those_of_rotated_inputs() -> None:
    x = inputs(48, 300, seed=11)
    turn = rotation(48, seed=1)
    got = rotated_statistics(statistics_of(x), turn)
    torch.testing.assert_close(got.hessian, statistics_of(turn.apply(x)).hessian, atol=1e-4, rtol=1e-4)


def test_rotation_spreads_outliers() -> None:
    """One weight in a hundred far out: nearest spends its range on them, rotated groups are near Gaussian."""
    x, weight = inputs(128, 500, seed=12), weights(32, 128, seed=13)
    grid, statistics = parse_format("int3_row_sym"), statistics_of(x)
    nearest = output_error(weight, quantize_groups(weight, grid), statistics.hessian)
    rotated = output_error(weight, rotate(weight, None, grid, RotateOptions()), statistics.hessian)
    both = output_error(weight, rotate_gptq(weight, statistics, grid, RotateGptqOptions()), statistics.hessian)
    assert rotated < 0.7 * nearest
    assert both < 0.6 * rotated
    other = rotate(weight, None, grid, RotateOptions(seed=1))
    assert not torch.equal(other, rotate(weight, None, grid, RotateOptions()))


def test_bad_options() -> None:
    for method, bad in (
        ("awq", {"grid": 0}),
        ("awq", {"clip": "yes"}),
        ("smooth", {"alpha": 1.1}),
        ("smooth", {"alpha": "half"}),
        ("rotate", {"seed": -1}),
        ("rotate_gptq", {"seed": 0.5}),
    ):
        with pytest.raises(InputError, match=next(iter(bad))):
            make_variant(method, "int4_g128", bad)
