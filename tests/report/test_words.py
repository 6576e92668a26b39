"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from bitlaw.report.words import bits_name, count, interval, listed, measured, plain, several


@pytest.mark.parametrize(
    ("value", "text"),
    [(25_088, "25.1k"), (999, "999"), (999_600, "1M"), (2.5e6, "2.5M"), (70e9, "70B"), (15e12, "15T"), (0, "0"), (1e15, "1e+03T")],
)  # fmt: skip
def test_counts(value, text):
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5251, "0.525"), (5.4967, "5.50"), (-0.0123456, "-0.0123"), (0.000135, "0.000135"), (6.46e-5, "6.46e-5"), (0, "0"),
     (123456.7, "123457"), (2.5e7, "2.50e7"), (math.nan, "unknown"), (math.inf, "∞"), (-math.inf, "-∞")],
)  # fmt: skip
def test_plain_numbers(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(0.11882, 0.00251, "0.1188 ± 0.0025"), (-0.00043, 0.00058, "-0.00043 ± 0.00058"), (395.54, 7.71, "395.5 ± 7.7"),
     (641.3, 11.2, "641 ± 11"), (0.12, math.nan, "0.1200"), (0.12, 0.0, "0.1200")],
)  # fmt: skip
def test_a_value_has_as_many_digits_as_its_error_allows(value, error, text):
    assert measured(value, error) == text


def test_small_words():
    assert (bits_name(1), bits_name(2.5)) == ("1 bit", "2.5 bits")
    assert (several(1, "row"), several(0, "row")) == ("1 row", "0 rows")
    assert [listed(list(parts)) for parts in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert interval(0.871, 0.9123) == "[0.871, 0.912]"
