"""Every predictor and baseline on the planted landscape, left-out families; metrics and isotonic against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.predictor import KINDS, Rows, collect, tabulate
from bitlaw.predictor.isotonic import isotonic
from bitlaw.predictor.kinds import MEANS, fit_kind, predict_kind
from bitlaw.predictor.metrics import r2, rank_correlation, scores
from bitlaw.predictor.shift import effective_db
from tests.predictor.simulated_families import effective_db as planted_db
from tests.predictor.simulated_families import simulate

# R2 of the change with two families left out: the least that each kind reaches where the landscape explains everything.
LEAST = {
    "no-change": -2.0, "format-mean": 0.5, "isotonic": 0.5, "landscape": -3.0, "scaling-law": 0.4, "boosting": 0.97,
    "forest": 0.97, "forest-training": 0.97, "config-no-tokens": 0.7, "config": 0.7, "zero-shot": 0.99,
    "zero-shot-training": 0.99, "after-nearest": 0.99, "after-nearest-training": 0.99, "share": 0.97, "blend": 0.98,
    "zero-shot-mean": 0.9, "after-nearest-mean": 0.9, "zero-shot-compensated": 0.99, "after-nearest-compensated": 0.99,
    "share-compensated": 0.97, "blend-compensated": 0.98, "landscape-compensated": 0.5, "zero-shot-compensated-mean": 0.9,
    "after-nearest-compensated-mean": 0.98,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_left_out_families_are_predicted(name: str, rows: Rows, gained: Rows) -> None:
    if KINDS[name].needs:
        rows = gained
    held = np.isin(rows.family, ["mpt", "gpt_neox"])
    state = fit_kind(name, rows.take(~held), "gptq_qid")
    test = rows.take(held)
    found = r2(test.target("gptq_qid"), predict_kind(name, state, test, "gptq_qid") - test["baseline_loss"])
    assert found > LEAST[name]


def test_the_planted_shift_comes_back(rows: Rows) -> None:
    state = fit_kind("zero-shot", rows, "gptq_qid")
    for snr in (7.0, 11.0, 17.0):
        near = np.abs(rows["gaussian_db"] - snr) < 1.5
        found = np.median((effective_db(state, rows) - rows["gaussian_db"])[near])
        assert found == pytest.approx(
            np.median([planted_db("gptq", s) - s for s in rows["gaussian_db"][near]]), abs=0.4
        )


@pytest.mark.parametrize(
    ("name", "least"), [("zero-shot", 0.97), ("after-nearest", 0.97), ("share", 0.8), ("blend", 0.9)]
)
def test_a_gain_of_a_network_s_own_is_told_by_compensated_noise_alone(name: str, least: float, gained: Rows) -> None:
    held = np.isin(gained.family, ["mpt", "gpt_neox"])
    train, test = gained.take(~held), gained.take(held)
    measured = test.target("gptq_change")

    def score(kind: str) -> float:
        state = fit_kind(kind, train, "gptq_qid")
        return r2(measured, predict_kind(kind, state, test, "gptq_qid") - test["nearest_loss"])

    assert score(f"{name}-compensated") > max(least, score(name) + 0.1)


def test_compensated_probes_that_are_missing_are_named(rows: Rows, gained: Rows) -> None:
    for name in ("zero-shot-compensated", "after-nearest-compensated", "share-compensated", "blend-compensated"):
        with pytest.raises(InputError, match=r"compensation is worth is unknown for families/bloom-50k@1000"):
            fit_kind(name, rows, "gptq_qid")
        state = fit_kind(name, gained, "gptq_qid")
        with pytest.raises(InputError, match="perturb_compensated"):
            predict_kind(name, state, rows, "gptq_qid")
        with pytest.raises(InputError, match="cannot predict nearest_qid"):
            fit_kind(name, gained, "nearest_qid")


def test_targets_that_cannot_be_are_refused(rows: Rows) -> None:
    with pytest.raises(InputError, match="cannot predict nearest_qid"):
        fit_kind("forest", rows, "nearest_qid")
    with pytest.raises(UnknownName, match="zero-shot"):
        fit_kind("zeroshot", rows, "gptq_qid")
    with pytest.raises(UnknownName, match="gptq_qid"):
        fit_kind("zero-shot", rows, "qid")


def test_a_constant_target_is_named(rows: Rows) -> None:
    still = rows.take(np.arange(len(rows)))
    still.columns["gptq_loss"][:] = still["nearest_loss"]
    with pytest.raises(InputError, match="gptq_change is the same in all"):
        fit_kind("forest", still, "gptq_change")


def test_missing_landscapes_and_tokens_are_named() -> None:
    bare = tabulate(collect(simulate(("opt", "mpt"), (50_000,), ("mxint4_k32", "mxint2_k32"), probes=False)))
    with pytest.raises(InputError, match="No landscape along random directions for families/mpt"):
        fit_kind("zero-shot", bare, "gptq_qid")
    bare.columns["tokens"][:] = np.nan
    with pytest.raises(InputError, match="Training tokens are unknown"):
        fit_kind("config", bare, "gptq_qid")
    probed = tabulate(collect(simulate(("opt", "mpt"), (50_000,), ("mxint4_k32", "mxint2_k32"))))
    probed.columns["tokens"][:] = np.nan
    with pytest.raises(InputError, match="Training tokens are unknown for families/mpt"):
        fit_kind("zero-shot-training", probed, "gptq_qid")
    fit_kind("config-no-tokens", bare, "gptq_qid")


def test_isotonic_is_scikit_learn_s() -> None:
    theirs = pytest.importorskip("sklearn.isotonic").IsotonicRegression(out_of_bounds="clip")
    generator = np.random.default_rng(0)
    x = generator.integers(0, 30, 80) / 3.0
    y = np.sqrt(x) + 0.5 * generator.standard_normal(80)
    new = np.linspace(-1, 11, 50)
    np.testing.assert_allclose(np.interp(new, *isotonic(x, y)), theirs.fit(x, y).predict(new), atol=1e-12)


def test_metrics_are_scikit_learn_s_and_scipy_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    y = generator.standard_normal(60).round(1)
    p = y + 0.4 * generator.standard_normal(60).round(1)
    found = scores(y, p, p - 0.5, p + 0.5, groups=np.arange(60) % 2)
    assert found.r2 == pytest.approx(metrics.r2_score(y, p))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(y, p))
    assert found.rank == pytest.approx(stats.spearmanr(y, p).statistic)
    assert found.worst_r2 == pytest.approx(min(metrics.r2_score(y[k::2], p[k::2]) for k in (0, 1)))
    assert found.covered == np.mean(np.abs(y - p) <= 0.5)
    assert found.width == pytest.approx(1.0)
    assert np.isnan(r2(np.ones(3), np.arange(3.0)))
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


@pytest.mark.parametrize("name", ["config", "config-no-tokens"])
def test_config_stays_below_what_was_reached_however_far_it_is_asked(name: str, rows: Rows) -> None:
    few = rows.take((rows["parameters"] <= 200_000) & (rows["bits"] > 2))  # no format near the plateau
    state = fit_kind(name, few, "gptq_qid")
    highest = max(float(np.max(curve.loss)) for model, curve in few.curves.items() if curve and model in few.models)
    assert state["ceiling"] == highest
    for far in (10.0, 1e4, 1e8):
        asked = few.take(np.arange(len(few)))
        asked = replace(
            asked, columns={**few.columns, "tokens": few["tokens"] * far, "parameters": few["parameters"] * far**0.5}
        )
        said = predict_kind(name, state, asked, "gptq_qid")
        assert (said <= highest).all()
        assert (said >= few["baseline_loss"]).all()
    furthest = [
        predict_kind(name, state, replace(few, columns={**few.columns, "tokens": few["tokens"] * far}), "gptq_qid")
        for far in (1e3, 1e6)
    ]
    np.testing.assert_array_equal(*furthest)  # beyond the reach nothing changes any more


def test_a_mean_is_that_of_its_members_and_says_what_it_lacks(rows: Rows) -> None:
    state = fit_kind("after-nearest-mean", rows, "gptq_qid")
    alone = [
        predict_kind(name, fit_kind(name, rows, "gptq_qid"), rows, "gptq_qid") for name in MEANS["after-nearest-mean"]
    ]
    np.testing.assert_allclose(predict_kind("after-nearest-mean", state, rows, "gptq_qid"), np.mean(alone, axis=0))
    unknown = replace(rows, columns={**rows.columns, "layer_size": np.full(len(rows), np.nan)})
    with pytest.raises(InputError, match="of zero-shot-mean says nothing of families/"):
        predict_kind("zero-shot-mean", fit_kind("zero-shot-mean", rows, "gptq_qid"), unknown, "gptq_qid")


def test_the_law_is_fitted_to_so_many_rows_at_most(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    whole = fit_kind("scaling-law", rows, "gptq_qid")["values"]
    monkeypatch.setattr("bitlaw.predictor.baselines.LAW_ROWS", len(rows) // 2)
    half = fit_kind("scaling-law", rows, "gptq_qid")["values"]
    assert half["lnV"] == whole["lnV"]  # the ceiling is that of all rows
    assert half["k"] != whole["k"]
    assert half["alpha"] == pytest.approx(whole["alpha"], abs=0.05)
