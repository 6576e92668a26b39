"""Compensated noise: what GPTQ's loop makes of rounding errors, without rounding."""

import math

import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import find_method, make_variant
from bitlaw.quantize.arrangement import arrange, group_ranges
from bitlaw.quantize.columns import solve_columns
from bitlaw.quantize.compensated import compensated
from bitlaw.quantize.error import output_error
from bitlaw.quantize.gptq import DAMPING_GRID
from bitlaw.quantize.statistics import CalibratedDirection, Direction
from tests.quantize.toys import inputs, statistics_of, weights

METHOD = find_method("perturb_compensated")


def moved(weight, noise, statistics, **options):
    direction = Direction(noise=noise, length=float(weight.norm() / noise.norm()))
    given = CalibratedDirection(inputs=statistics, direction=direction)
    return METHOD.quantize(weight, given, METHOD.find_format("none"), METHOD.make_options(options)).weight


@pytest.mark.parametrize("micro_block", [1, 16, 48, 64])
@pytest.mark.parametrize("name", ["int3_row", "mxint3_k16"])
def test_it_is_where_gptq_puts_the_errors_that_it_met(name: str, micro_block: int) -> None:
    """Take GPTQ's result apart: r = U_cc-transformed steps of w - Q(w); compensating r must give Q(w) - w again."""
    weight, statistics = weights(20, 64, seed=1), statistics_of(inputs(64, 512, seed=2))
    factor = statistics.inverse_factor(0.01, "none")
    grid = parse_format(name)
    arrangement = arrange(statistics.order("none"), "none", group_ranges(64, grid))
    made = solve_columns(weight, factor, arrangement, grid.prepare(weight), micro_block=micro_block)
    errors = torch.linalg.solve_triangular(factor.double(), (made - weight).double(), upper=True, left=False)
    met = torch.cat(
        [
            errors[:, a : a + micro_block] @ factor.double()[a : a + micro_block, a : a + micro_block]
            for a in range(0, 64, micro_block)
        ],
        1,
    )
    spread = compensated(met.float(), factor, micro_block)
    assert torch.allclose(spread, made - weight, atol=1e-4)


def test_whole_rows_at_once_leave_nothing_to_compensate() -> None:
    weight, noise = weights(20, 64, seed=1), weights(20, 64, seed=2, outliers=False)
    factor = statistics_of(inputs(64, 512, seed=2)).inverse_factor(0.01, "none")
    assert torch.allclose(compensated(noise, factor, 64), noise, atol=1e-4)
    assert torch.allclose(compensated(noise, factor, 100), noise, atol=1e-4)
    assert not torch.allclose(compensated(noise, factor, 48), noise, atol=1e-2)  # a short cell behind it
    assert weight.shape == noise.shape


@pytest.mark.parametrize("micro_block", [1, 16])
def test_it_spares_the_output_and_spends_noise(micro_block: int) -> None:
    weight, noise = weights(40, 64, seed=1), weights(40, 64, seed=2, outliers=False)
    statistics = statistics_of(inputs(64, 512, seed=2))
    made = moved(weight, noise, statistics, snr_db=15.0, micro_block=micro_block)
    bare = weight + noise / noise.norm() * weight.norm() * 10 ** (-15 / 20)
    assert output_error(weight, made, statistics.hessian) < 0.7 * output_error(weight, bare, statistics.hessian)
    assert float((made - weight).norm()) > float((bare - weight).norm())
    assert 20 * math.log10(weight.norm() / (bare - weight).norm()) == pytest.approx(15.0, abs=1e-3)


def test_search_takes_the_damping_with_the_least_output_error() -> None:
    weight, noise = weights(40, 64, seed=1), weights(40, 64, seed=2, outliers=False)
    statistics = statistics_of(inputs(64, 80, seed=2))
    found = moved(weight, noise, statistics, micro_block=16)
    each = [moved(weight, noise, statistics, micro_block=16, damping_rule="relative", damping=d) for d in DAMPING_GRID]
    errors = [output_error(weight, one, statistics.hessian) for one in each]
    assert torch.equal(found, each[errors.index(min(errors))])
    assert len({round(e, 6) for e in errors}) > 3
    # distances share a line and a damping
    far, near = (moved(weight, noise, statistics, micro_block=16, snr_db=db) - weight for db in (0.0, 20.0))
    assert torch.allclose(far, 10.0 * near, atol=1e-3)


def test_options_that_mean_nothing_are_refused() -> None:
    variant = make_variant("perturb_compensated", "none", {"snr_db": 12, "micro_block": 16})
    assert variant.is_probe
    assert variant.bits == 16.0
    assert variant.label == "perturb_compensated snr_db=12.0 seed=0 micro_block=16"
    for name, value in {
        "scales": "static",
        "order": "activation",
        "upstream": "quantized",
        "on_failure": "nearest",
    }.items():
        with pytest.raises(InputError, match=f"Leave {name}"):
            make_variant("perturb_compensated", "none", {name: value})
    with pytest.raises(InputError, match="none"):
        make_variant("perturb_compensated", "int4_g32")
    with pytest.raises(InputError, match="needs a direction"):
        METHOD.quantize(weights(4, 16, seed=0), None, METHOD.find_format("none"), METHOD.make_options({}))
