"""Predictions: the right law answers, with an interval, the fitted range and the losses; bad input is refused in words."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit import Fit, Intervals, fit
from bitlaw.laws import load_law
from bitlaw.predict import predict
from bitlaw.predict.evidence import digitised_points, drift, published_evidence
from tests.fit.simulated import DEMO, EXACT, FEW


@pytest.fixture(scope="module")
def demo() -> Fit:
    return fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)), starts=2)


@pytest.mark.parametrize(
    ("bits", "law"),
    [(2, "ouyang2024-2bit"), (3.0, "ouyang2024-3bit"), (4, "ouyang2024-4bit"), (2.5, "ouyang2024-unified")],
)
def test_auto_takes_the_law_of_the_bit_width_else_the_unified(bits: float, law: str) -> None:
    answer = predict(1e9, 1e11, bits)
    assert answer.law == law
    columns = {"parameters": 1e9, "tokens": 1e11, "bits": bits}
    assert answer.value == pytest.approx(float(load_law(law).evaluate(answer.constants, columns)), rel=1e-12)
    assert answer.inside
    assert answer.interval.low < answer.value < answer.interval.high
    assert answer.interval.level == 0.9


def test_the_other_laws_stand_beside_with_their_disagreement() -> None:
    answer = predict(70e9, 17.3499e12, 4)
    assert answer.value == pytest.approx(0.2, rel=1e-4)
    assert [other.law for other in answer.beside] == ["ouyang2024-unified", "kumar2024-ptq"]
    assert answer.beside[0].ratio == pytest.approx((17.3499 / 10.2532) ** 0.5251, rel=1e-3)
    chosen = predict(70e9, 17.3499e12, 4, law="ouyang2024-unified")
    assert [other.law for other in chosen.beside] == ["ouyang2024-4bit", "kumar2024-ptq"]
    assert chosen.beside[0].value == pytest.approx(answer.value)


def test_losses_come_from_the_loss_law() -> None:
    answer = predict(11_327_027_200, 205.5e9, 2)
    assert answer.baseline_loss == pytest.approx(2.74, abs=0.005)
    assert answer.quantized_loss == pytest.approx(answer.baseline_loss + answer.value)
    assert "ouyang2024-loss" in answer.loss_source
    assert predict(1e9, 1e11, 2, loss_law="none").quantized_loss is None


def test_inside_the_range_the_interval_is_the_scatter_around_the_points() -> None:
    """By definition nine in ten of the 3-bit points lie in the 90 % interval of the 3-bit law."""
    points = digitised_points()
    three = points["bits"] == 3
    inside = []
    for n, d, q in zip(points["parameters"][three], points["tokens"][three], points["qid"][three]):
        answer = predict(n, d, 3)
        inside.append(answer.interval.low <= q <= answer.interval.high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)
    assert "3-bit points" in answer.interval.made_of


def test_where_there_are_no_points_the_interval_says_what_it_uses() -> None:
    assert "no 4-bit points" in predict(1e9, 1e11, 4).interval.made_of
    assert len(published_evidence("ouyang2024-4bit", 4.0).residuals) == 105
    assert len(published_evidence("ouyang2024-unified", 2.0).residuals) == 52
    assert len(published_evidence("ouyang2024-unified", 8.0).residuals) == 105


def test_drift_is_measured_on_the_points() -> None:
    """Late slopes of science/qid-law.md section 10 (.87, .90, 1.32, 1.00 for four series) against beta .5251."""
    below, beyond = drift()["tokens"]
    slopes = np.array([0.865, 0.481, 0.900, 1.324, 0.666, 0.973])
    assert beyond == pytest.approx(np.sqrt(np.mean((slopes - 0.5251) ** 2)), abs=2e-3)
    assert 0 < below < beyond
    assert drift()["bits"][1] == pytest.approx(
        np.sqrt(np.mean((np.array([5.203, 6.352, 6.096]) - 5.4967) ** 2)), abs=2e-3
    )


def test_outside_the_range_it_says_how_far_and_the_interval_widens_by_the_rule() -> None:
    edge, beyond = predict(1e9, 205.5e9, 3), predict(1e9, 15e12, 3)
    assert edge.inside
    assert not beyond.inside
    assert beyond.outside[0].words == "tokens 1.5e+13 is 73x beyond the largest fitted 2.06e+11"
    far = 1.6448536 * drift()["tokens"][1] * math.log(15e12 / 205_520_896_000)
    for end in ("low", "high"):
        near = math.log(getattr(edge.interval, end) / edge.value)
        wide = math.log(getattr(beyond.interval, end) / beyond.value)
        assert abs(wide) == pytest.approx(math.hypot(near, far), rel=1e-6)


def test_several_variables_outside_are_all_said_the_farthest_first() -> None:
    answer = predict(405e9, 100e12, 8)
    assert [out.variable for out in answer.outside] == ["tokens", "parameters", "bits"]
    assert answer.law == "ouyang2024-unified"
    small = predict(25e3, 1e11, 2)
    assert "3402x below the smallest fitted 8.51e+07" in small.outside[0].words


def test_a_law_of_one_bit_width_asked_for_another_is_loud_and_wide() -> None:
    answer = predict(1e9, 1e11, 8, law="ouyang2024-4bit")
    assert answer.outside[0].words == "bits 8: these constants hold at 4 bits only"
    assert answer.interval.high / answer.interval.low > 100


def test_above_the_vocabulary_it_says_broken() -> None:
    assert any("worse than guessing" in said for said in predict(7e9, 100e12, 2).conditions)
    assert not any("worse than guessing" in said for said in predict(7e9, 2e12, 4).conditions)


def test_a_fit_answers_with_its_own_uncertainty_and_scatter(demo: Fit) -> None:
    answer = predict(1e5, 1e6, 2, law=demo)
    columns = {"parameters": 1e5, "tokens": 1e6, "bits": 2.0}
    assert answer.value == pytest.approx(float(demo.predict(columns)))
    low, high = demo.band(columns, scatter=True)
    assert (answer.interval.low, answer.interval.high) == pytest.approx((float(low), float(high)))
    assert answer.inside
    assert "18 checkpoints of 3 models" in answer.source
    assert answer.baseline_loss is None
    assert {other.law for other in answer.beside} == {"ouyang2024-2bit", "ouyang2024-unified", "kumar2024-ptq"}


def test_a_fit_outside_its_range_is_wider_than_its_own_band(demo: Fit) -> None:
    columns = {"parameters": 1e5, "tokens": 2.5e8, "bits": 2.0}
    answer = predict(*columns.values(), law=demo)
    low, high = replace(demo, drift={}).band(columns, scatter=True)
    assert answer.outside[0].factor == pytest.approx(100)
    assert answer.interval.high > 1.5 * float(high)
    assert answer.interval.low < float(low)


def test_a_fit_of_noise_has_a_lower_end_below_zero() -> None:
    table = replace(FEW, floor=5e-2, se=0.0).draw(np.random.default_rng(3))
    result = fit("ouyang2024-unified", table, fixed={"gamma": DEMO["gamma"], "beta": 1.0})
    answer = predict(25e3, 1e5, 4, law=result)
    assert answer.interval.low < 0 < answer.value < answer.interval.high


def test_a_bootstrapped_fit_answers_too() -> None:
    kind = Intervals(kind="bootstrap-checkpoint", replicates=60)
    result = fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)), intervals=kind)
    answer = predict(1e5, 1e7, 2, law=result)
    assert answer.interval.low < answer.value < answer.interval.high
    assert "bootstrap draws of checkpoints" in answer.interval.made_of


def test_a_loss_fit_gives_the_losses_beside_a_fit(demo: Fit) -> None:
    truth = {"Nc": 1e10, "aN": 0.1, "Dc": 1e8, "aD": 0.3}
    design = replace(FEW, law="ouyang2024-loss", truth=truth, **{**EXACT, "own": 0.001})
    losses = fit("ouyang2024-loss", design.draw(np.random.default_rng(0)))
    answer = predict(1e5, 1e6, 2, law=demo, loss_law=losses)
    expected = float(load_law("ouyang2024-loss").evaluate(truth, {"parameters": 1e5, "tokens": 1e6}))
    assert answer.baseline_loss == pytest.approx(expected, rel=0.01)


def test_a_fit_that_did_not_converge_is_refused(demo: Fit) -> None:
    with pytest.raises(InputError, match="stopped after 60 rounds"):
        predict(1e5, 1e6, 2, law=replace(demo, outcome="stopped after 60 rounds without standing still"))


def test_answers_are_plain_json() -> None:
    content = predict(70e9, 15e12, 4).to_dict()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again["value"] == content["value"]
    assert again["inside"] is False
    assert again["outside"][0]["variable"] == "tokens"
    assert again["interval"]["level"] == 0.9


@pytest.mark.parametrize("wrong", [0, -1e9, math.nan, math.inf, "7B", True])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_impossible_questions_are_refused(wrong: float, position: int) -> None:
    asked = [7e9, 2e12, 4]
    asked[position] = wrong
    with pytest.raises(InputError, match=["parameters", "tokens", "bits"][position]):
        predict(*asked)


def test_numpy_numbers_are_welcome() -> None:
    assert predict(np.int64(10**9), np.float32(1e11), np.int32(3)).value == predict(1e9, np.float32(1e11), 3).value


def test_laws_that_cannot_answer_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ouyang2024-4bit'"):
        predict(1e9, 1e11, 4, law="ouyang2024-4bti")
    with pytest.raises(
        InputError, match=r"needs qid from tokens\. Use one of: auto, records, ouyang2024-unified, ouyang2024-4bit"
    ):
        predict(1e9, 1e11, 4, law="ouyang2024-loss")
    with pytest.raises(InputError, match="lack k"):
        predict(1e9, 1e11, 4, law="ouyang2024-bits")
    with pytest.raises(InputError, match="not baseline_loss"):
        predict(1e9, 1e11, 4, loss_law="ouyang2024-unified")
    with pytest.raises(InputError, match="level=90"):
        predict(1e9, 1e11, 4, level=90)


def test_a_law_with_settings_that_the_points_cannot_judge_borrows_the_unified_scatter() -> None:
    """Ours read what the digitised points lack; the value is the law's own."""
    also = {
        "layer_size": 2e5,
        "step": 5000.0,
        "learning_rate": 1e-3,
        "peak_learning_rate": 1e-3,
        "baseline_loss": 3.5,
        "format_error": 0.05,
    }
    answer = predict(6e6, 3e8, 3, law="bitlaw-sensitivity@gptq", also=also)
    law = load_law("bitlaw-sensitivity")
    columns = {"parameters": 6e6, "tokens": 3e8, "bits": 3.0, **also}
    assert answer.value == pytest.approx(float(law.evaluate(law.constants("gptq").values, columns)))
    assert answer.interval.low < answer.value < answer.interval.high
    assert "scatter of the unified law around all" in answer.interval.made_of
