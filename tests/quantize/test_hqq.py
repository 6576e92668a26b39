"""HQQ against a plain float64 transcription of its iteration, and against the hqq package where it is installed."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import make_variant
from bitlaw.quantize.hqq import HqqOptions, half_quadratic, hqq, shrink
from tests.quantize.toys import weights


def plain_hqq(groups: np.ndarray, bits: int, p=0.7, beta=10.0, kappa=1.0, iterations=20) -> np.ndarray:
    w, top = groups.astype(np.float64), 2**bits - 1
    s = top / (w.max(1) - w.min(1))
    z = -w.min(1) * s
    if bits == 4:
        z = np.round(z)
    best = np.inf
    for i in range(iterations):
        q = np.clip(np.round(w * s[:, None] + z[:, None]), 0, top)
        r = (q - z[:, None]) / s[:, None]
        e = w - r
        with np.errstate(divide="ignore"):
            e = np.sign(e) * np.maximum(np.abs(e) - np.abs(e) ** (p - 1) / (beta * kappa**i), 0)
        z = np.mean(q - (w - e) * s[:, None], 1)
        error = np.abs(w - r).mean()
        if error >= best:
            break
        best = error
    return (np.clip(np.round(w * s[:, None] + z[:, None]), 0, top) - z[:, None]) / s[:, None]


@pytest.mark.parametrize("kappa", [1.0, 1.01])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [16, 64])
def test_equals_plain_iteration(bits: int, group: int, kappa: float) -> None:
    weight = weights(32, 64, seed=bits)
    got = hqq(weight, None, parse_format(f"int{bits}_g{group}"), HqqOptions(kappa=kappa))
    want = plain_hqq(weight.reshape(-1, group).numpy(), bits, kappa=kappa).reshape(32, 64)
    step = (weight.max() - weight.min()) / 2**bits
    assert float(((got.weight - torch.from_numpy(want)).abs() < 1e-3 * step).float().mean()) > 0.998
    assert got.stored_bits == weight.numel() * bits + weight.numel() / group * 32


def test_lowers_the_norm_it_minimises_and_keeps_codes() -> None:
    weight, grid = weights(64, 128, seed=1), parse_format("int2_g64")
    made = hqq(weight, None, grid, HqqOptions()).weight

    def norm(quantized: torch.Tensor) -> float:
        return float((quantized - weight).abs().pow(0.7).mean())

    assert norm(made) < norm(quantize_groups(weight, grid))
    assert all(len(group.unique()) <= 4 for group in made.reshape(-1, 64))


def test_shrink_is_the_soft_threshold_for_norm_one() -> None:
    x = torch.tensor([-2.0, -0.05, 0.0, 0.05, 3.0])
    torch.testing.assert_close(shrink(x, beta=10.0, norm=1.0), torch.tensor([-1.9, 0.0, 0.0, 0.0, 2.9]))
    assert torch.isfinite(shrink(x, beta=10.0, norm=0.7)).all()


def test_short_last_group_constant_groups_and_one_weight() -> None:
    weight = weights(4, 40, seed=2)
    weight[1, :32] = 0.25
    made = hqq(weight, None, parse_format("int4_g32_short"), HqqOptions())
    torch.testing.assert_close(made.weight[:, 32:], half_quadratic(weight[:, 32:], 4, HqqOptions()))
    assert torch.isfinite(made.weight).all()
    assert made.stored_bits == 160 * 4 + 8 * 32
    one = torch.tensor([[0.5]])
    torch.testing.assert_close(hqq(one, None, parse_format("int4_row"), HqqOptions()).weight, one, atol=0.51, rtol=0)


@pytest.mark.parametrize(
    "name", ["int4_g64_sym", "int4_tensor", "int4_g64_mse", "mxint4_k32", "nf4_g64", "int1.58_g64"]
)
def test_refuses_formats_whose_grid_it_cannot_choose(name: str) -> None:
    with pytest.raises(InputError, match=f"int4_g64, not {name}"):
        hqq(weights(4, 64, seed=3), None, parse_format(name), HqqOptions())


def test_bad_options() -> None:
    for bad in ({"norm": 1.2}, {"beta": 0.0}, {"kappa": 0.9}, {"iterations": 0}):
        with pytest.raises(InputError, match=next(iter(bad))):
            make_variant("hqq", "int4_g64", bad)


@pytest.mark.peer
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [16, 64, 128])
def test_equals_the_hqq_package(bits: int, group: int) -> None:
    package = pytest.importorskip("hqq.core.quantize")
    weight = weights(96, 128, seed=10 + bits)
    codes, meta = package.Quantizer.quantize(
        weight,
        nbits=bits,
        group_size=group,
        round_zero=bits == 4,
        axis=1,
        bitpack=False,
        compute_dtype=torch.float32,
        device="cpu",
    )
    want = package.Quantizer.dequantize(codes, {**meta, "compute_dtype": torch.float32})
    got = hqq(weight, None, parse_format(f"int{bits}_g{group}"), HqqOptions()).weight
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
