"""Grids without torch: the same bits and errors as the formats themselves."""

import csv
import math

import pytest
import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import bits_per_weight, parse_format, quantize_groups
from bitlaw.predict.grids import FILE, derived, gaussian_error, grid, integer_grid

WEIGHT = torch.randn(100, 4096, generator=torch.Generator().manual_seed(1))
NAMES = [row["name"] for row in csv.DictReader(FILE.read_text(encoding="utf-8").splitlines())]
SLOW = ("kmeans", "quantile")


def measured(name: str) -> float:
    return float(((quantize_groups(WEIGHT, parse_format(name)) - WEIGHT) ** 2).mean())


@pytest.mark.parametrize("name", [f"int{b}_g{g}{s}" for b in (2, 3, 4, 8) for g in (32, 128) for s in ("", "_sym")])
def test_integers_are_computed(name: str) -> None:
    assert grid(name).error == pytest.approx(measured(name), rel=0.02)
    assert grid(name).stored == pytest.approx(bits_per_weight(4096, parse_format(name)))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(SLOW)])
def test_the_table_is_that_of_the_formats(name: str) -> None:
    """If a format changed: python benchmarks/format_errors.py. Few scales leave more to chance."""
    found, format = grid(name), parse_format(name)
    assert (found.bits, found.group_size) == (format.bits, format.group_size)
    assert found.stored == pytest.approx(bits_per_weight(4096, format, rows=4096), rel=1e-5)
    assert found.error == pytest.approx(
        measured(name), rel=0.2 if "tensor" in name else 0.07 if "row" in name else 0.03
    )


def test_every_family_is_in_the_table() -> None:
    families = {"int", "mxint", "mxfp", "nvfp", "nf", "fp", "quantile", "kmeans"}
    assert {name.split("_")[0].rstrip("0123456789.") for name in NAMES} >= families


def test_unknown_formats_offer_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'nf4_g64'"):
        grid("nf4_g63")
    with pytest.raises(InputError, match="group_size=0"):
        grid("int4_g0")


def test_between_widths_the_error_is_log_linear() -> None:
    assert gaussian_error(2.5, 128) == pytest.approx(math.sqrt(gaussian_error(2, 128) * gaussian_error(3, 128)))
    assert gaussian_error(9, 128) == pytest.approx(gaussian_error(8, 128) ** 2 / gaussian_error(7, 128))


def test_what_laws_may_read() -> None:
    error = gaussian_error(4, 32)
    expected = {"group_size": 32.0, "bits_per_weight": 4.625, "gaussian_error": error, "format_error": error}
    assert derived(4, {"group_size": 32.0}) == expected == grid("int4_g32").variables()


def test_factors_are_ratios_of_errors() -> None:
    assert integer_grid(3, 128).factor() == integer_grid(3, 128, symmetric=True).factor() == (1.0, 0.0)
    factor, stray = grid("int2_g64").factor()
    assert factor == pytest.approx(measured("int2_g64") / measured("int2_g128"), rel=0.03)
    assert stray == pytest.approx(abs(math.log(factor)) / 2)
    assert grid("nf4_g64").factor()[0] == pytest.approx(measured("nf4_g64") / measured("int4_g128"), rel=0.03)
    assert grid("int3_g32").factor()[0] < grid("int3_g64").factor()[0] < 1 < grid("int3_g1024").factor()[0]
