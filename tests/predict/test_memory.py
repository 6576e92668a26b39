"""Bytes: the convention is that of the formats themselves, sizes and counts read as people write them."""

import math

import pytest

from bitlaw.errors import InputError
from bitlaw.formats import bits_per_weight as stored_by_format
from bitlaw.formats import parse_format
from bitlaw.predict.memory import bits_per_weight, model_bytes, parse_count, parse_size


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_convention_is_that_of_the_formats(bits: int, group: int, symmetric: bool) -> None:
    format = parse_format(f"int{bits}_g{group}{'_sym' if symmetric else ''}")
    assert bits_per_weight(bits, group, symmetric=symmetric) == pytest.approx(stored_by_format(4096, format))


def test_unquantized_weights_have_no_groups() -> None:
    assert bits_per_weight(16, 128) == 16.0
    with pytest.raises(InputError, match="group_size=0"):
        bits_per_weight(4, 0)


def test_bytes_by_hand() -> None:
    """1000 weights at 4.15625 bits, 200 more at 16 bits, 50 bytes over: 519.53 + 400 + 50."""
    assert model_bytes(1000, 1200, 4.15625, 50) == pytest.approx(969.53125)


def test_a_released_checkpoint() -> None:
    """Pythia 12B at 2 bits is a file of 4080 MB (science/qid-law.md): 50688 x 5120 embeddings and head at 16 bits.

    The file also holds the group of every column, biases and norms.
    """
    total = 11_327_027_200 + 2 * 50_688 * 5120
    assert model_bytes(11_327_027_200, total, bits_per_weight(2, 128)) / 1e6 == pytest.approx(4080, rel=3e-3)


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GiB", 24 * 2**30), ("16 GB", 16e9), ("16gb", 16e9), ("1.5TiB", 1.5 * 2**40), ("512kB", 512e3), (100.0, 100.0)],
)
def test_sizes(text: str | float, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-24GiB", "not above 0"),
        ("0GB", "not above 0"),
        ("24", "has no unit. Write 24GiB"),
        ("24 parsecs", "unknown unit 'parsecs'"),
        ("GiB", "not a number with a unit"),
        ("", "not a number with a unit"),
        ("1.2.3GB", "not a number with a unit"),
        (math.nan, "not above 0"),
    ],
)
def test_sizes_that_cannot_be(text: str | float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_size(text)


def test_counts() -> None:
    assert [parse_count(text) for text in ("7e9", "7B", "15T", "160m", "25 k", "12")] == [
        7e9,
        7e9,
        15e12,
        160e6,
        25e3,
        12,
    ]
    with pytest.raises(InputError, match="Write a number such as 7e9"):
        parse_count("seven")
