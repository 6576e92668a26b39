"""What a law knows beforehand: a row of that precision, no more, and it is said when it decides."""

import dataclasses

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, Intervals, Noise, fit
from bitlaw.laws import law_from_text, load_law
from tests.fit.simulated import DEMO, FEW

LAW = load_law("ouyang2024-unified")
GIVEN = Noise(relative=0.2, floor=1e-4)
TABLE = dataclasses.replace(FEW, by_model=0.0).draw(np.random.default_rng(1))


def with_prior(centre: float, spread: float, name: str = "gamma"):
    """The unified law, written as text, with a prior on one parameter."""
    known = {p.name: p for p in LAW.parameters}
    known[name] = dataclasses.replace(known[name], prior=(centre, spread))
    return law_from_text(LAW.text, name="own", parameters=known)


def test_a_wide_prior_changes_nothing_and_a_narrow_one_decides() -> None:
    free = fit(LAW, TABLE, noise=GIVEN)
    assert fit(with_prior(2.0, 1e6), TABLE, noise=GIVEN).values == pytest.approx(free.values, rel=1e-4)
    sure = fit(with_prior(2.0, 1e-4), TABLE, noise=GIVEN)
    assert sure.values["gamma"] == pytest.approx(2.0, abs=1e-3)
    assert sure.intervals["gamma"] == pytest.approx((2.0, 2.0), abs=1e-3)
    assert any("gamma: told by what is known beforehand" in said for said in sure.warnings)
    assert not any("told by" in said for said in fit(with_prior(2.0, 1e6), TABLE, noise=GIVEN).warnings)
    off = fit(with_prior(2.0, 1e-4), TABLE, noise=GIVEN, priors=False)
    assert off.values == pytest.approx(free.values, rel=1e-4)


def test_a_prior_is_the_precision_weighted_mean_in_a_linear_problem() -> None:
    """One parameter, k known to be near 3 with 10 % error; rows of 20 % each, on a log scale."""
    law = law_from_text("QiD = k", parameters={"k": 1.0})
    known = dataclasses.replace(law.parameters[0], prior=(np.log(3.0), 0.1))
    law = law_from_text("QiD = k", parameters={"k": known})
    table = TABLE.take(np.arange(4))
    y = np.array([2.0, 2.1, 1.9, 2.0])
    table = dataclasses.replace(table, columns={**table.columns, "qid": y, "qid_se": np.full(4, 1e-9)})
    result = fit(law, table, noise=Noise(relative=0.05, floor=0.0), intervals=Intervals(kind="clustered-row"))
    precision = 4 / 0.05**2
    expected = (precision * np.log(2.0) + np.log(3.0) / 0.1**2) / (precision + 1 / 0.1**2)
    assert np.log(result.values["k"]) == pytest.approx(expected, abs=0.01)


def test_two_models_are_enough_where_the_exponent_of_size_is_known() -> None:
    two = TABLE.where(parameters=(25e3, 100e3))
    known = fit(with_prior(DEMO["alpha"], 0.02, "alpha"), two)
    open_ended = fit(LAW, two)
    width = {r.law: r.intervals["alpha"][1] - r.intervals["alpha"][0] for r in (known, open_ended)}
    assert width["own"] < 0.1 < width["ouyang2024-unified"]


@pytest.mark.parametrize("kind", ["auto", "bootstrap-checkpoint", "parametric"])
def test_every_kind_of_interval_and_the_file_know_the_prior(kind: str) -> None:
    result = fit(with_prior(5.0, 0.05), TABLE, intervals=Intervals(kind=kind, replicates=60))
    low, high = result.intervals["gamma"]
    assert 4.8 < low < high < 5.2
    again = Fit.from_json(result.to_json())
    point = {"parameters": 1e5, "tokens": 1e6, "bits": 3.0}
    np.testing.assert_allclose(again.band(point), result.band(point), rtol=1e-9)
    assert again.formula().parameter("gamma").prior == (5.0, 0.05)


def test_huber_fits_know_it_too() -> None:
    result = fit(with_prior(4.0, 1e-4), TABLE, noise=Noise(kind="huber"))
    assert result.values["gamma"] == pytest.approx(4.0, abs=1e-2)


def test_a_prior_without_width_is_refused() -> None:
    with pytest.raises(InputError, match="standard deviation above 0"):
        with_prior(1.0, 0.0)


def test_what_the_caller_knows_takes_the_place_of_what_the_law_knows() -> None:
    free = fit(LAW, TABLE, noise=GIVEN)
    told = fit(LAW, TABLE, noise=GIVEN, priors={"gamma": (2.0, 1e-4)})
    assert told.values["gamma"] == pytest.approx(2.0, abs=1e-3)
    law = with_prior(2.0, 1e-4)
    assert fit(law, TABLE, noise=GIVEN, priors={"beta": (1.0, 1e6)}).values == pytest.approx(free.values, rel=1e-4)
    with pytest.raises(InputError, match="standard deviation above 0"):
        fit(LAW, TABLE, priors={"gamma": (2.0, 0.0)})
    with pytest.raises(InputError, match="gama"):
        fit(LAW, TABLE, priors={"gama": (2.0, 1.0)})


def test_published_exponents_are_those_of_the_two_papers() -> None:
    from bitlaw.laws.ours import PUBLISHED_EXPONENTS

    centre, spread = PUBLISHED_EXPONENTS["beta"]
    assert centre == pytest.approx((0.5251 + 0.5068) / 2)
    assert spread == 0.1
    centre, spread = PUBLISHED_EXPONENTS["alpha"]
    assert centre == pytest.approx(1.5 * (0.2261 + 0.3439) / 2)
    assert spread == pytest.approx(1.5 * (0.3439 - 0.2261))
    for law in ("bitlaw-growth", "bitlaw-sensitivity"):
        assert set(PUBLISHED_EXPONENTS) <= set(load_law(law).names)
