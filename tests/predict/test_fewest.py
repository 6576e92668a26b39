"""Fewest bits: at the answer the degradation is the budget, below it is above, and whole widths agree with predictions."""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.predict import fewest_bits, predict
from tests.fit.simulated import DEMO, EXACT, FEW

UNIFIED = "ouyang2024-unified"


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3, 2.0])
def test_at_the_answer_the_degradation_is_the_budget(budget: float) -> None:
    answer = fewest_bits(1e9, 1e11, budget)
    assert answer.law == UNIFIED
    assert answer.value == pytest.approx((0.017 * 1e11**0.5251 / 1e9**0.2261 / budget) ** (1 / 5.4967), rel=1e-6)
    assert predict(1e9, 1e11, answer.interval.high, law=UNIFIED).interval.high == pytest.approx(budget, rel=1e-4)
    assert predict(1e9, 1e11, answer.interval.low, law=UNIFIED).interval.low == pytest.approx(budget, rel=1e-4)


def test_whole_widths_are_the_smallest_that_keep_to_the_budget() -> None:
    said = {bits: predict(1e9, 1e11, bits) for bits in range(2, 17)}
    for budget in (0.004, 0.03, 0.036, 0.04, 0.2, 0.5, 3.0):
        answer = fewest_bits(1e9, 1e11, budget)
        assert answer.whole == min(bits for bits in said if said[bits].value <= budget)
        assert answer.whole_safe == min(bits for bits in said if said[bits].interval.high <= budget)
        for width in answer.widths:
            assert width.value == pytest.approx(said[width.bits].value)
            assert (width.within, width.safe) == (
                said[width.bits].value <= budget,
                said[width.bits].interval.high <= budget,
            )
        assert answer.widths[-1].bits == max(answer.whole, answer.whole_safe)


def test_a_budget_of_exactly_a_prediction_is_kept() -> None:
    exact = predict(1e9, 1e11, 3).value
    assert fewest_bits(1e9, 1e11, exact).whole == 3
    assert fewest_bits(1e9, 1e11, np.nextafter(exact, 0)).whole == 4


def test_a_fit_answers() -> None:
    result = fit(UNIFIED, replace(FEW, **EXACT).draw(np.random.default_rng(0)), starts=2)
    answer = fewest_bits(1e5, 1e6, 0.01, law=result)
    exact = (DEMO["k"] * 1e6 ** DEMO["beta"] / 1e5 ** DEMO["alpha"] / 0.01) ** (1 / DEMO["gamma"])
    assert answer.value == pytest.approx(exact, rel=1e-4)
    assert {width.law for width in answer.widths} == {UNIFIED}


def test_where_no_width_is_safe_it_says_so() -> None:
    answer = fewest_bits(7e9, 100e12, 0.05)
    assert answer.whole == 8
    assert answer.whole_safe is None
    assert answer.to_dict()["interval"]["high"] is None
    assert "no upper end" in answer.interval.made_of


def test_kumar_in_closed_form() -> None:
    """QiD = C exp(-P/g): P = g ln(C/budget)."""
    scale = 0.0598 * 1e10**0.5068 / 1e8**0.3439
    answer = fewest_bits(1e8, 1e10, 0.02, law="kumar2024-ptq")
    assert answer.value == pytest.approx(0.5907 * np.log(scale / 0.02), rel=1e-6)


def test_strict_uses_widths_inside_the_range_only() -> None:
    answer = fewest_bits(1e9, 1e11, 0.5, strict=True)
    assert {width.bits for width in answer.widths} <= {2.0, 3.0, 4.0}
    assert answer.inside
    with pytest.raises(InputError, match="bits 7"):
        fewest_bits(1e9, 1e11, 0.002, strict=True)
    with pytest.raises(InputError, match=r"tokens 1\.5e\+13"):
        fewest_bits(1e9, 15e12, 0.5, strict=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": 0}, "budget=0"),
        ({"budget": -1}, "budget=-1"),
        ({"budget": 1e-9}, "no width up to 16 bits"),
        ({"parameters": 70}, "70e9 for 70 billion"),
        ({"tokens": 2}, "2e9 for 2 billion"),
        ({"law": "ouyang2024-4bit"}, "does not read bits"),
    ],
)
def test_impossible_questions_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fewest_bits(**{"parameters": 1e9, "tokens": 1e11, "budget": 0.1, **asked})
