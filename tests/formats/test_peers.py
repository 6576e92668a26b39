"""Formats against the packages that define them, element by element. Run by scripts/test-peers, which installs them.

Where a peer leaves its own definition (rounded logarithms, scales at the end of E8M0, infinities), the comparison leaves
those blocks out by a stated rule, and a test shows that the difference is there.
"""

import itertools

import numpy as np
import pytest
import torch

from bitlaw.formats import parse_format, quantize_groups
from tests.formats import reference

pytestmark = pytest.mark.peer
K = 32
TORCHAO = {
    "e4m3": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
    "e2m3": "fp6_e2m3",
    "e3m2": "fp6_e3m2",
    "e2m1": torch.float4_e2m1fn_x2,
}
RULES = ("floor", "ceil", "rceil", "even")


def hard_blocks(element: str) -> torch.Tensor:
    """Return blocks [n, 32]: random at many scales, and full of grid values, ties and their neighbours."""
    rng = np.random.default_rng(3)
    random = rng.standard_normal((400, K)) * np.exp2(rng.integers(-60, 60, (400, 1)))
    maxima = rng.uniform(-1, 1, (512, K))
    maxima[:, 0] = 1 + np.arange(512) / 512
    pool = reference.probes(element)
    pool = pool[np.isfinite(pool) & (np.abs(pool) < 2.0**60) & ((np.abs(pool) > 2.0**-60) | (pool == 0))]
    chosen = rng.choice(pool, (600, K))
    near = np.clip(chosen, -4 * reference.magnitudes(element)[-1], 4 * reference.magnitudes(element)[-1])
    made = np.concatenate([random, maxima, chosen, near]).astype(np.float32)
    made[::50] = 0
    made[7::50, 3] = np.nan
    return torch.from_numpy(made)


def torchao_mx(x: torch.Tensor, element: str, rule: str) -> torch.Tensor:
    mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
    mode = mx.ScaleCalculationMode(rule)
    scale, data = mx.to_mx(x, TORCHAO[element], K, mode)
    return mx.to_dtype(data, scale, TORCHAO[element], K, torch.float32)


@pytest.mark.parametrize(("element", "rule"), list(itertools.product(TORCHAO, RULES)))
def test_mx_equals_torchao(element: str, rule: str) -> None:
    x = hard_blocks(element)
    bits = 1 + int(element[1]) + int(element[3])
    grid = parse_format(f"mxfp{bits}_{element}_k{K}" + ("" if rule == "floor" else f"_{rule}"))
    got, want = quantize_groups(x, grid), torchao_mx(x, element, rule)
    equal = ((got == want) | (got.isnan() & want.isnan())).all(1)
    if rule == "rceil":
        # torchao rounds log2 to float32: beside a power of two its exponent may be one less. CUDA's own conversion is exact.
        descale = x.abs().amax(1) / reference.magnitudes(element)[-1]
        beside = torch.frexp(descale).mantissa
        equal |= (beside > 0.5) & (beside < 0.5 + 2.0**-16)
    assert equal.all(), (x[~equal][0], got[~equal][0], want[~equal][0])
    assert len(x) > 2000


def test_where_torchao_leaves_the_definition() -> None:
    """These are why the comparison above leaves blocks out: they must be there, else the exceptions can go."""
    one_above = float(np.nextafter(np.float32(2.0**40), np.float32(np.inf)))
    block = torch.zeros(1, K)
    block[0, 0] = 6 * one_above
    exact = quantize_groups(block, parse_format("mxfp4_e2m1_k32_rceil"))
    assert reference.shared_exponent(float(block[0, 0]), "e2m1", "rceil") == 41
    assert exact[0, 0] == 3 * 2.0**41
    assert torchao_mx(block, "e2m1", "rceil")[0, 0] == 6 * 2.0**40
    block[0, 0] = torch.inf
    assert not torchao_mx(block, "e2m1", "floor").isnan().any()
    assert quantize_groups(block, parse_format("mxfp4_e2m1_k32")).isnan().all()
    block[0, 0] = 2.0**-125
    assert quantize_groups(block, parse_format("mxfp4_e2m1_k32"))[0, 0] == 2.0**-125
    assert torchao_mx(block, "e2m1", "floor")[0, 0] == 2.0**-126  # it divides by 2^-126 and multiplies by 2^-127


@pytest.mark.parametrize("single", [False, True])
def test_nvfp4_equals_torchao(single: bool) -> None:
    nv = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")
    rng = np.random.default_rng(4)
    for scale in (1.0, 0.02, 1e-6, 200.0):
        x = torch.from_numpy(
            (rng.standard_normal((128, 256)) * rng.standard_normal((128, 256)) ** 4 * scale).astype(np.float32)
        )
        x[0] = 0
        x[1:64] = (
            torch.from_numpy(rng.choice([0.25, 0.5, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6], (63, 256)).astype(np.float32))
            * scale
        )
        per_tensor = None if single else nv.per_tensor_amax_to_scale(x.abs().amax())
        want = nv.NVFP4Tensor.to_nvfp4(x, per_tensor_scale=per_tensor).dequantize(torch.float32)
        assert torch.equal(quantize_groups(x, parse_format("nvfp4_k16" + "_single" * single)), want)


@pytest.mark.parametrize("table", ["nf4", "fp4"])
@pytest.mark.parametrize("group", [64, 128, 4096])
def test_tables_equal_bitsandbytes(table: str, group: int) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    ours = {"nf4": "nf4", "fp4": "fp4bnb"}[table]
    entries = functional.get_4bit_type(table, device="cpu").sort().values
    grid = parse_format(f"{ours}_g{group}")
    values = grid.values(torch.ones(1))
    assert torch.equal(values, entries.unique())
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(64, 4096, generator=generator) * torch.randn(64, 1, generator=generator).exp()
    ties = (values[1:] + values[:-1]) / 2
    near = torch.cat([values, ties, ties.nextafter(torch.tensor(9.0)), ties.nextafter(torch.tensor(-9.0))])
    x[:32] = near[torch.randint(len(near), (32, 4096), generator=generator)]
    x[:32, ::group] = 1.0
    x[32] = 0
    packed, state = functional.quantize_4bit(x, blocksize=group, quant_type=table)
    want = functional.dequantize_4bit(packed, state)
    assert torch.equal(quantize_groups(x, grid), want)
