"""Every registered method with every example format: what all must do, whoever adds them. Newcomers are picked up."""

import functools
import itertools

import pytest
import torch

from bitlaw.catalog import FORMATS, METHODS, find
from bitlaw.errors import BitlawError, HessianError, InputError, NonFiniteError
from bitlaw.formats import group_starts, parse_format
from bitlaw.quantize import InputStatistics, WeightGradients, find_method, make_variant
from bitlaw.quantize.error import output_error
from bitlaw.quantize.method import GRADIENTS, INPUTS
from tests.quantize.toys import inputs, statistics_for, weights

ROWS, COLUMNS = 20, 64
EXAMPLES = sorted({name for family in FORMATS for name in find("format", family).load().examples()})
FEW = ["int3_g32", "int1.58_row", "mxfp4_e2m1_k32", "nf4_g64", "kmeans3_row", "int4_tensor_sym"]
MAY_REFUSE = {"hqq", "cmpq"}  # they say which formats they serve; all others serve every format
ON_GRID = {"nearest", "gptq", "gptaq", "mixed"}  # the others' values are scaled, rotated or kept after rounding


@functools.cache
def toy():
    return weights(ROWS, COLUMNS, seed=1), inputs(COLUMNS, 256, seed=2)


def snapshot(statistics):
    if isinstance(statistics, InputStatistics):
        return [statistics.hessian, statistics.magnitude.clone(), statistics.largest.clone(), statistics.drift]
    if isinstance(statistics, WeightGradients):
        return [statistics.absolute.clone(), statistics.squared.clone()]
    return []


def attempt(method, weight, statistics, grid):
    """What the method made with its default options, or the error it raised."""
    try:
        return method.quantize(weight, statistics, grid, method.make_options({})), None
    except BitlawError as error:
        return None, error


@pytest.mark.parametrize("format_name", EXAMPLES)
@pytest.mark.parametrize("name", METHODS)
def test_pair(name: str, format_name: str) -> None:
    method, grid = find_method(name), parse_format(format_name)
    weight, x = toy()
    options = method.make_options({})
    statistics = statistics_for(method, options, x, ROWS)
    before, seen_before = weight.clone(), snapshot(statistics)
    made, error = attempt(method, weight, statistics, grid)
    if error is not None:
        assert name in MAY_REFUSE, error
        assert isinstance(error, InputError)
        assert grid.name in str(error)
        return
    assert made.weight.shape == weight.shape
    assert made.weight.dtype == torch.float32
    assert torch.isfinite(made.weight).all()
    assert not torch.equal(made.weight, weight)
    assert made.stored_bits > weight.numel()
    assert torch.equal(weight, before), "the method changed the weight it was given"
    assert all(torch.equal(a, b) for a, b in zip(snapshot(statistics), seen_before, strict=True))
    again = method.quantize(weight, statistics_for(method, options, x, ROWS), grid, options)
    assert torch.equal(made.weight, again.weight)
    assert made.stored_bits == again.stored_bits
    if name in ON_GRID:
        starts = [*group_starts(COLUMNS, grid), COLUMNS]
        bound = grid.prepare(weight)
        for start, stop in itertools.pairwise(starts):
            values = bound.values(bound.parameters(weight[:, start:stop].contiguous())).shape[-1]
            assert all(len(row.unique()) <= values for row in made.weight[:, start:stop])


@pytest.mark.parametrize("name", METHODS)
def test_zero_weight_stays_zero(name: str) -> None:
    method = find_method(name)
    options = method.make_options({})
    weight = torch.zeros(ROWS, COLUMNS)
    for grid in map(parse_format, FEW):
        made, error = attempt(method, weight, statistics_for(method, options, toy()[1], ROWS), grid)
        assert error is None or name in MAY_REFUSE
        assert made is None or torch.equal(made.weight, weight)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_weight_is_never_made_finite(name: str, value: float) -> None:
    method, grid = find_method(name), parse_format("int4_g32")
    options = method.make_options({})
    weight = toy()[0].clone()
    weight[2, 5] = value
    statistics = statistics_for(method, options, toy()[1], ROWS)
    made, error = attempt(method, weight, statistics, grid)
    if made is None:
        assert isinstance(error, NonFiniteError)
        assert "NaN or infinite" in str(error)
    else:
        assert not torch.isfinite(made.weight).all()


@pytest.mark.parametrize("name", [n for n in METHODS if n != "mixed"])
def test_bad_statistics_are_errors_that_say_so(name: str) -> None:
    method, grid, weight = find_method(name), parse_format("int4_g32"), toy()[0]
    options = method.make_options({})
    needs = method.needs(options)
    if GRADIENTS in needs:
        for bad in (None, WeightGradients(absolute=weight[:, 1:], squared=weight[:, 1:])):
            with pytest.raises(InputError, match="gradients of its own shape"):
                method.quantize(weight, bad, grid, options)
        nan = torch.full_like(weight, torch.nan)
        with pytest.raises(NonFiniteError, match="gradients hold NaN"):
            method.quantize(weight, WeightGradients(absolute=nan, squared=nan), grid, options)
    if INPUTS in needs:
        for bad, said in (
            (None, "given none"),
            (InputStatistics.from_hessian(torch.eye(7)), r"given \[7, 7\]"),
            (InputStatistics(COLUMNS), "from no token"),
            (InputStatistics.from_hessian(torch.full((COLUMNS, COLUMNS), torch.nan)), "NaN or infinite"),
        ):
            with pytest.raises(HessianError, match=said):
                method.quantize(weight, bad, grid, options)
    if "damping" in vars(options):
        singular = InputStatistics.from_hessian(torch.ones(COLUMNS, COLUMNS) - 2 * torch.eye(COLUMNS))
        with pytest.raises(HessianError, match="not positive definite with damping=0"):
            method.quantize(weight, singular, grid, method.make_options({"damping": 0.0}))


# Groups of 32 have a narrower range than crossquant's row-and-column scale and cmpq's whole columns: docs/methods.md.
LOSES = {("crossquant", "int3_g32"), ("cmpq", "int3_g32")}


@pytest.mark.parametrize("format_name", ["int3_row_sym", "int3_g32"])
@pytest.mark.parametrize("name", METHODS)
def test_no_worse_than_nearest_in_layer_output(name: str, format_name: str) -> None:
    method, grid = find_method(name), parse_format(format_name)
    options = method.make_options({})
    x, weight = inputs(128, 1024, seed=3), weights(96, 128, seed=4)
    made, refused = attempt(method, weight, statistics_for(method, options, x, 96), grid)
    if refused is not None:
        assert name in MAY_REFUSE
        return

    def error(quantized: torch.Tensor) -> float:
        return float((x @ (quantized - weight).T).square().sum(1).mean())

    nearest = find_method("nearest").quantize(weight, None, grid, None).weight
    assert output_error(weight, made.weight, x.T @ x / len(x)) == pytest.approx(error(made.weight), rel=1e-3)
    assert (error(made.weight) <= error(nearest)) == ((name, format_name) not in LOSES)


@pytest.mark.parametrize("name", METHODS)
def test_variant_writes_every_option_and_reads_it_back(name: str) -> None:
    variant = make_variant(name, "int4_g32" if name != "cmpq" else "kmeans4_row")
    method = find_method(name)
    assert method.name == name
    assert set(variant.options) == set(vars(method.make_options({})))
    again = make_variant(name, variant.format, variant.options)
    assert again == variant
    with pytest.raises(BitlawError, match="no option 'nonsense'"):
        make_variant(name, variant.format, {"nonsense": 1})
