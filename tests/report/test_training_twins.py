"""F14 from training losses: curves of twins, by hand and as they ship."""

import numpy as np
import pytest

from bitlaw.report.ouyang2024.training_twins import SMOOTHED, _smoothed, gaps, training_twins


def test_points_are_means_of_runs_of_lines() -> None:
    lines = [(float(i), 10.0 - i) for i in range(2 * SMOOTHED + 3)]
    tokens, loss = _smoothed(lines[::-1])
    assert tokens.tolist() == [3.0, 10.0]
    assert loss.tolist() == [7.0, 0.0]


def test_gaps_are_taken_at_the_same_tokens() -> None:
    grid = np.array([1e6, 1e7, 1e8])
    curves = {
        "m": (grid, np.array([5.0, 4.0, 3.0])),
        "m-b158": (np.array([1e6, 10**7.5, 1e8]), np.array([4.9, 3.6, 3.2])),
    }
    ((name, twin, first, last, ahead),) = gaps(curves)
    assert (name, twin) == ("m-b158", "m")
    assert first == pytest.approx(-0.1)
    assert last == pytest.approx(0.2)
    assert ahead == 1e6  # at 10**7.5 the twin, between 4 and 3, has 3.5


def test_the_shipped_twins_start_ahead_or_level_and_end_behind() -> None:
    twins = training_twins()
    assert [len(curves) for curves in twins.values()] == [3, 3]
    for curves in twins.values():
        assert not next(iter(curves)).endswith(("b158", "fast"))
        for _, _, first, last, _ in gaps(curves):
            assert first < 0.05
            assert last > first
