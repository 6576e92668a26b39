"""Element types: every code listed and checked, every rounding against an independent search."""

import math

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats.elements import FloatElement, IntElement, parse_float_element
from tests.formats import reference


def element(name: str) -> FloatElement | IntElement:
    if name.startswith("int"):
        return IntElement(bits=int(name[3:]))
    return FloatElement(exponent_bits=int(name[1]), mantissa_bits=int(name[3]))


ALL = reference.FLOATS + reference.INTS


@pytest.mark.parametrize("name", ALL)
def test_every_encoding(name: str) -> None:
    got, want = element(name).encodings(), reference.decode(name)
    assert len(got) == 2 ** element(name).bits
    assert reference.same(np.array(got), np.array(want)).all()
    finite = sorted({v + 0.0 for v in want if math.isfinite(v)})
    assert element(name).values() == (finite[1:] if name.startswith("int") else finite)  # the lowest code is unused


@pytest.mark.parametrize(("name", "dtype"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)])
def test_eight_bit_encodings_are_those_of_torch(name: str, dtype: torch.dtype) -> None:
    torch_values = torch.arange(256, dtype=torch.uint8).view(dtype).float().numpy()
    assert reference.same(np.array(element(name).encodings()), torch_values).all()


def test_constants_of_the_standard() -> None:
    largest = {
        "e4m3": 448,
        "e5m2": 57344,
        "e2m3": 7.5,
        "e3m2": 28,
        "e2m1": 6,
        "e1m2": 3.5,
        "e1m1": 3,
        "int8": 1 + 63 / 64,
    }
    smallest = {"e5m2": -16, "e4m3": -9, "e3m2": -4, "e2m3": -3, "e2m1": -1, "e1m2": -1, "e1m1": 0, "int8": -6}
    emax = {"e5m2": 15, "e4m3": 8, "e3m2": 4, "e2m3": 2, "e2m1": 2, "e1m2": 1, "e1m1": 1, "int8": 0}
    for name, value in largest.items():
        assert element(name).largest == value
        assert min(v for v in element(name).values() if v > 0) == 2.0 ** smallest[name]
        assert element(name).emax == emax[name]
    assert [v for v in element("e2m1").values() if v >= 0] == [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize("ties", ["even", "away"])
@pytest.mark.parametrize("name", ALL)
def test_rounding_equals_brute_force(name: str, ties: str) -> None:
    grid = element(name)
    hard = reference.probes(name)
    for x in (hard, reference.bfloat16_patterns()):
        got = grid.round_(torch.from_numpy(x.copy()) / grid.unit, ties) * grid.unit
        want = reference.nearest(reference.wide(x), name, ties)
        # Numbers divided by the unit may overflow: they lie beyond the end on either side of it.
        assert reference.same(reference.wide(got.numpy()), want).all()


def test_brute_force_itself_is_right_where_the_answer_is_known() -> None:
    x = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, -5.0, 100.0, np.inf, np.nan])
    even = [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, -4.0, 6.0, 6.0, np.nan]
    away = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -6.0, 6.0, 6.0, np.nan]
    assert reference.same(reference.nearest(x, "e2m1"), np.array(even)).all()
    assert reference.same(reference.nearest(x, "e2m1", "away"), np.array(away)).all()


@pytest.mark.parametrize(("exponent", "mantissa"), [(0, 3), (-1, 3), (3, -1), (4, 4), (9, 0), (1, 7)])
def test_refuses_exmy_out_of_range(exponent: int, mantissa: int) -> None:
    with pytest.raises(InputError, match="is out of range"):
        FloatElement(exponent_bits=exponent, mantissa_bits=mantissa)


@pytest.mark.parametrize("bits", [-1, 0, 1, 9])
def test_refuses_integer_widths(bits: int) -> None:
    with pytest.raises(InputError, match="2 to 8 bits"):
        IntElement(bits=bits)


def test_unknown_elements_offer_near_matches() -> None:
    with pytest.raises(
        UnknownName, match=r"Unknown 4-bit element format 'e2m2'. Did you mean 'e2m1'\? Known: e1m2, e2m1, e3m0"
    ):
        parse_float_element("e2m2", 4)
    with pytest.raises(UnknownName, match="Unknown 9-bit element format"):
        parse_float_element("e4m4", 9)
