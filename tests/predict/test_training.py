"""Tokens to train: Table 1 to its last printed digit, intervals that are the band inverted, the unified law beside."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.predict import predict, tokens_to_train
from tests.fit.simulated import DEMO, EXACT, FEW
from tests.laws.test_published import CELLS


@pytest.mark.parametrize(("n", "level", "bits", "trillions"), CELLS)
def test_table_1(n: float, level: float, bits: int, trillions: float) -> None:
    answer = tokens_to_train(n, bits, level)
    assert f"{answer.value / 1e12:.4f}" == f"{trillions:.4f}"


def test_the_unified_law_stands_beside_with_its_known_disagreement() -> None:
    answer = tokens_to_train(70e9, 4)
    assert answer.value == pytest.approx(17.35e12, rel=1e-4)
    other = answer.beside[0]
    assert (other.law, other.value) == ("ouyang2024-unified", pytest.approx(10.25e12, rel=1e-3))
    assert other.ratio == pytest.approx(10.25 / 17.35, rel=1e-3)
    assert "84x beyond the largest fitted" in answer.outside[0].words


def test_the_interval_is_where_the_predicted_band_reaches_the_value() -> None:
    answer = tokens_to_train(1e9, 2, 0.8)
    assert answer.inside
    assert predict(1e9, answer.interval.low, 2).interval.high == pytest.approx(0.8, rel=1e-6)
    assert predict(1e9, answer.interval.high, 2).interval.low == pytest.approx(0.8, rel=1e-6)


def test_an_upper_end_nobody_can_give_is_infinite_and_null_in_json() -> None:
    answer = tokens_to_train(70e9, 4)
    assert math.isinf(answer.interval.high)
    assert answer.to_dict()["interval"]["high"] is None
    assert "no upper end" in answer.interval.made_of


def test_a_fit_is_inverted_too() -> None:
    result = fit("ouyang2024-unified", replace(FEW, **EXACT).draw(np.random.default_rng(0)))
    exact = (0.05 * 1e5 ** DEMO["alpha"] * 2 ** DEMO["gamma"] / DEMO["k"]) ** (1 / DEMO["beta"])
    assert tokens_to_train(1e5, 2, 0.05, law=result).value == pytest.approx(exact, rel=1e-5)


def test_a_value_that_is_never_reached_is_said() -> None:
    table = replace(FEW, **EXACT).draw(np.random.default_rng(0))
    flat = fit("ouyang2024-unified", table, fixed={"beta": 0.0})
    with pytest.raises(InputError, match=r"never reaches QiD 5 \(up to 1e30 tokens\)"):
        tokens_to_train(1e5, 2, 5.0, law=flat)


@pytest.mark.parametrize(
    ("asked", "name"),
    [((0, 4, 0.2), "parameters"), ((7e9, -1, 0.2), "bits"), ((7e9, 4, math.nan), "qid"), ((7e9, 4, 0.0), "qid")],
)
def test_impossible_questions_are_refused(asked: tuple[float, float, float], name: str) -> None:
    with pytest.raises(InputError, match=name):
        tokens_to_train(*asked)


def test_an_end_beyond_all_text_there_is_is_no_end() -> None:
    """A band that falls almost as fast as the law grows reaches the value only at absurd counts: reported as no end."""
    result = fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)))
    tokens = result.fitted["tokens"][1]
    slow = {**result.drift, "tokens": replace(result.drift["tokens"], beyond=0.99 * result.values["beta"] / 2.015)}
    answer = tokens_to_train(
        1e5,
        2,
        float(result.predict({"parameters": 1e5, "tokens": 3 * tokens, "bits": 2})),
        law=replace(result, drift=slow),
    )
    assert answer.value == pytest.approx(3 * tokens, rel=1e-6)
    assert math.isinf(answer.interval.high)
    assert "up to 1e+21 tokens" in answer.interval.made_of
