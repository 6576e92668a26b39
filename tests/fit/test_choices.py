"""Ties, held parameters, weights and collapsed rows: each against a fit that says the same another way."""

import dataclasses

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Collapse, Noise, Table, fit
from bitlaw.fit.simulate import Design
from bitlaw.laws import law_from_text
from tests.fit.simulated import DEMO, EXACT, FEW, MANY, PYTHIA

UNIFIED = "ouyang2024-unified"
NOISY = FEW.draw(np.random.default_rng(3))
GIVEN = Noise(relative=0.2, floor=1e-4)


def test_a_tie_is_the_same_law_with_one_parameter_less() -> None:
    tied = fit(UNIFIED, NOISY, tied={"alpha": "beta"}, noise=GIVEN)
    one = law_from_text("k * (D / N)^beta / P^gamma", parameters={"k": 1e-3, "beta": (0.0, 4.0), "gamma": (0.0, 20.0)})
    same = fit(one, NOISY, noise=GIVEN)
    assert tied.values["alpha"] == tied.values["beta"] == pytest.approx(same.values["beta"], rel=1e-5)
    assert tied.free == ("k", "beta", "gamma")
    assert tied.tied == {"alpha": "beta"}
    assert tied.intervals["alpha"] == tied.intervals["beta"] == pytest.approx(same.intervals["beta"], rel=1e-3)
    point = {"parameters": 1e6, "tokens": 1e7, "bits": 2.0}
    np.testing.assert_allclose(tied.band(point), same.band(point), rtol=1e-3)


def test_laws_hold_and_tie_what_tables_cannot_tell_until_it_is_freed() -> None:
    table = Design(
        law="kumar2024-ptq",
        truth={"C_T": 0.06, "gD": 0.5, "gN": 0.35, "g_post": 0.6, "n_post": 0.0},
        sizes=MANY.sizes[::4],
        tokens=MANY.tokens,
    ).draw(np.random.default_rng(0))
    held = fit("kumar2024-ptq", table)
    assert held.fixed == {"n_post": 0.0}
    freed = fit("kumar2024-ptq", table, fixed={"C_T": 0.06 / np.e}, free=("n_post",))
    assert freed.values["n_post"] == pytest.approx(1.0, rel=1e-4)  # a bias is a scale
    assert any("not determined" in said for said in fit("kumar2024-ptq", table, free=("n_post",)).warnings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fixed": {"alpha": 0.3}, "free": ("alpha",)}, "free and fixed or tied"),
        ({"fixed": {"alpha": 0.3}, "tied": {"alpha": "beta"}}, "fixed and tied"),
        ({"tied": {"alpha": "beta", "beta": "gamma"}}, "tie both to the last"),
        ({"tied": {"alpha": "delta"}}, "no parameter 'delta'"),
        ({"fixed": dict.fromkeys(("k", "beta", "alpha", "gamma"), 1.0)}, "Every parameter"),
    ],
)
def test_contradictions_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(UNIFIED, NOISY, **settings)


def test_a_tie_to_a_fixed_parameter_is_fixed() -> None:
    result = fit(UNIFIED, NOISY, fixed={"beta": 1.0}, tied={"alpha": "beta"})
    assert result.fixed == {"beta": 1.0, "alpha": 1.0}


def test_a_weight_of_two_is_a_row_given_twice() -> None:
    often = np.where(np.arange(len(NOISY)) % 3 == 0, 2.0, 1.0)
    weighted = fit(UNIFIED, Table(columns={**NOISY.columns, "weight": often}), weights="weight", noise=GIVEN)
    twice = fit(UNIFIED, NOISY.take(np.repeat(np.arange(len(NOISY)), often.astype(int))), noise=GIVEN)
    assert weighted.values == pytest.approx(twice.values, rel=2e-3)  # se and floor are divided too, in both
    with pytest.raises(InputError, match="finite and above 0"):
        fit(UNIFIED, Table(columns={**NOISY.columns, "weight": often - 1.0}), weights="weight")


def collapsing() -> Table:
    """A steep law whose large values cannot be measured: every model ends near guessing."""
    design = dataclasses.replace(FEW, **{**EXACT, "own": 0.05}, truth={**DEMO, "k": DEMO["k"] * 60})
    table = design.draw(np.random.default_rng(0))
    ceiling = np.log(1024)
    loss = np.minimum(4.0 + table["qid"], ceiling)
    return Table(columns={**table.columns, "qid": loss - 4.0, "loss": loss, "baseline_loss": np.full(len(table), 4.0)})


def test_censored_rows_say_at_least_and_the_law_comes_back() -> None:
    table = collapsing()
    rule = Collapse(vocabulary=1024, share=0.9)
    results = {
        action: fit(UNIFIED, table, collapse=dataclasses.replace(rule, action=action))
        for action in ("censor", "drop", "keep")
    }
    error = {action: abs(result.values["gamma"] - DEMO["gamma"]) for action, result in results.items()}
    assert error["censor"] < 0.2
    assert error["keep"] > 3 * error["censor"]
    broken = int(np.sum(table["loss"] >= rule.limit))
    assert 3 < broken < 20
    assert results["censor"].data.censored == broken
    assert results["censor"].data.rows == len(table)
    assert results["drop"].data.left_out == {"collapsed: loss of at least 6.24 nats (0.9 ln 1024)": broken}
    assert results["keep"].data.censored == 0


def test_censored_exact_rows_do_not_move_an_exact_fit() -> None:
    design = dataclasses.replace(MANY, **EXACT)
    table = design.draw(np.random.default_rng(0))
    limit = np.quantile(table["qid"], 0.8)
    cut = Table(columns={**table.columns, "qid": np.minimum(table["qid"], limit)})
    rule = Collapse(vocabulary=1000, share=float(limit / np.log(1000)))
    assert fit(UNIFIED, cut, collapse=rule).values == pytest.approx(PYTHIA, rel=0.02)
    assert fit(UNIFIED, cut).values["beta"] != pytest.approx(PYTHIA["beta"], rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"vocabulary": 1}, "number of tokens"),
        ({"vocabulary": 1000, "share": 0.0}, "above 0"),
        ({"vocabulary": 1000, "action": "hide"}, "Known: censor, drop, keep"),
    ],
)
def test_impossible_rules_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Collapse(**wrong)


def test_a_table_of_wrecks_cannot_be_fitted() -> None:
    with pytest.raises(InputError, match="Nothing is left"):
        fit(UNIFIED, collapsing(), collapse=Collapse(vocabulary=2))
    with pytest.raises(InputError, match="qid or loss"):
        fit("ouyang2024-loss", collapsing(), collapse=Collapse(vocabulary=1000))
