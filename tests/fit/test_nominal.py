"""Nominal format errors: against sampled groups, and against what rounding trained weights cost."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit.nominal import nominal_error
from bitlaw.fit.public import public_table


def rounded(bits: int, group: int, symmetric: bool) -> float:
    """Mean squared error of min-max rounding of normal groups, over their mean square."""
    weight = np.random.default_rng(0).standard_normal((4000, group))
    if symmetric:
        step = 2 * np.abs(weight).max(axis=1, keepdims=True) / (2**bits - 1)
        back = np.clip(np.round(weight / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step
    else:
        low, high = weight.min(axis=1, keepdims=True), weight.max(axis=1, keepdims=True)
        step = (high - low) / (2**bits - 1)
        back = np.round((weight - low) / step) * step + low
    return float(np.mean((weight - back) ** 2) / np.mean(weight**2))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group", [32, 128])
@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_close_to_rounding_normal_numbers(bits: int, group: int, symmetric: bool) -> None:
    assert nominal_error(bits, group, symmetric=symmetric) == pytest.approx(rounded(bits, group, symmetric), rel=0.15)


def test_close_to_what_was_measured_on_trained_weights() -> None:
    rows = public_table("mini-pythia").where(method="nearest")
    for bits, group in ((2, 128), (3, 128), (4, 128), (5, 128), (6, 128), (2, 32), (3, 32), (4, 32)):
        found = rows.where(format=f"int{bits}_g{group}")["format_error"]
        assert np.median(found) == pytest.approx(nominal_error(bits, group), rel=0.1)


def test_gptq_rows_carry_the_error_of_the_format_not_their_own() -> None:
    rows = public_table("mini-pythia").where(format="int3_g128")
    checkpoint = rows.where(checkpoint=rows["checkpoint"][0])
    assert len(np.unique(checkpoint["format_error"])) == 1
    assert len(np.unique(checkpoint["sqnr_db"])) > 1
    symmetric = public_table("mini-pythia").where(format="int3_g128_sym")  # never rounded to nearest: nominal
    assert set(symmetric["format_error"]) == {nominal_error(3, 128, symmetric=True)}


@pytest.mark.parametrize(
    "wrong", [{"bits": 1.0}, {"bits": 20.0}, {"bits": float("nan")}, {"bits": 4.0, "group_size": -1.0}]
)
def test_impossible_formats_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="must lie above 1"):
        nominal_error(**wrong)
