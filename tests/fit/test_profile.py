"""Profile likelihood: the shape of what is known of one parameter; and the frontier of loss over stored bits."""

import dataclasses

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Intervals, Noise, Table, fit, frontier, profile
from bitlaw.fit.stored_bits import total_bits
from tests.fit.simulated import DEMO, FEW

UNIFIED = "ouyang2024-unified"
QUIET = dataclasses.replace(FEW, by_model=0.0, by_checkpoint=0.0)
TABLE = QUIET.draw(np.random.default_rng(4)).where(bits=(2.0, 3.0))


def test_where_the_likelihood_is_quadratic_it_is_the_usual_interval() -> None:
    found = profile(UNIFIED, TABLE, "beta")
    result = fit(UNIFIED, TABLE, intervals=Intervals(kind="clustered-row"))
    low, high = result.intervals["beta"]
    assert found.best == pytest.approx(result.values["beta"], rel=1e-3)
    assert found.interval[1] - found.interval[0] == pytest.approx(high - low, rel=0.25)
    assert found.interval[0] < found.best < found.interval[1]
    assert np.all(np.diff(found.values) > 0)
    assert found.deviance[np.argmin(np.abs(found.values - found.best))] == pytest.approx(0.0, abs=1e-3)
    ends = np.isclose(found.values[:, None], found.interval, rtol=1e-6).any(axis=1)
    assert found.deviance[ends] == pytest.approx([2.706, 2.706], rel=0.02)


def test_an_open_end_is_the_bound() -> None:
    falling = dataclasses.replace(
        TABLE, columns={**TABLE.columns, "qid": np.abs(TABLE["qid"]) / TABLE["tokens"] ** 2 * 1e12}
    )
    found = profile(UNIFIED, falling, "beta")
    assert found.interval[0] == 0.0


def test_profiles_hold_the_truth_where_the_noise_is_known() -> None:
    hits = 0
    for seed in range(30):
        table = QUIET.draw(np.random.default_rng(seed)).where(bits=2.0)
        low, high = profile("ouyang2024-2bit", table, "beta", noise=Noise(relative=0.1, floor=3e-4)).interval
        hits += low <= DEMO["beta"] <= high
    assert hits >= 24


def test_what_cannot_be_profiled_is_said() -> None:
    with pytest.raises(InputError, match="no likelihood"):
        profile(UNIFIED, TABLE, "beta", noise=Noise(kind="huber"))
    with pytest.raises(InputError, match="not a free parameter"):
        profile(UNIFIED, TABLE, "beta", fixed={"beta": 1.0})


def test_the_frontier_is_what_nothing_beats() -> None:
    columns = {
        "parameters": [1e6, 1e6, 2e6, 4e6],
        "bits_per_weight": [2.0, 4.0, 2.0, 4.0],
        "loss": [4.0, 3.2, 3.5, 3.0],
    }
    table = Table(columns=columns)
    assert list(total_bits(table)) == [2e6, 4e6, 4e6, 16e6]
    kept = frontier(table)
    assert list(kept["loss"]) == [4.0, 3.2, 3.0]
    with pytest.raises(InputError, match="bits_per_weight"):
        frontier(Table(columns={**columns, "bits_per_weight": [2.0, np.nan, 2.0, 4.0]}))
