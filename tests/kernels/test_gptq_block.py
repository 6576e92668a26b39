"""The Triton column loop against the torch formats and a plain loop; on a CPU through Triton's interpreter."""

import pytest
import torch

from bitlaw.formats import parse_format
from bitlaw.formats.integer import IntegerFormat
from bitlaw.kernels import gptq_columns, grids
from bitlaw.quantize import InputStatistics
from bitlaw.quantize.gptq import GptqOptions, gptq

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
pytest.importorskip("triton")
# The interpreter divides columns by the scale of other groups too, which a mask leaves out behind it.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


@pytest.fixture(autouse=True)
def _many_rows_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs programs one after the other."""
    monkeypatch.setattr("bitlaw.kernels.gptq_block.FULL", 2)


def plain(block, factor, width, cell, variants, given=None):
    """Cell by cell, each variant's rows (format, rows) by its own format; given [variants] of [rows, groups, p]."""
    rest, values, errors = block.clone(), torch.empty_like(block), torch.empty_like(block)
    now = [None] * len(variants)
    for start in range(0, len(block), cell):
        stop = min(start + cell, len(block))
        for number, (grid, rows) in enumerate(variants):
            for place in range(start, stop, min(cell, width)):
                end = min(place + min(cell, width), stop)
                if given is not None:
                    now[number] = given[number][:, place // width]
                elif place % width == 0:
                    now[number] = grid.parameters(rest[place : place + width, rows].T)
                values[place:end, rows] = grid.round(rest[place:end, rows].T, now[number]).T
        for j in range(start, stop):
            errors[j] = (rest[j] - values[j]) / factor[j, j]
            rest[j + 1 :] -= factor[j, j + 1 :, None] * errors[j]
    return values, errors


def problem(
    columns: int, rows: int, seed: int, device: str = "cpu", huge: float = 1e36
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a block [columns, rows] and a factor; rows of zeros, of ties, of one outlier, tiny, huge and constant."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.triu(0.2 * torch.randn(columns, columns, generator=generator) / columns**0.5, diagonal=1)
    factor.diagonal().copy_(0.5 + torch.rand(columns, generator=generator))
    block = torch.randn(columns, rows, generator=generator)
    block[:, 0] = 0.0
    block[:, 1] = torch.arange(columns) * 0.5 - 3.0
    block[columns // 2, 2] = 100.0
    block[:, 3] *= 1e-38
    block[:, 4] *= huge
    block[:, 5] = 0.3
    return block.to(device), factor.to(device)


def huge_for(name: str) -> float:
    """A scale of the whole tensor would round all other rows to zero."""
    return 1.0 if name.startswith("nvfp4") and "single" not in name else 1e36


def launched(block, factor, width, cell, variants, given=None):
    """Return values and errors of one launch; block [columns, rows], factor [columns, columns]."""
    from bitlaw.kernels.gptq_block import quantize_block

    made = [grids.grid_of(grid, block[:, rows].T) for grid, rows in variants]
    rows = grids.row_grids(made, [r.stop - r.start for _, r in variants], block.device)
    before, values = block.clone(), torch.empty_like(block)
    packed, group_of = None, None
    if given is not None:
        packed = torch.cat([grid.pack(own) for grid, own in zip(made, given, strict=True)])
        packed = packed.permute(1, 2, 0)[None].contiguous()
        group_of = (torch.arange(len(block)) // width).int().to(block.device)
    errors = quantize_block(
        block[None], factor[None], width, rows, values[None], cell=cell, given=packed, group_of=group_of
    )
    assert torch.equal(block, before)
    return values, errors[0]


def same(got: torch.Tensor, want: torch.Tensor) -> float:
    """Return the share that is equal but for roundings, rows compared by their own largest value."""
    scale = want.abs().amax(0, keepdim=True)
    return float(((got - want).abs() <= 1e-4 * scale).float().mean())


def same_errors(got: torch.Tensor, want: torch.Tensor, block: torch.Tensor, factor: torch.Tensor) -> float:
    """Return the share of errors (w - v) / U_jj that is equal but for roundings.

    A row's weights may all lie on the grid. Its errors are 0 then, or what a fused multiply-add leaves of them, which is a rounding of
    w and not of the error: such a rounding may be apart too.
    """
    rounding = torch.finfo(torch.float32).eps * block.abs().amax(0, keepdim=True) / factor.diagonal()[:, None]
    within = 1e-4 * want.abs().amax(0, keepdim=True) + 8 * rounding
    return float(((got - want).abs() <= within).float().mean())


def test_errors_that_are_roundings_of_a_weight_are_told_from_others() -> None:
    """Weights on the grid have errors of 0 in torch; a multiply-add that rounds once leaves part of the product's rounding."""
    block, factor = torch.full((4, 3), 0.3), torch.eye(4) * 0.5
    values = 3 * (torch.tensor(0.3) / 3)
    errors = (block - values) / 0.5
    step = (torch.tensor(0.3) / 3).double()
    fused = ((block.double() - 3 * step) / 0.5).float()
    assert not errors.any()
    assert fused.any()
    assert same(fused, errors) < 1.0
    assert same_errors(fused, errors, block, factor) == 1.0
    assert same_errors(fused + 2e-6, errors, block, factor) < 1.0


def bound(names: list[str], rows: int, block: torch.Tensor):
    """Return (format bound to its rows, rows) of formats stacked one after the other."""
    slices = [slice(number * rows, number * rows + rows) for number in range(len(names))]
    return [(parse_format(name).prepare(block[:, s].T), s) for name, s in zip(names, slices, strict=True)]


INSIDE = [
    "int2_g16",
    "int4_g16_sym",
    "int8_g16",
    "int1.58_g16",
    "int1.58_g16_absmax",
    "mxint4_k16",
    "mxint2_k16_even",
    "mxfp4_e2m1_k16",
    "mxfp6_e3m2_k16_rceil",
    "mxfp8_e5m2_k16_ceil",
    "mxfp3_e1m1_k16_away",
    "nvfp4_k16",
    "nvfp4_k16_single",
    "fp4_e2m1_g16",
    "fp8_e4m3_g16",
    "fp4_e3m0_g16_away",
    "nf4_g16",
    "fp4bnb_g16",
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", [1, 8, 32])
@pytest.mark.parametrize("name", INSIDE)
def test_every_choice_and_rounding(name: str, cell: int, device: str) -> None:
    """Groups of 16, the last one short: a column, half a group and two groups at once."""
    block, factor = problem(40, 9, len(name), device, huge_for(name))
    variants = bound([name], 9, block)
    got = launched(block, factor, 16, cell, variants)
    want = plain(block, factor, 16, cell, variants)
    assert same(got[0], want[0]) == 1.0
    assert same_errors(got[1], want[1], block, factor) == 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", [1, 16])
@pytest.mark.parametrize("name", ["int3_g8", "mxfp4_e2m1_k8", "nvfp4_k8", "nf4_g8", "kmeans2_g8", "int4_g8_mse"])
def test_given_parameters(name: str, cell: int, device: str) -> None:
    block, factor = problem(32, 9, 6, device, huge_for(name))
    variants = bound([name], 9, block)
    given = [grid.parameters(block[:, rows].T.reshape(9, 4, 8)) for grid, rows in variants]
    got, _ = launched(block, factor, 8, cell, variants, given)
    want, _ = plain(block, factor, 8, cell, variants, given)
    assert same(got, want) == 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("names", "cell"),
    [
        (["int2_g16", "int3_g16_sym", "int8_g16"], 1),
        (["mxint6_k16", "mxint2_k16", "mxfp6_e2m3_k16", "mxfp6_e3m2_k16", "mxfp4_e2m1_k16", "mxfp3_e1m1_k16"], 16),
        (["nf4_g16", "fp4bnb_g16"], 1),
    ],
)
def test_variants_stacked_as_rows(names: list[str], cell: int, device: str) -> None:
    one, factor = problem(32, 7, 5, device)
    block = one.repeat(1, len(names))
    variants = bound(names, 7, block)
    got, _ = launched(block, factor, 16, cell, variants)
    want, _ = plain(block, factor, 16, cell, variants)
    assert same(got, want) == 1.0


@pytest.mark.parametrize(("columns", "width"), [(1, 1), (17, 17), (16, 16)])
def test_groups_of_the_whole_block(columns: int, width: int) -> None:
    """A group without zeros or of one sign reaches to zero all the same."""
    block, factor = problem(columns, 9, seed=11)
    block = block.abs() + 0.5
    variants = bound([f"int4_g{width}"], 9, block)
    got, want = launched(block, factor, width, 1, variants), plain(block, factor, width, 1, variants)
    assert same(got[0], want[0]) == 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", [1, 16])
def test_a_factor_for_each_damping(cell: int, device: str) -> None:
    from bitlaw.kernels.gptq_block import quantize_block

    problems = [problem(32, 7, seed, device) for seed in (1, 2, 3)]
    factors = torch.stack([factor for _, factor in problems])
    rest = torch.stack([torch.cat((block, torch.ones(16, 7, device=device))) for block, _ in problems])
    block = rest[:, :32]  # as in the loop: part of a table
    grid = parse_format("mxint3_k16")
    rows = grids.row_grids([grids.grid_of(grid, block[0])], [7], block.device)
    values = torch.zeros_like(rest)
    errors = quantize_block(block, factors, 16, rows, values[:, :32], cell=cell)
    assert not values[:, 32:].any()
    for number in range(3):
        want = plain(block[number], factors[number], 16, cell, [(grid, slice(0, 7))])
        assert same(values[number, :32], want[0]) == 1.0
        assert same_errors(errors[number], want[1], block[number], factors[number]) == 1.0


def statistics(columns: int, device: str = "cpu") -> tuple[InputStatistics, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(400, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    made = InputStatistics(columns, device)
    made.add(inputs.to(device))
    return made, torch.randn(11, columns, generator=generator).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("int3_g16", {"block_size": 32}),
        ("int3_g16", {"block_size": 32, "scales": "static", "order": "activation"}),
        ("int4_g16_sym", {"order": "group_aware"}),
        ("int2_row", {"block_size": 16}),
        ("int4_g32_short", {"block_size": 32}),
        ("int4_g32_short", {"order": "group_aware"}),  # the short group is not the last: torch chooses
        ("int4_g20_short", {"block_size": 32, "scales": "block"}),
        ("int4_g16_mse", {}),
        ("int4_g16_sym_mse", {"scales": "static"}),
        ("int4_tensor", {"block_size": 32}),
        ("fp8_e4m3_row", {"block_size": 32}),
        ("nvfp4_k16", {"micro_block": 16}),
        ("mxint4_k16", {"micro_block": 8, "order": "activation"}),
        ("mxfp4_e2m1_k32_short", {"micro_block": 32, "block_size": 32}),
        ("mxfp4_e2m1_k32_short", {"micro_block": 16, "order": "group_aware"}),
        ("mxint3_k8", {"micro_block": 24}),
        ("mxint3_k16", {"micro_block": 16, "scales": "static", "order": "activation"}),
        ("kmeans3_row", {"block_size": 32}),
        ("quantile2_g16", {"micro_block": 8}),
        ("nf4_g16", {"damping_rule": "search", "block_size": 24}),
        ("mxint3_k16", {"damping_rule": "search", "micro_block": 16}),
        ("int3_g16", {"damping_rule": "search", "scales": "static"}),
    ],
    ids=str,
)
def test_whole_loop_equals_torch(name: str, settings: dict, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call with and without the kernel; the choice between them is the only thing that differs."""
    seen, weight = statistics(48, device)
    options = GptqOptions(**settings)
    asked = []
    monkeypatch.setattr(gptq_columns, "available", lambda device: bool(asked.append(device)))
    want = gptq(weight, seen, parse_format(name), options)
    assert asked
    launches = []
    real = gptq_columns.solve_on_gpu
    monkeypatch.setattr(gptq_columns, "available", lambda device: True)
    monkeypatch.setattr("bitlaw.quantize.stacked.solve_on_gpu", lambda *a, **k: launches.append(1) or real(*a, **k))
    got = gptq(weight, seen, parse_format(name), options)
    assert launches
    assert float(((got - want).abs() <= 1e-4).float().mean()) >= 0.999


def test_columns_that_no_program_holds_go_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, weight = statistics(300)
    monkeypatch.setattr(gptq_columns, "available", lambda device: True)
    monkeypatch.setattr("bitlaw.quantize.stacked.solve_on_gpu", lambda *a, **k: pytest.fail("not served"))
    made = gptq(weight[:2], seen, parse_format("mxint4_k300"), GptqOptions(micro_block=300))
    assert torch.isfinite(made).all()


def zero_point_ties(block, factor, grid, errors, row: int, column: int) -> bool:
    """Whether the zero point of the group that holds the column lay halfway between two whole numbers."""
    if not isinstance(grid, IntegerFormat) or grid.symmetric:
        return False
    start = column // grid.group_size * grid.group_size
    group = slice(start, start + grid.group_size)
    now = block[group, row] - errors[:start, row] @ factor[:start, group]
    low, high = now.clamp_max(0).min(), now.clamp_min(0).max()
    place = float(-low / (high - low)) * grid.highest_code
    return abs(place % 1.0 - 0.5) < 1e-4


def only_ties_differ(block, factor, cell, grid, got, want) -> None:
    """Assert that 99.99 % of the values are equal, and that the first that differs in a row lay between the two.

    got and want are (values, errors), [columns, rows]. What rounding took from a weight is its errors in the cell so far times the
    factor's column: sum_{i <= j} e_i U_ij. Halfway means within what the sums of the columns before may differ by. Where a zero
    point lies halfway, the ends of the grid differ.
    """
    values, wanted = got[0], want[0]
    largest = wanted.abs().amax(0, keepdim=True)
    differs = (values - wanted).abs() > 1e-4 * largest
    assert float(differs.float().mean()) <= 1e-4
    rows = differs.any(0).nonzero()[:, 0]
    first = differs.int().argmax(0)[rows]
    place = torch.arange(len(block), device=block.device)[:, None]
    shares = torch.where((place >= first // cell * cell) & (place <= first), factor[:, first], 0.0)
    above, below = ((errors[:, rows] * shares).sum(0) for _, errors in (got, want))
    rounding = 1e-5 * block[:, rows].abs().amax(0)
    apart = (above + below).abs() > 2e-3 * (above - below).abs() + rounding
    for row, column in zip(rows[apart].tolist(), first[apart].tolist(), strict=True):
        assert zero_point_ties(block, factor, grid, want[1], row, column), (grid.name, row, column, above, below)


@pytest.mark.parametrize("cell", [1, 32])
@pytest.mark.parametrize("name", ["int3_g32", "mxint3_k32", "fp8_e4m3_g32"])
def test_ties_are_told_from_errors(name: str, cell: int) -> None:
    """The same loop in float64 differs at ties alone; a value that is a step off elsewhere is found."""
    block, factor = problem(64, 6000, cell)
    variants = bound([name], 6000, block)
    want = plain(block, factor, 32, cell, variants)
    exact = plain(block.double(), factor.double(), 32, cell, variants)
    got = exact[0].float(), exact[1].float()
    only_ties_differ(block, factor, cell, variants[0][0], got, want)
    values, errors = got[0].clone(), got[1].clone()
    step = 0.2 * values[40, 6].abs() + 0.1
    values[40, 6] += step
    errors[40, 6] -= step / factor[40, 40]
    with pytest.raises(AssertionError):
        only_ties_differ(block, factor, cell, variants[0][0], (values, errors), want)


GPU_FORMATS = ["int2_g32", "int3_g128_sym", "int4_g64", "int1.58_g128", "mxint4_k32", "mxfp6_e3m2_k32_rceil", "nvfp4_k16",
               "fp8_e4m3_g128", "fp4_e2m1_g32_away", "nf4_g64", "kmeans3_g128"]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("cell", [1, 32])
@pytest.mark.parametrize("name", GPU_FORMATS)
def test_blocks_of_128_columns_on_a_gpu(name: str, cell: int) -> None:
    block, factor = problem(128, 24_576, cell, "cuda", huge_for(name))
    grid = parse_format(name)
    variants = bound([name], 24_576, block)
    given = None
    if name.startswith("kmeans"):
        given = [grid.parameters(block.T.reshape(24_576, 1, 128))]
    got = launched(block, factor, grid.group_size, cell, variants, given)
    only_ties_differ(
        block, factor, cell, variants[0][0], got, plain(block, factor, grid.group_size, cell, variants, given)
    )


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("int4_g128", {}),
        ("int4_g32_sym", {"scales": "static", "order": "activation"}),
        ("int3_g128_sym_mse", {"scales": "static"}),
        ("int4_g128", {"scales": "block", "order": "group_aware"}),
        ("mxfp4_e2m1_k32", {"micro_block": 32}),
        ("mxint3_k128", {"micro_block": 128, "damping_rule": "search"}),
        ("nvfp4_k16", {}),
        ("nf4_g64", {}),
        ("fp8_e4m3_row", {}),
        ("kmeans4_row", {"micro_block": 64}),
    ],
    ids=str,
)
def test_a_large_layer_on_a_gpu(name: str, settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """4096 x 4096: the layer's error is the torch loop's, and so are the codes before the first tie of a row."""
    from bitlaw.quantize.error import output_error

    torch.backends.cuda.matmul.allow_tf32 = False
    generator = torch.Generator("cuda").manual_seed(9)
    mixing = torch.randn(4096, 4096, device="cuda", generator=generator) / 64 + torch.eye(4096, device="cuda")
    seen = InputStatistics(4096, "cuda")
    seen.add(torch.randn(16_384, 4096, device="cuda", generator=generator) @ mixing)
    weight = torch.randn(4096, 4096, device="cuda", generator=generator) * 0.02
    options, grid = GptqOptions(**settings), parse_format(name)
    monkeypatch.setattr(gptq_columns, "available", lambda device: False)
    want = gptq(weight, seen, grid, options)
    monkeypatch.setattr(gptq_columns, "available", lambda device: True)
    got = gptq(weight, seen, grid, options)
    errors = [output_error(weight, made, seen.hessian) for made in (want, got)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    step = weight.abs().amax(1, keepdim=True) * 1e-3
    assert float(((got - want).abs() <= step).float().mean()) >= 0.99
