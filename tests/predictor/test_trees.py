"""Trees as arrays: exactly scikit-learn's predictions, contributions that add up, and files that are not trees."""

import json

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor.growing import grow_boosting, grow_forest
from bitlaw.predictor.trees import Trees

ensemble = pytest.importorskip("sklearn.ensemble")
NAMES = ("a", "b", "c")


def sample() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((150, 3))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * generator.standard_normal(150)


def test_a_forest_predicts_what_scikit_learn_predicts() -> None:
    x, y = sample()
    mine = grow_forest(x, y, NAMES, seed=3)
    theirs = ensemble.RandomForestRegressor(n_estimators=120, max_depth=8, random_state=3).fit(x, y)
    new = np.random.default_rng(1).standard_normal((40, 3))
    np.testing.assert_allclose(mine.predict(new), theirs.predict(new), rtol=1e-12)
    shares = np.array([mine.impurity[name][0] for name in NAMES])
    np.testing.assert_allclose(shares, theirs.feature_importances_, atol=1e-12)
    assert shares.sum() == pytest.approx(1.0)


def test_boosting_predicts_what_scikit_learn_predicts() -> None:
    x, y = sample()
    mine = grow_boosting(x, y, NAMES, seed=3)
    theirs = ensemble.GradientBoostingRegressor(
        n_estimators=300, max_depth=3, learning_rate=0.05, subsample=0.5, random_state=3
    ).fit(x, y)
    np.testing.assert_allclose(mine.predict(x), theirs.predict(x), rtol=1e-10)


@pytest.mark.parametrize("grow", [grow_forest, grow_boosting])
def test_contributions_add_up_to_the_prediction(grow) -> None:
    x, y = sample()
    trees = grow(x, y, NAMES)
    for row in x[:5]:
        base, parts = trees.contributions(row)
        assert base + sum(parts.values()) == pytest.approx(trees.predict(row[None])[0], abs=1e-10)
    spread = {name: np.std([trees.contributions(row)[1][name] for row in x[:40]]) for name in NAMES}
    assert min(spread["a"], spread["b"]) > 3 * spread["c"]  # c does nothing


def test_saved_trees_predict_the_same_to_the_last_bit() -> None:
    x, y = sample()
    trees = grow_forest(x, y, NAMES)
    back = Trees.from_dict(json.loads(json.dumps(trees.to_dict())))
    assert np.array_equal(back.predict(x), trees.predict(x))
    assert back.names == NAMES


def test_files_that_are_no_trees_are_refused() -> None:
    x, y = sample()
    good = grow_forest(x[:20], y[:20], NAMES).to_dict()
    for broken in ({}, {**good, "left": good["left"][:-1]}, {**good, "left": [0] * len(good["left"])}):
        with pytest.raises(InputError, match="no saved trees"):
            Trees.from_dict(broken)
    with pytest.raises(InputError, match="3"):
        Trees.from_dict(good).predict(x[:, :2])


def test_unknown_inputs_and_constant_targets_are_named() -> None:
    x, y = sample()
    with pytest.raises(InputError, match="same in all 150 rows"):
        grow_forest(x, np.ones(150), NAMES)
    x[3, 1] = np.nan
    with pytest.raises(InputError, match="'b' is unknown in 1 of 150"):
        grow_forest(x, y, NAMES)
