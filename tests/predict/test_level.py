"""Training level: the inverse of the law at a measured degradation, with the measurement's own error in the interval."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.predict import predict, tokens_to_train, training_level
from bitlaw.predict.level import reading
from tests.fit.simulated import DEMO, EXACT, FEW
from tests.laws.test_published import CELLS


@pytest.mark.parametrize(("n", "qid", "bits", "trillions"), CELLS[::5])
def test_it_is_table_1_read_backwards(n: float, qid: float, bits: int, trillions: float) -> None:
    assert training_level(qid, n, bits).value == pytest.approx(trillions * 1e12, rel=0.5e-4 / trillions + 1e-4)


def test_a_predicted_degradation_gives_the_tokens_back() -> None:
    tokens = 1.5e11
    answer = training_level(predict(1e9, tokens, 3).value, 1e9, 3, tokens=tokens)
    assert answer.value == pytest.approx(tokens, rel=1e-8)
    assert answer.ratio == pytest.approx(1.0, rel=1e-8)
    assert answer.ratio_interval.low == pytest.approx(answer.interval.low / tokens)
    assert answer.ratio_interval.low < 1 < answer.ratio_interval.high


def test_without_a_measurement_error_the_interval_is_that_of_tokens_to_train() -> None:
    level, train = training_level(0.8, 1e9, 2), tokens_to_train(1e9, 2, 0.8)
    assert (level.value, level.interval.low, level.interval.high) == pytest.approx(
        (train.value, train.interval.low, train.interval.high)
    )


def test_the_measurement_error_widens_the_interval_in_quadrature() -> None:
    sure, unsure = training_level(0.8, 1e9, 2), training_level(0.8, 1e9, 2, qid_se=0.1)
    assert unsure.interval.low < sure.interval.low < sure.value < sure.interval.high < unsure.interval.high
    at = predict(1e9, unsure.interval.low, 2)
    assert math.hypot(at.interval.high - at.value, 1.6448536 * 0.1) == pytest.approx(0.8 - at.value, rel=1e-5)


def test_a_degradation_of_nothing_has_only_an_upper_end() -> None:
    answer = training_level(-0.001, 1e9, 4, qid_se=0.002)
    assert (answer.value, answer.interval.low) == (0.0, 0.0)
    upper = predict(1e9, answer.interval.high, 4)
    # There the band's lower end is as far below its value as the measurement may be off.
    assert upper.value - math.hypot(upper.value - upper.interval.low, 1.6448536 * 0.002) == pytest.approx(
        -0.001, abs=1e-8
    )
    assert "undertrained" in answer.reading


def test_levels_are_named_as_in_the_paper() -> None:
    assert reading(0.05).startswith("undertrained")
    assert reading(0.3) == "between the paper's levels 0.3 and 0.4"
    assert reading(0.5).startswith("fully trained")
    assert reading(0.25, 0.1).endswith(
        "also: between the paper's levels 0.3 and 0.4 or undertrained (QiD below 0.2, the paper's lowest level)"
    )


def test_the_share_of_likelihood_left() -> None:
    assert training_level(0.2, 1e9, 2).likelihood == pytest.approx(0.8187, abs=1e-4)


def test_a_fit_judges_too() -> None:
    result = fit("ouyang2024-unified", replace(FEW, **EXACT).draw(np.random.default_rng(0)))
    exact = (0.05 * 1e5 ** DEMO["alpha"] * 2 ** DEMO["gamma"] / DEMO["k"]) ** (1 / DEMO["beta"])
    answer = training_level(0.05, 1e5, 2, law=result)
    assert answer.value == pytest.approx(exact, rel=1e-5)
    assert "fit to simulated" in answer.source


def test_strict_refuses_outside_the_range_only() -> None:
    assert training_level(0.8, 1e9, 2, strict=True).inside
    with pytest.raises(InputError, match="strict was asked for: tokens"):
        training_level(0.2, 70e9, 4, strict=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"qid": math.nan}, "qid=nan"),
        ({"qid": "0.2"}, "qid=0.2 is not a finite number"),
        ({"qid": 0.2, "qid_se": -1.0}, "qid_se=-1 is negative"),
        ({"qid": 35.0}, "not percent"),
        ({"qid": 0.0}, "Give qid_se"),
        ({"qid": 0.2, "parameters": 7}, "7e9 for 7 billion"),
        ({"qid": 0.2, "tokens": 0}, "tokens=0"),
        ({"qid": 0.2, "level": 1.0}, "level=1"),
    ],
)
def test_impossible_questions_are_refused(asked: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        training_level(**{"parameters": 7e9, "bits": 4, **asked})
