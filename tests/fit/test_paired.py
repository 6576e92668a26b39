"""Better or a tie: the bootstrap of paired errors, against what can be worked out by hand."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import compare, difference
from bitlaw.fit.comparing import HeldOut
from bitlaw.fit.paired import behind_best
from tests.fit.test_compare import COMPARISON, TABLE


def held(away: np.ndarray, checkpoints: np.ndarray, name: str = "one", holdout: str = "bits") -> HeldOut:
    count = len(away)
    return HeldOut(name=name, holdout=holdout, turns=1, tested=count, scored=count, away=away, checkpoints=checkpoints)


def test_a_law_that_is_off_by_more_in_every_row_is_worse_and_equal_ones_tie() -> None:
    generator = np.random.default_rng(0)
    away, groups = 0.3 * generator.standard_normal(60), np.arange(60) // 3
    worse = difference(held(away * 2, groups), held(away, groups))
    assert worse.value == pytest.approx(np.median(np.abs(np.expm1(away * 2))) - np.median(np.abs(np.expm1(away))))
    assert 0 < worse.low < worse.value < worse.high
    assert not worse.tie
    assert difference(held(away, groups), held(away, groups)).tie
    other = 0.3 * generator.standard_normal(60)
    between = difference(held(away, groups), held(other, groups))
    assert between.tie
    assert between.low < between.value < between.high


def test_rows_of_a_checkpoint_are_drawn_together() -> None:
    """Twenty copies of each of six values tell no more than the six."""
    generator = np.random.default_rng(1)
    few, other = 0.3 * generator.standard_normal((2, 6))
    once = difference(held(few, np.arange(6)), held(other, np.arange(6)))
    groups = np.repeat(np.arange(6), 20)
    together = difference(held(few[groups], groups), held(other[groups], groups))
    apart = difference(held(few[groups], np.arange(120)), held(other[groups], np.arange(120)))
    assert together.high - together.low == pytest.approx(once.high - once.low, rel=0.3)
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Errors of two laws with known medians, 40 checkpoints of 3 related rows, 200 times; binomial sd of .90 is .021."""
    generator = np.random.default_rng(2)
    groups, hits = np.repeat(np.arange(40), 3), 0
    truth = 0.4 * 0.6744898 - 0.25 * 0.6744898  # medians of |normal|; rows count by |expm1|, so draw those
    for turn in range(200):
        shared = generator.standard_normal((2, 40))[:, groups]
        z = np.sqrt(0.5) * shared + np.sqrt(0.5) * generator.standard_normal((2, 120))
        one, other = (np.log1p(scale * np.abs(part)) for scale, part in zip((0.4, 0.25), z))
        found = difference(held(one, groups), held(other, groups), replicates=300, seed=turn)
        hits += found.low <= truth <= found.high
    assert 0.84 <= hits / 200 <= 0.96


def test_only_laws_judged_on_the_same_rows_are_compared() -> None:
    one, other = (COMPARISON.of(law, "bits") for law in ("ouyang2024-unified", "kumar2024-ptq"))
    assert difference(one, other).value < 0
    with pytest.raises(InputError, match="not judged on the same rows"):
        difference(one, COMPARISON.of("kumar2024-ptq", "largest-size"))
    with pytest.raises(InputError, match="not judged on the same rows"):
        difference(one, compare(["kumar2024-ptq"], TABLE.take(np.arange(60)), ["bits"], baselines=False).held_out[0])
    missing = held(np.full(4, np.nan), np.arange(4))
    with pytest.raises(InputError, match="No row"):
        difference(missing, missing)


def test_every_law_stands_behind_the_best_of_its_holdout() -> None:
    behind = behind_best(COMPARISON, replicates=200)
    for name in COMPARISON.holdouts:
        best = COMPARISON.best(name)
        assert (behind[best.name, name].low, behind[best.name, name].high) == (0.0, 0.0)
        for row in COMPARISON.held_out:
            if row.holdout == name and row.scored:
                gap = row.median_relative_error - best.median_relative_error
                assert behind[row.name, name].value == pytest.approx(gap, abs=1e-12)
    assert behind["mean per format", "largest-size"].low > 0
    assert not [key for key in behind if key[0] == "chen2025-qat"], "it could not be fitted"
