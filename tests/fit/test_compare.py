"""Held-out comparison: the law that made the table wins, baselines lose, what cannot be fitted says why."""

import dataclasses
import json

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit import Contender, Table, compare
from bitlaw.fit.baselines import mean_per_format, nearest_neighbour
from bitlaw.fit.holdout import HOLDOUTS, holdout, possible
from bitlaw.fit.simulate import Design
from tests.fit.simulated import MANY, PYTHIA

DESIGN = Design(truth=PYTHIA, sizes=MANY.sizes[::2], tokens=MANY.tokens, bits=(2.0, 3.0, 4.0, 6.0), own=0.05)
TABLE = DESIGN.draw(np.random.default_rng(0))
COMPARISON = compare(["ouyang2024-unified", "ouyang2024-2bit", "kumar2024-ptq", "chen2025-qat"], TABLE, starts=2)


def test_holdouts_leave_out_what_they_say() -> None:
    assert possible(TABLE) == ("largest-size", "later-tokens", "bits", "model")
    (largest,) = holdout(TABLE, "largest-size").turns
    assert set(TABLE["parameters"][largest]) == {max(DESIGN.sizes)}
    (later,) = holdout(TABLE, "later-tokens").turns
    assert TABLE["tokens"][later].min() > 0.4 * TABLE["tokens"].max() >= TABLE["tokens"][~later].max()
    turns = holdout(TABLE, "bits").turns
    assert [set(TABLE["bits"][turn]) for turn in turns] == [{2.0}, {3.0}, {4.0}, {6.0}]
    with pytest.raises(UnknownName, match="Did you mean 'largest-size'"):
        holdout(TABLE, "largest-sise")
    with pytest.raises(InputError, match="leaves no rows"):
        holdout(TABLE.where(parameters=max(DESIGN.sizes)), "largest-size")
    assert set(COMPARISON.holdouts) == {"largest-size", "later-tokens", "bits"} < set(HOLDOUTS)


def test_the_law_that_made_the_table_wins_everywhere() -> None:
    for name in COMPARISON.holdouts:
        assert COMPARISON.best(name).name == "ouyang2024-unified"
        scores = COMPARISON.of("ouyang2024-unified", name)
        assert scores.log_r2 > 0.98
        assert scores.median_relative_error < 0.08
        assert scores.bias == pytest.approx(1.0, abs=0.1)
        assert scores.covered > 0.8
        for baseline in ("mean per format", "nearest neighbour"):
            assert COMPARISON.of(baseline, name).log_error > 3 * scores.log_error
    order = {row.name: row.bic for row in COMPARISON.in_sample}
    assert order["ouyang2024-unified"] < order["kumar2024-ptq"] < order["ouyang2024-2bit"]


def test_scores_are_what_they_say() -> None:
    """One turn by hand: fitted without the largest model, compared with its rows."""
    from bitlaw.fit import fit

    largest = TABLE["parameters"] == TABLE["parameters"].max()
    result = fit("ouyang2024-unified", TABLE.take(~largest), starts=2)
    left = TABLE.take(largest)
    above = left["qid"] > 5e-4
    away = np.log(result.predict(left.columns) / left["qid"])[above]
    scores = COMPARISON.of("ouyang2024-unified", "largest-size")
    assert scores.median_relative_error == pytest.approx(np.median(np.abs(np.expm1(away))))
    assert scores.log_error == pytest.approx(np.sqrt(np.mean(away**2)))
    assert (scores.tested, scores.scored, scores.turns) == (len(left), int(above.sum()), 1)


def test_what_cannot_be_fitted_says_why() -> None:
    row = COMPARISON.of("chen2025-qat", "bits")
    assert "needs column 'group_size'" in row.failed
    assert np.isnan(row.log_r2)
    assert "| chen2025-qat | - | - | - |" in COMPARISON.text()
    assert "chen2025-qat" not in {row.name for row in COMPARISON.in_sample}
    json.dumps(COMPARISON.to_dict(), allow_nan=False)
    with pytest.raises(InputError, match="one target"):
        compare(["ouyang2024-unified", "ouyang2024-loss"], TABLE)
    with pytest.raises(InputError, match="No scores of 'x'"):
        COMPARISON.of("x", "bits")


def test_settings_of_a_contender_reach_its_fits() -> None:
    rows = Table(columns={**TABLE.columns, "method": np.where(np.arange(len(TABLE)) % 2, "gptq", "nearest")})
    rows = dataclasses.replace(
        rows, columns={**rows.columns, "qid": rows["qid"] * np.where(rows["method"] == "gptq", 1.0, 3.0)}
    )
    plain = Contender(law="ouyang2024-unified")
    own = Contender(law="ouyang2024-unified", name="offsets", options={"offsets": ("method",)})
    found = compare([plain, own], rows, ["largest-size"], baselines=False, starts=2)
    assert (
        found.of("offsets", "largest-size").median_relative_error
        < 0.1
        < found.of("ouyang2024-unified", "largest-size").median_relative_error
    )


def test_baselines_by_hand() -> None:
    known = Table(
        columns={
            "parameters": [1e6, 1e6, 1e8],
            "tokens": [1e9, 2e9, 1e9],
            "bits": [2, 2, 4],
            "method": ["a", "a", "a"],
            "qid": [1.0, 4.0, -0.1],
        }
    )
    asked = Table(columns={"parameters": [2e6, 1e8], "tokens": [3e9, 1e9], "bits": [2, 3], "method": ["a", "a"]})
    np.testing.assert_allclose(mean_per_format(known, asked, "qid")[0], 2.0)
    np.testing.assert_allclose(nearest_neighbour(known, asked, "qid"), [4.0, 1e-6])
