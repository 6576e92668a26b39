"""What compensation is worth: planted gains come back, also between measured cells; what is noise or saturated does not count."""

import numpy as np
import pytest

from bitlaw.predictor import Rows, collect
from bitlaw.predictor.compensation import CompensatedPoint, Compensation, compensation_of
from bitlaw.predictor.curve import Curve, curve_of
from tests.predictor.simulated_families import planted_gain, simulate

SNR = tuple(float(s) for s in range(30, -7, -2))


def excess(snr_db: float) -> float:
    """A landscape: quadratic in the noise at high SNR, a plateau of 4 nats at low."""
    return 4.0 / (1.0 + 10.0 ** ((snr_db - 8.0) / 10.0))


def curve(se: float = 1e-5) -> Curve:
    return curve_of([(s, s, 3.0 + excess(s), se) for s in SNR], 3.0)


def points(gain: float, snr_db: tuple[float, ...], block: int = 16, se: float = 1e-5) -> list[CompensatedPoint]:
    return [CompensatedPoint(snr_db=s, block=block, loss=3.0 + excess(s + gain), excess_se=se) for s in snr_db]


def test_planted_gains_come_back_from_records(gained: Rows) -> None:
    planted = [planted_gain(f, int(p), b) for f, p, b in zip(gained.family, gained["parameters"], gained["block"])]
    wrong = np.abs(gained["gain_db"] - planted)
    assert np.median(wrong) < 0.1
    assert np.quantile(wrong, 0.95) < 0.5
    few = [
        m
        for m in simulate(("mpt",), (50_000,), ("mxint3_k32",), gains=True)
        if m.asked.variant.options.get("micro_block", 16) in (16, 128)
    ]
    between = collect(few)[0].compensation
    assert between is not None
    assert float(between.gain_db(32, 12.0)) == pytest.approx(planted_gain("mpt", 50_000, 32), abs=0.15)


def test_gains_are_interpolated_in_snr_and_in_log_block_and_kept_beyond() -> None:
    made = Compensation(gains={16: ((0.0, 2.0), (10.0, 4.0)), 64: ((10.0, 1.0),)})
    np.testing.assert_allclose(made.gain_db(16, [-5.0, 0.0, 5.0, 10.0, 30.0]), [2.0, 2.0, 3.0, 4.0, 4.0])
    np.testing.assert_allclose(made.gain_db([8, 16, 32, 64, 128], 10.0), [4.0, 4.0, 2.5, 1.0, 1.0])
    assert float(made.gain_db(0, 10.0)) == 0.0  # a whole row is rounded at once
    assert float(Compensation(gains={16: ((5.0, 3.0),)}).gain_db(64, 20.0)) == 3.0


def test_points_lost_in_noise_and_on_the_plateau_do_not_count() -> None:
    made = compensation_of(points(3.0, (24.0, 12.0)), curve())
    assert made is not None
    np.testing.assert_allclose(made.gain_db(16, [24.0, 18.0, 12.0, 0.0]), 3.0, atol=0.1)
    noisy = [*points(3.0, (12.0,)), *points(-9.0, (24.0,), se=0.5)]
    assert compensation_of(noisy, curve()) == compensation_of(points(3.0, (12.0,)), curve())
    flat = [*points(3.0, (12.0,)), *points(5.0, (-26.0,))]
    assert compensation_of(flat, curve()) == compensation_of(points(3.0, (12.0,)), curve())
    assert compensation_of(points(3.0, (24.0,), se=0.5), curve()) is None
    assert compensation_of([], curve()) is None
