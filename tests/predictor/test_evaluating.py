"""The evaluation table on a planted landscape: who wins, what is held out, coverage, the ablation, and what cannot be judged."""

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.predictor import Evaluation, Rows, collect, importances, predictor_evaluate, tabulate, waterfall
from bitlaw.predictor.evaluating import impossible_splits
from bitlaw.predictor.kinds import fit_kind, predict_kind
from bitlaw.records import Measurement
from tests.predictor.simulated_families import simulate

CHEAP = (
    "no-change",
    "format-mean",
    "isotonic",
    "landscape",
    "config",
    "config-no-tokens",
    "zero-shot",
    "after-nearest",
)


@pytest.fixture(scope="module")
def judged(rows: Rows) -> Evaluation:
    return predictor_evaluate(rows, kinds=CHEAP)


def test_the_landscape_beats_every_baseline_where_it_is_the_truth(judged: Evaluation) -> None:
    for split in ("leave-family", "leave-largest", "paper"):
        for target in ("gptq_change", "gptq_qid"):
            best, baseline = judged.best(split, target, baseline=False), judged.best(split, target, baseline=True)
            assert best.kind in ("after-nearest", "zero-shot")
            assert best.scores.r2 > max(0.98, baseline.scores.r2)
    with pytest.raises(InputError, match="was not evaluated"):
        judged.find("paper", "gptq_change", "forest")


def test_each_split_holds_out_what_it_says(judged: Evaluation, rows: Rows) -> None:
    assert len(judged.find("leave-family", "gptq_qid", "zero-shot").rows) == len(rows)
    largest = judged.find("leave-largest", "gptq_qid", "zero-shot").rows
    assert set(rows["parameters"][largest]) == {800_000}
    assert set(rows.family[judged.find("paper", "gptq_qid", "zero-shot").rows]) == {"gpt_neox", "mpt"}


def test_scores_and_intervals_belong_together(judged: Evaluation) -> None:
    one = judged.find("leave-family", "gptq_change", "after-nearest")
    inside = (one.measured >= one.low) & (one.measured <= one.high)
    assert one.scores.covered == pytest.approx(inside.mean())
    assert 0.8 <= one.scores.covered <= 1.0
    assert one.scores.n == len(one.predicted)
    same = judged.find("leave-family", "gptq_qid", "after-nearest")
    np.testing.assert_allclose(same.predicted - one.predicted, same.measured - one.measured)


def test_the_ablation_sets_each_kind_beside_itself(judged: Evaluation) -> None:
    found = [row for row in judged.ablation() if (row["split"], row["target"]) == ("paper", "gptq_qid")]
    assert [row["predictor"] for row in found] == ["config-no-tokens"]
    assert found[0]["r2_with"] == judged.find("paper", "gptq_qid", "config").scores.r2


def test_what_cannot_be_judged_says_why(rows: Rows) -> None:
    ageless = rows.take(np.arange(len(rows)))
    ageless.columns["tokens"][:] = np.nan
    one = predictor_evaluate(ageless, kinds=("config",), targets=("gptq_qid",), splits=("paper",)).results[0]
    assert "Training tokens are unknown" in one.failed
    with pytest.raises(InputError, match="here are 2"):
        predictor_evaluate(rows.take(np.isin(rows.family, ["opt", "mpt"])))
    with pytest.raises(InputError, match="gpt2 are missing"):
        predictor_evaluate(rows.take(rows.family != "gpt2"), kinds=("no-change",), splits=("paper",))
    alone = rows.take(rows["parameters"] == 50_000)
    with pytest.raises(InputError, match="one size only"):
        predictor_evaluate(alone, kinds=("no-change",), splits=("leave-largest",))
    assert list(impossible_splits(alone)) == ["leave-largest"]
    assert list(impossible_splits(rows.take(rows.family != "mpt"))) == ["paper"]
    with pytest.raises(UnknownName, match="leave-family"):
        predictor_evaluate(rows, kinds=("no-change",), splits=("leave-families",))


def test_importances_and_waterfalls_of_a_forest(rows: Rows) -> None:
    pytest.importorskip("sklearn")
    small = rows.take(np.isin(rows.family, ["opt", "gpt2", "mpt"]))
    found = importances(small, "gptq_change")
    assert sum(one.impurity for one in found) == pytest.approx(1.0)
    assert {one.name for one in found[:4]} >= {"nearest_loss"}  # nothing else says how much there is to gain
    assert next(one for one in found if one.name == "exponent_bits").permutation < 0.02
    state = fit_kind("forest", small, "gptq_change")
    for index in (0, 10, 20):
        one = waterfall(state, small, index, "gptq_change")
        assert one.base + sum(one.parts.values()) == pytest.approx(one.prediction, abs=1e-12)
        assert one.measured == small.target("gptq_change")[index]
        assert one.values["bits"] == small["bits"][index]
    with pytest.raises(InputError, match="no trees"):
        waterfall(fit_kind("zero-shot", small, "gptq_qid"), small, 0, "gptq_qid", kind="zero-shot")


def test_noise_of_measurements_limits_what_the_truth_would_score(judged: Evaluation, rows: Rows) -> None:
    error = np.hypot(rows["gptq_se"], rows["nearest_se"])
    expected = 1 - np.mean(error**2) / np.var(rows.target("gptq_change"))
    assert judged.ceiling("leave-family", "gptq_change") == pytest.approx(expected)
    assert 0.99 < expected < 1


def test_a_split_of_ones_own_scores_the_rows_it_holds_out(rows: Rows) -> None:
    held = rows.family == "mpt"
    found = predictor_evaluate(rows, kinds=("zero-shot",), splits=(), own={"blind": [(~held, held)]})
    assert {one.split for one in found.results} == {"blind"}
    one = found.find("blind", "gptq_qid", "zero-shot")
    assert one.rows.tolist() == np.flatnonzero(held).tolist()
    other = predict_kind("zero-shot", fit_kind("zero-shot", rows.take(~held), "gptq_qid"), rows.take(held), "gptq_qid")
    np.testing.assert_allclose(one.predicted, other - rows["baseline_loss"][held])


def test_a_kind_that_reads_compensated_probes_is_judged_on_the_models_that_have_them(
    measurements: list[Measurement], gained: Rows
) -> None:
    few = simulate(("bloom", "gpt2", "llama"), sizes=(50_000, 800_000), gains=True)
    mixed = tabulate(collect([*few, *(m for m in measurements if m.asked.checkpoint.family in ("mpt", "opt"))]))
    kinds = ("after-nearest", "after-nearest-compensated")
    found = predictor_evaluate(mixed, kinds=kinds, targets=("gptq_change",), splits=("leave-family",))
    plain, own = (found.find("leave-family", "gptq_change", kind) for kind in kinds)
    assert (plain.models, own.models) == (10, 6)
    assert set(mixed.family[own.rows]) == {"bloom", "gpt2", "llama"}
    assert own.to_dict()["models"] == 6
    assert own.scores.r2 > 0.97
