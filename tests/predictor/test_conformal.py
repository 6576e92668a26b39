"""Intervals: their quantile by hand, and measured coverage on models the calibration never saw."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import Rows, collect, tabulate
from bitlaw.predictor.conformal import Conformal, calibrate, quantile
from bitlaw.predictor.kinds import fit_kind, predict_kind
from bitlaw.predictor.ranges import distance, range_values, ranges_of
from tests.predictor.conftest import TRAINING
from tests.predictor.simulated_families import simulate


def test_the_quantile_counts_the_new_one_too() -> None:
    sizes = tuple(float(i) for i in range(1, 11))
    assert quantile((sizes,), 0.5, 10) == 6.0  # 6th of 11
    assert quantile((sizes,), 0.9, 10) == 10.0
    assert quantile((sizes,), 0.7, 10**6) == 8.0  # no more than the rows say, where networks are many
    assert quantile((sizes[:3],), 0.9, 3) == 3.0  # too few for 90 %: the largest
    with pytest.raises(InputError, match="level"):
        quantile((sizes,), 90, 10)


def test_every_family_counts_the_same_however_many_rows_it_has() -> None:
    many, few = (1.0,) * 96, (2.0, 3.0, 4.0, 5.0)
    assert quantile((many, few), 0.49, 10**6) == 1.0
    assert quantile((many, few), 0.62, 10**6) == 2.0
    assert quantile((many, few), 0.74, 10**6) == 3.0


@pytest.mark.parametrize("family_sd", [0.0, 0.5, 1.0])
def test_families_that_err_together_are_covered_as_often_as_promised(family_sd: float) -> None:
    generator = np.random.default_rng(0)

    def family() -> np.ndarray:
        own, each = family_sd * generator.standard_normal(), 0.5 * generator.standard_normal((4, 1))
        return np.abs(own + each + generator.standard_normal((4, 28)))

    covered = []
    for _ in range(400):
        size = quantile(tuple(tuple(family().ravel()) for _ in range(6)), 0.9, 6 * 4)
        covered.append(np.mean([np.mean(family() <= size) for _ in range(4)]))
    assert 0.88 <= np.mean(covered) <= 0.94


def test_new_families_are_covered_about_as_often_as_promised() -> None:
    # Noisy windows, so that residuals are noise; another seed gives the models that are tested.
    made = {seed: tabulate(collect(simulate(sizes=(50_000, 800_000), noise=0.6, seed=seed))) for seed in (1, 2)}
    train = made[1].take(np.isin(made[1].family, TRAINING))
    intervals = calibrate("zero-shot", train, "gptq_qid", unseen=False)
    state = fit_kind("zero-shot", train, "gptq_qid")
    for level, low, high in ((0.9, 0.86, 0.99), (0.5, 0.42, 0.72)):
        hits = []
        for rows in made.values():
            test = rows.take(np.isin(rows.family, ["mpt", "gpt_neox"]))
            loss = predict_kind("zero-shot", state, test, "gptq_qid")
            half = intervals.half_width(loss - test["baseline_loss"], level)
            hits += (np.abs(test["gptq_loss"] - loss) <= half).tolist()
        assert low <= np.mean(hits) <= high


def test_unseen_formats_get_wider_intervals(rows: Rows) -> None:
    intervals = calibrate("zero-shot", rows, "gptq_qid")
    at = np.array([0.01, 0.5, 2.0])
    assert (intervals.half_width(at, 0.9, unseen=True) >= intervals.half_width(at, 0.9)).all()
    assert (np.diff(intervals.half_width(at, 0.9)) > 0).all()
    assert Conformal.from_dict(intervals.to_dict()) == intervals


def test_one_family_gives_no_interval(rows: Rows) -> None:
    with pytest.raises(InputError, match="one family \\(opt\\)"):
        calibrate("zero-shot", rows.take(rows.family == "opt"), "gptq_qid")


def test_an_interval_widens_with_distance_and_in_proportion_beyond_the_largest_damage() -> None:
    made = Conformal(
        known=((0.5, 1.0, 2.0), (1.0, 3.0)),
        unseen=((1.0,),),
        degradation=(0.1, 1.0),
        typical=(0.01, 0.1),
        per_range=0.5,
        networks=4,
    )
    at = np.array([0.1, 1.0, 10.0])
    # four networks are too few for 90 %: the largest
    np.testing.assert_allclose(made.half_width(at, 0.9), 3.0 * np.array([0.01, 0.1, 1.0]))
    np.testing.assert_allclose(made.half_width(at, 0.9, distance=2.0), 2.0 * made.half_width(at, 0.9))
    np.testing.assert_allclose(made.half_width(at, 0.9, unseen=True), 1.25 * made.half_width(at, 0.9))
    # at 1.25 times 30 %, each family half: 1/6 are .5 at most, 7/12 are 1 at most
    np.testing.assert_allclose(made.half_width(at[:1], 0.3), 0.01)


def test_a_model_far_outside_is_said_to_be_less_certain(rows: Rows) -> None:
    values = range_values(rows, "zero-shot")
    inside = ranges_of(values)
    assert (distance(inside, values) == 0.0).all()
    far = {**values, "parameters": values["parameters"] * 1e3}
    low, high = np.log10(inside["parameters"])
    found = distance(inside, far)
    assert found.max() == pytest.approx(3.0 / (high - low))
    unknown = {**values, "rise": np.full(len(rows), np.nan)}
    assert (distance(inside, unknown) == 0.0).all()
