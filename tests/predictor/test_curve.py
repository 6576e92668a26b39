"""Landscape curves: planted values between the probes, the inverse, the ends, and landscapes that say nothing."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Curve, curve_of
from tests.predictor.simulated_families import GRID_DB, planted


def made(excess, grid=GRID_DB, baseline=3.0, seeds=1) -> Curve:
    return curve_of([(s, s, baseline + excess(s), 1e-6) for s in grid for _ in range(seeds)], baseline)


def test_between_the_probes_it_is_the_planted_landscape() -> None:
    land = planted("opt", 200_000)
    curve = made(land.excess)
    for snr in np.arange(-3.0, 29.0, 0.7):
        assert curve.at(snr) - 3.0 == pytest.approx(land.excess(snr), rel=0.02)


def test_the_inverse_undoes_it_and_the_slope_is_the_central_difference() -> None:
    curve = made(planted("bloom", 800_000).excess)
    places = np.arange(-4.0, 40.0, 0.9)
    np.testing.assert_allclose(curve.snr_of(curve.at(places)), places, atol=0.02)
    np.testing.assert_allclose(curve.slope(places), (curve.at(places + 1) - curve.at(places - 1)) / 2)
    assert (curve.slope(places) < 0).all()


def test_above_the_probes_it_falls_as_the_square_of_the_noise() -> None:
    curve = made(lambda s: 10.0 ** (-s / 10.0), grid=(20.0, 10.0, 5.0, 0.0))
    assert curve.at(40.0) - 3.0 == pytest.approx(1e-4, rel=3e-3)


def test_points_within_their_noise_say_nothing() -> None:
    points = [
        (s, s, 3.0 + 10.0 ** (-s / 10.0) + (0.01 if s == 30 else 0.0), 0.02) for s in (30.0, 15.0, 10.0, 5.0, 0.0)
    ]
    clean = [(s, s, 3.0 + 10.0 ** (-s / 10.0), 0.02) for s in (30.0, 15.0, 10.0, 5.0, 0.0)]
    assert curve_of(points, 3.0).at(30.0) == pytest.approx(curve_of(clean, 3.0).at(30.0))


def test_seeds_are_joined_and_their_range_kept() -> None:
    points = [(s, s + shift, 3.0 + (10.0 - s) / 10 + shift, 0.0) for s in (8.0, 4.0, 0.0) for shift in (-0.1, 0.1)]
    curve = curve_of(points, 3.0)
    assert curve.seeds == 2
    np.testing.assert_allclose(curve.snr_db, [0, 4, 8])
    np.testing.assert_allclose(curve.high - curve.low, 0.2)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(30.0, 30.0, 3.1, 0.0)], "3 or more"),
        ([(s, s, 2.9, 0.01) for s in (30.0, 20.0, 10.0)], "raises the loss"),
        ([(30.0, 30.0, 3.0, 0.0), (20.0, 20.0, np.nan, 0.0), (10.0, 10.0, 4.0, 0.0)], "finite"),
    ],
)
def test_a_landscape_that_says_nothing_is_named(points: list[tuple[float, float, float, float]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        curve_of(points, 3.0).at(0.0)
