"""Bands beyond the range: the drift is found by leaving out ends, kept in the file, and covers where the law is wrong."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.fit import Fit, Noise, Table, fit
from bitlaw.fit.drift import BEFOREHAND, WORTH, Drift, far_reach, widened
from bitlaw.fit.ends import turns
from bitlaw.fit.simulate import Design
from bitlaw.laws import law_from_text
from bitlaw.predict import predict
from tests.fit.simulated import EXACT, FEW, MANY, PYTHIA

BENT = law_from_text(
    "QiD = k * (D/1e10)^(beta + c*log(D/1e10)) / N^alpha / P^gamma",
    name="bent",
    parameters=dict.fromkeys(("k", "beta", "c", "alpha", "gamma"), 1.0),
)
TRUTH = {"k": 3000.0, "beta": 0.5, "alpha": 0.23, "gamma": 5.5}
DESIGN = Design(
    law=BENT,
    truth={**TRUTH, "c": 0.0},
    sizes=(1e7, 1e8, 1e9),
    tokens=tuple(np.geomspace(1e9, 1e11, 10)),
    own=0.1,
    by_model=0.05,
)
UNIFIED = "ouyang2024-unified"


def test_turns_leave_out_the_ends_of_a_few_values_one_by_one() -> None:
    sizes = np.repeat([1.0, 2.0, 8.0], 2)
    (turn,) = turns(sizes, "beyond")
    np.testing.assert_array_equal(turn[0], [False] * 4 + [True] * 2)
    assert turn[1] == pytest.approx(2.0)
    (turn,) = turns(sizes, "below")
    np.testing.assert_array_equal(turn[0], [True] * 2 + [False] * 4)
    assert turn[1] == pytest.approx(2.0)
    assert [t[1] for t in turns(np.array([1.0, 2.0, 3.0, 4.0]), "beyond")] == pytest.approx([3.0, 2.0])
    assert turns(np.array([1.0, 2.0]), "beyond") == []


def test_turns_leave_out_parts_of_many_values() -> None:
    tokens = np.geomspace(1.0, 1024.0, 11)
    assert [t[1] for t in turns(tokens, "beyond")] == pytest.approx([512.0, 256.0])
    assert [t[1] for t in turns(tokens, "below")] == pytest.approx([2.0, 4.0])
    assert turns(np.linspace(9.0, 10.0, 11), "beyond") == [], "nothing lies a factor 2 apart"


def test_a_law_that_is_right_shows_no_drift_and_a_bent_one_shows_its_bend() -> None:
    right = fit(UNIFIED, replace(DESIGN, **EXACT).draw(np.random.default_rng(0)), noise=Noise(relative=0.05, floor=0.0))
    least = BEFOREHAND * math.sqrt(WORTH / (WORTH + 2))
    tokens, sizes = right.drift["tokens"], right.drift["parameters"]
    assert (tokens.below, tokens.beyond) == pytest.approx((least, least))
    assert (tokens.below_turns, tokens.beyond_turns, sizes.beyond_turns) == (2, 2, 1)
    bent = replace(DESIGN, **EXACT, truth={**TRUTH, "c": 0.15})
    drift = fit(UNIFIED, bent.draw(np.random.default_rng(0)), noise=Noise(relative=0.05, floor=0.0)).drift["tokens"]
    # a straight line through ln D from -a to a of a parabola c x^2 is off by about 2 c a per unit beyond its end
    assert 0.3 < drift.beyond < 2 * 0.15 * math.log(10.0)
    assert drift.below > 0.3


def test_two_sizes_and_few_checkpoints_have_what_is_known_beforehand() -> None:
    rows = FEW.draw(np.random.default_rng(1))
    two = fit(UNIFIED, rows.where(parameters=FEW.sizes[:2]))
    sizes = two.drift["parameters"]
    assert (sizes.below, sizes.beyond) == pytest.approx((BEFOREHAND, BEFOREHAND))
    assert (sizes.below_turns, sizes.beyond_turns) == (0, 0)
    assert set(fit("ouyang2024-size", rows).drift) == {"parameters"}
    loss = Table(columns={**rows.columns, "baseline_loss": 2.0 + 10.0 * rows["parameters"] ** -0.3})
    assert fit("ouyang2024-loss", loss, starts=1).drift == {}


def test_reach_is_nothing_inside_and_grows_with_distance_outside() -> None:
    drift = Drift(below=0.3, beyond=0.2, below_turns=0, beyond_turns=2)
    found = drift.reach(np.array([0.5, 1.0, 5.0, 10.0, 20.0, 40.0]), 1.0, 10.0, 0.9)
    assert found[1:4] == pytest.approx(0.0)
    assert found[0] == pytest.approx(2.3534 * 0.3 * math.log(2.0), rel=1e-4)  # t of 3
    assert found[4] == pytest.approx(2.0150 * 0.2 * math.log(2.0), rel=1e-4)  # t of 5
    assert found[5] == pytest.approx(2 * found[4])
    both = far_reach(
        {"tokens": drift, "parameters": drift},
        {"tokens": (1, 10), "parameters": (1, 10)},
        {"tokens": np.array([20.0]), "parameters": np.array([20.0])},
        0.9,
    )
    assert both == pytest.approx(math.sqrt(2) * found[4])
    low, high = widened(
        np.array([1.0, 1.0, 1.0]), np.array([0.5, -0.2, 0.5]), np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, 0.0])
    )
    wide = math.hypot(math.log(2.0), 1.0)
    assert (low[0], high[0]) == pytest.approx((math.exp(-wide), math.exp(wide)))
    assert low[1] == -0.2, "a lower end below zero stays"
    assert (low[2], high[2]) == (0.5, 2.0)


@pytest.mark.parametrize("kind", ["normal", "huber"])
def test_bands_cover_where_the_law_is_wrong(kind: str) -> None:
    """Exponents that move by .2 a decade, two to ten times the tokens: without the drift half of the rows lie outside."""
    generator = np.random.default_rng(3)
    held, bare = [], []
    for _ in range(40):
        c = 0.2 * generator.standard_normal() / (2 * math.log(10.0))
        design = replace(DESIGN, truth={**TRUTH, "c": c})
        result = fit(UNIFIED, design.draw(generator), starts=1, noise=Noise(kind=kind))
        new = replace(design, tokens=(2e11, 5e11, 1e12)).draw(generator)
        for one, found in ((result, held), (replace(result, drift={}), bare)):
            low, high = one.band(new.columns, scatter=True)
            found.append(np.mean((low <= new["qid"]) & (new["qid"] <= high)))
    assert np.mean(held) > 0.85
    assert np.mean(bare) < 0.65


def test_the_file_keeps_it_and_a_file_from_before_widens_by_the_rule_of_published_laws() -> None:
    result = fit(UNIFIED, MANY.draw(np.random.default_rng(1)), starts=1)
    assert Fit.from_dict(result.to_dict()).drift == result.drift
    content = result.to_dict()
    del content["drift"]
    before = Fit.from_dict({**content, "bitlaw_fit": 2})
    assert before.drift == {}
    asked = (1e8, 100 * MANY.tokens[-1], 3)
    old, new, inner = (predict(*asked, law=one).interval for one in (before, result, replace(result, drift={})))
    assert old.high == inner.high
    low, high = before.band({"parameters": asked[0], "tokens": asked[1], "bits": 3.0}, scatter=True)
    assert old.high > float(high)
    assert old.low < float(low)
    assert "left out" in new.made_of
    assert "drift of local exponents" in old.made_of
    assert predict(1e8, 1e10, 3, law=result).interval.high == pytest.approx(
        predict(1e8, 1e10, 3, law=before).interval.high
    )
    assert PYTHIA["beta"] == pytest.approx(result.values["beta"], abs=0.1)
