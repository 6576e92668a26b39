"""NVFP4 against the published formula in numpy float32, with both roundings by search."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import bits_per_weight, group_parameters, parse_format, quantize_groups
from tests.formats import reference


def plain(weight: np.ndarray, k: int, single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight quantized and what it is multiplied by: blocks of k along rows, float32 in the stated order."""
    f = np.float32
    t = f(1) if single else np.abs(weight).max() / f(448 * 6)
    blocks = weight.reshape(-1, k)
    wanted = np.abs(blocks).max(1, keepdims=True) / f(6) / t
    b = reference.nearest(np.clip(wanted, f(2**-6), f(448)).astype(np.float64), "e4m3").astype(f)
    factor = f(1) / t / b
    rounded = reference.nearest((blocks * factor).astype(np.float64), "e2m1").astype(f)
    return (rounded * (t * b)).reshape(weight.shape), factor.reshape(len(weight), -1)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("k", [8, 16, 32])
def test_equals_the_plain_rule(k: int, single: bool) -> None:
    rng = np.random.default_rng(k)
    for scale in (1.0, 1e-3, 300.0, 1e-12):
        weight = (rng.standard_normal((32, 64)) * rng.standard_normal((32, 64)) ** 4 * scale).astype(np.float32)
        weight[0] = 0
        weight[1, :32] = rng.choice([0.25, 0.5, 0.75, 1.25, 2.5, 3.5, 5, 6], 32) * scale
        grid = parse_format(f"nvfp4_k{k}" + "_single" * single)
        quantized, factor = plain(weight, k, single)
        assert (quantize_groups(torch.from_numpy(weight), grid).numpy() == quantized).all()
        assert (group_parameters(torch.from_numpy(weight), grid)[..., 1].numpy() == factor).all()


def test_the_scale_of_the_tensor_is_shared_by_its_blocks() -> None:
    weight = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    tensor_scale = float(weight.abs().max()) / (448 * 6)
    scales = group_parameters(weight, parse_format("nvfp4_k16"))[..., 0] / tensor_scale
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    assert (scales.unsqueeze(-1) - codes[codes.isfinite()]).abs().amin(-1).max() < 1e-3
    assert scales.max() == pytest.approx(448)
    with pytest.raises(AssertionError, match="prepare"):
        parse_format("nvfp4_k16").parameters(weight)


def test_zeros_bad_values_and_bits() -> None:
    for name in ("nvfp4_k16", "nvfp4_k16_single"):
        grid = parse_format(name)
        assert quantize_groups(torch.zeros(2, 32), grid).tolist() == torch.zeros(2, 32).tolist()
        assert quantize_groups(torch.zeros(2, 0), grid).shape == (2, 0)
        weight = torch.ones(2, 32)
        for bad in (float("nan"), float("inf")):
            weight[0, 3] = bad
            assert quantize_groups(weight, grid)[0, :16].isnan().all()
    assert bits_per_weight(64, parse_format("nvfp4_k16")) == 4.5
    assert bits_per_weight(64, parse_format("nvfp4_k16"), rows=8) == 4.5 + 32 / 512
    assert bits_per_weight(64, parse_format("nvfp4_k16_single"), rows=8) == 4.5


def test_refuses_names() -> None:
    for name in ("nvfp4", "nvfp4_k0", "nvfp4_g16", "nvfp4_k16_double", "nvfp8_k16"):
        with pytest.raises(InputError):
            parse_format(name)
