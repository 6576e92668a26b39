"""Intervals: their quantile by hand, and measured coverage on models the calibration never saw."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import Rows, collect, tabulate
from bitlaw.predictor.conformal import Conformal, calibrate, quantile
from bitlaw.predictor.kinds import fit_kind, predict_kind
from tests.predictor.conftest import TRAINING
from tests.predictor.simulated_families import simulate


def test_the_quantile_counts_the_new_one_too() -> None:
    sizes = tuple(float(i) for i in range(1, 11))
    assert quantile(sizes, 0.5) == 6.0  # 6th of 11
    assert quantile(sizes, 0.9) == 10.0
    assert quantile(sizes[:3], 0.9) == 3.0  # too few for 90 %: the largest
    with pytest.raises(InputError, match="level"):
        quantile(sizes, 90)


def test_new_families_are_covered_about_as_often_as_promised() -> None:
    # Noisy windows, so that residuals are noise; another seed gives the models that are tested.
    made = {seed: tabulate(collect(simulate(sizes=(50_000, 800_000), noise=0.6, seed=seed))) for seed in (1, 2)}
    train = made[1].take(np.isin(made[1].family, TRAINING))
    intervals = calibrate("zero-shot", train, "gptq_qid", unseen=False)
    state = fit_kind("zero-shot", train, "gptq_qid")
    for level, low, high in ((0.9, 0.84, 0.97), (0.5, 0.38, 0.66)):
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
