"""The Triton column loop against the torch formats and a plain loop; on a CPU through Triton's interpreter."""

import pytest
import torch

from bitlaw.formats.integer import IntegerFormat

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytest.importorskip("triton")


def plain(block, factor, width, grids, parameters=None):
    """Column by column, each variant's rows by its own format."""
    rest, values, errors = block.clone(), torch.empty_like(block), torch.empty_like(block)
    now = [None] * len(grids)
    for j in range(block.shape[0]):
        for number, (grid, rows) in enumerate(grids):
            if parameters is not None:
                now[number] = parameters[j // width][:, rows].T
            elif j % width == 0:
                now[number] = grid.parameters(rest[j : j + width, rows].T)
            values[j, rows] = grid.round(rest[j, rows].unsqueeze(-1), now[number]).squeeze(-1)
        errors[j] = (rest[j] - values[j]) / factor[j, j]
        rest[j + 1 :] -= factor[j, j + 1 :, None] * errors[j]
    return values, errors


def problem(columns: int, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.triu(0.2 * torch.randn(columns, columns, generator=generator))
    factor.diagonal().copy_(0.5 + torch.rand(columns, generator=generator))
    block = torch.randn(columns, rows, generator=generator)
    block[:, 0] = 0.0
    block[:, 1] = torch.arange(columns) * 0.5 - 3.0  # ties on many grids
    block[columns // 2, 2] = 100.0
    return block.to(DEVICE), factor.to(DEVICE)


def same(got: torch.Tensor, want: torch.Tensor) -> float:
    return float(((got - want).abs() <= 1e-4 * (1 + want.abs())).float().mean())


@pytest.mark.parametrize(("columns", "width"), [(32, 32), (32, 8), (24, 12), (17, 17)])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_dynamic_scales(columns: int, width: int, symmetric: bool, bits: int) -> None:
    from bitlaw.kernels.gptq_block import quantize_block

    block, factor = problem(columns, 21, seed=bits)
    grid = IntegerFormat(bits=bits, group_size=width, symmetric=symmetric)
    highest = torch.full((21,), float(grid.highest_code), device=DEVICE)
    flags = torch.full((21,), int(symmetric), dtype=torch.int8, device=DEVICE)
    before = block.clone()
    got = quantize_block(block, factor, width, highest, flags)
    want = plain(block, factor, width, [(grid, slice(None))])
    assert same(got[0], want[0]) >= 0.999
    assert same(got[1], want[1]) >= 0.99
    assert torch.equal(block, before)


def test_variants_stacked_as_rows() -> None:
    from bitlaw.kernels.gptq_block import quantize_block

    one, factor = problem(32, 10, seed=5)
    grids = [IntegerFormat(bits=b, group_size=16, symmetric=s) for b, s in ((2, False), (3, True), (8, False))]
    stacked = one.repeat(1, 3)
    highest = torch.tensor([float(g.highest_code) for g in grids], device=DEVICE).repeat_interleave(10)
    flags = torch.tensor([int(g.symmetric) for g in grids], dtype=torch.int8, device=DEVICE).repeat_interleave(10)
    got, _ = quantize_block(stacked, factor, 16, highest, flags)
    for number, grid in enumerate(grids):
        want, _ = plain(one, factor, 16, [(grid, slice(None))])
        assert same(got[:, number * 10 : number * 10 + 10], want) >= 0.999


def test_given_parameters() -> None:
    from bitlaw.kernels.gptq_block import quantize_block

    block, factor = problem(32, 12, seed=6)
    grid = IntegerFormat(bits=3, group_size=8)
    parameters = grid.parameters(block.T.reshape(12, 4, 8)).permute(1, 2, 0).contiguous()
    highest = torch.full((12,), 7.0, device=DEVICE)
    got, _ = quantize_block(block, factor, 8, highest, torch.zeros(12, dtype=torch.int8, device=DEVICE), parameters)
    want, _ = plain(block, factor, 8, [(grid, slice(None))], parameters)
    assert same(got, want) >= 0.999


@pytest.mark.parametrize(
    ("name", "block_size", "scales", "order"),
    [
        ("int3_g16", 32, "dynamic", "none"),
        ("int3_g16", 32, "static", "activation"),
        ("int4_g16_sym", 128, "dynamic", "group_aware"),
        ("int2_row", 16, "dynamic", "none"),
        ("int4_g32_short", 32, "dynamic", "none"),
    ],
)
def test_whole_loop_equals_torch(
    name: str, block_size: int, scales: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call with and without the kernel; the choice between them is the only thing that differs."""
    from bitlaw.formats import parse_format
    from bitlaw.kernels import gptq_columns
    from bitlaw.quantize import InputStatistics
    from bitlaw.quantize.gptq import GptqOptions, gptq

    generator = torch.Generator().manual_seed(7)
    columns = 48
    inputs = torch.randn(400, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    statistics = InputStatistics(columns, DEVICE)
    statistics.add(inputs.to(DEVICE))
    weight = torch.randn(19, columns, generator=generator).to(DEVICE)
    options = GptqOptions(scales=scales, order=order, block_size=block_size)
    asked = []
    monkeypatch.setattr(gptq_columns, "available", lambda device: bool(asked.append(device)))
    want = gptq(weight, statistics, parse_format(name), options)
    assert asked
    monkeypatch.setattr(gptq_columns, "available", lambda device: True)
    got = gptq(weight, statistics, parse_format(name), options)
    assert same(got, want) >= 0.999


@pytest.mark.gpu
@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_full_blocks_on_a_gpu(width: int, bits: int) -> None:
    from bitlaw.kernels.gptq_block import quantize_block

    block, factor = problem(128, 1000, seed=bits + width)
    factor = torch.triu(factor * 0.1, diagonal=1) + torch.diag(factor.diagonal())
    grid = IntegerFormat(bits=bits, group_size=width)
    highest = torch.full((1000,), float(grid.highest_code), device=DEVICE)
    got = quantize_block(block, factor, width, highest, torch.zeros(1000, dtype=torch.int8, device=DEVICE))
    want = plain(block, factor, width, [(grid, slice(None))])
    assert same(got[0], want[0]) >= 0.999
