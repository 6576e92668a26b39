"""The pieces behind intervals, each against a slow or direct way of computing the same."""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import INTERVAL_KINDS, Fit, Intervals, Noise, Table, fit
from bitlaw.fit.bootstrap import checkpoint_weights, model_weights
from bitlaw.fit.clustered import clustered
from tests.fit.simulated import DEMO, FEW, MANY

UNIFIED = "ouyang2024-unified"


def regression(groups: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes [n, 3] with a column that is constant within groups, residuals of a least-squares fit [n], labels [n]."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(groups), rows)
    slopes = np.stack([np.ones(len(labels)), generator.standard_normal(groups)[labels], labels * 0.0], axis=1)
    slopes[:, 2] = generator.standard_normal(len(labels))
    y = generator.standard_normal(len(labels)) + generator.standard_normal(groups)[labels]
    return slopes, y - slopes @ np.linalg.lstsq(slopes, y)[0], labels


def test_clustered_covariance_equals_the_plain_matrix_formula() -> None:
    slopes, residuals, labels = regression(6, 5)
    bread = np.linalg.inv(slopes.T @ slopes)
    hat = slopes @ bread @ slopes.T
    rest = np.eye(len(labels)) - hat
    meat, columns = np.zeros((3, 3)), []
    contrast = np.array([0.3, -1.0, 0.5])
    for group in range(6):
        rows = labels == group
        values, vectors = np.linalg.eigh(rest[np.ix_(rows, rows)])
        root = vectors @ np.diag(values**-0.5) @ vectors.T
        score = slopes[rows].T @ root @ residuals[rows]
        meat += np.outer(score, score)
        columns.append(rest[:, rows] @ root @ slopes[rows] @ bread @ contrast)
    found = clustered(slopes, residuals, labels)
    np.testing.assert_allclose(found.matrix(), bread @ meat @ bread, rtol=1e-9)
    inner = np.stack(columns, axis=1).T @ np.stack(columns, axis=1)
    expected = np.trace(inner) ** 2 / np.trace(inner @ inner)
    assert found.degrees_of_freedom(contrast) == pytest.approx(expected, rel=1e-9)
    assert found.variance(contrast) == pytest.approx(contrast @ bread @ meat @ bread @ contrast, rel=1e-9)


def test_rows_as_groups_give_the_leverage_corrected_sandwich() -> None:
    """With one row a group CR2 is HC2: meat = sum x x' e^2 / (1 - h)."""
    slopes, residuals, labels = regression(6, 5)
    bread = np.linalg.inv(slopes.T @ slopes)
    leverage = np.einsum("ni,ij,nj->n", slopes, bread, slopes)
    meat = (slopes * (residuals**2 / (1 - leverage))[:, None]).T @ slopes
    found = clustered(slopes, residuals, np.arange(len(labels)))
    np.testing.assert_allclose(found.matrix(), bread @ meat @ bread, rtol=1e-9)


def test_three_models_leave_one_degree_of_freedom_for_size_and_two_for_tokens() -> None:
    result = fit(UNIFIED, FEW.draw(np.random.default_rng(0)))
    assert result.degrees_of_freedom["alpha"] == pytest.approx(1.0, abs=0.1)
    assert 1.0 < result.degrees_of_freedom["beta"] < 2.1


def test_bootstrap_by_model_equals_fitting_the_drawn_tables_one_by_one() -> None:
    """A replicate is the fit of a table that holds the drawn models that often, the scatter held."""
    table = replace(MANY, sizes=MANY.sizes[::3]).draw(np.random.default_rng(3))
    settings = Intervals(kind="bootstrap-model", replicates=20)
    result = fit(UNIFIED, table, intervals=settings, starts=2, seed=5)
    held = Noise(relative=result.scatter.relative, floor=result.scatter.floor)
    generator = np.random.default_rng(5)
    generator.standard_normal(4)  # the second start's draws come first from the same generator
    groups = table.clusters("model")
    matched = 0
    for drawn in result.draws[:6]:
        best = np.inf
        for weights in _weights_seen(groups, table["parameters"]):
            rows = np.repeat(np.arange(len(table)), weights)
            again = fit(UNIFIED, table.take(rows), noise=held, starts=1)
            best = min(best, float(np.max(np.abs(np.array(list(again.values.values())) / drawn - 1))))
            if best < 1e-3:
                break
        matched += best < 1e-3
    assert matched == 6


def _weights_seen(groups: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Every way of drawing four models with replacement that holds at least two of them."""
    from itertools import combinations_with_replacement

    ways = [np.bincount(way, minlength=4) for way in combinations_with_replacement(range(4), 4)]
    return [way[groups] for way in ways if np.count_nonzero(way) > 1]


def test_draws_of_models_hold_whole_models_and_two_sizes() -> None:
    groups = np.repeat([0, 1, 2], 4)
    sizes = np.repeat([1e5, 1e5, 1e6], 4)
    weights = model_weights(groups, sizes, 300, np.random.default_rng(0), 2)
    assert np.all(weights.sum(axis=1) == 12)
    assert np.all(weights[:, :4] == weights[:, :1])
    assert np.all(weights[:, 8] > 0), "the only model of the second size is in every draw"
    assert np.all(weights[:, :8].sum(axis=1) > 0)


def test_draws_of_checkpoints_keep_every_model_at_its_weight() -> None:
    models, checkpoints = np.repeat([0, 1], 6), np.repeat([0, 1, 2, 3], 3)
    weights = checkpoint_weights(models, checkpoints, 200, np.random.default_rng(0))
    assert np.all(weights[:, :6].sum(axis=1) == 6)
    assert np.all(weights[:, 6:].sum(axis=1) == 6)
    assert np.all(weights[:, 0] == weights[:, 2])
    assert len(np.unique(weights[:, 0])) > 1


@pytest.mark.parametrize("kind", [kind for kind in INTERVAL_KINDS if kind != "posterior"])  # test_posterior.py
@pytest.mark.parametrize("noise", ["normal", "student"])
def test_every_kind_agrees_on_many_independent_models(kind: str, noise: str) -> None:
    """Where rows are independent and models many, all kinds estimate the same spread: within a factor of two."""
    table = replace(MANY, by_model=0.0, by_checkpoint=0.0).draw(np.random.default_rng(8))
    settings = Intervals(kind=kind, replicates=150)
    result = fit(UNIFIED, table, intervals=settings, noise=Noise(kind=noise), starts=2)
    reference = fit(UNIFIED, table, noise=Noise(kind=noise), starts=2)
    for name in result.free:
        low, high = result.intervals[name]
        assert low < result.values[name] < high
        assert 0.5 < result.standard_errors[name] / reference.standard_errors[name] < 2.0
    assert result.interval_kind == ("clustered-model" if kind == "auto" else kind)
    assert len(result.draws) == (0 if "clustered" in result.interval_kind else 150)


@pytest.mark.parametrize("kind", ["clustered-model", "bootstrap-model"])
def test_fits_survive_json(kind: str) -> None:
    table = FEW.draw(np.random.default_rng(1))
    result = fit(UNIFIED, table, intervals=Intervals(kind=kind, replicates=30), fixed={"alpha": 0.31})
    again = Fit.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    where = {"parameters": 1e5, "tokens": np.geomspace(1e5, 1e8, 5), "bits": 2.0}
    for scatter in (False, True):
        np.testing.assert_array_equal(again.band(where, scatter=scatter), result.band(where, scatter=scatter))


@pytest.mark.parametrize("kind", ["clustered-model", "bootstrap-model"])
def test_bands_hold_the_curve_and_widen_with_scatter_and_distance(kind: str) -> None:
    result = fit(UNIFIED, FEW.draw(np.random.default_rng(1)), intervals=Intervals(kind=kind, replicates=200))
    where = {"parameters": np.array([1e5]), "tokens": np.geomspace(1e5, 1e9, 5), "bits": np.array([2.0])}
    mean, (low, high) = result.predict(where), result.band(where)
    assert low.shape == high.shape == (5,)
    assert np.all((low < mean) & (mean < high))
    assert np.all(np.diff((high / low)[2:]) > 0), "wider the further beyond 2.5M tokens"
    wide_low, wide_high = result.band(where, scatter=True)
    assert np.all(wide_high - wide_low > high - low)
    narrow_low, narrow_high = result.band(where, level=0.5)
    assert np.all(narrow_high - narrow_low < high - low)


def test_scatter_bands_cover_new_measurements() -> None:
    """Nine in ten new rows of the same models lie in the 90 % band with scatter (no shared noise here)."""
    design = replace(FEW, by_model=0.0, by_checkpoint=0.0, own=0.2, floor=5e-4, se=0.0)
    inside = []
    for seed in range(30):
        result = fit(UNIFIED, design.draw(np.random.default_rng(seed)), starts=1)
        new = design.draw(np.random.default_rng(1000 + seed))
        low, high = result.band({name: new[name] for name in ("parameters", "tokens", "bits")}, scatter=True)
        inside.append(np.mean((low <= new["qid"]) & (new["qid"] <= high)))
    assert 0.86 < np.mean(inside) < 0.99


def test_scatter_of_a_table_without_model_names_uses_sizes() -> None:
    table = FEW.draw(np.random.default_rng(1))
    bare = Table(columns={name: table[name] for name in ("parameters", "tokens", "bits", "qid", "qid_se")})
    named, unnamed = fit(UNIFIED, table).intervals, fit(UNIFIED, bare).intervals
    assert list(named) == list(unnamed) == list(DEMO)
    for name, ends in named.items():
        assert unnamed[name] == pytest.approx(ends)


def test_a_direction_that_groups_determine_exactly_has_no_end() -> None:
    """Two models determine alpha exactly: by model nothing is left to judge it by, while beta is judged within them."""
    table = FEW.draw(np.random.default_rng(1)).where(model=("m0", "m2"))
    result = fit(UNIFIED, table, intervals=Intervals(kind="clustered-model"))
    assert result.standard_errors["alpha"] == np.inf
    assert result.intervals["alpha"] == (0.0, 4.0)  # the bounds of the law
    assert np.isfinite(result.standard_errors["beta"])
    low, high = result.band({"parameters": 1e6, "tokens": 1e6, "bits": 2.0})
    assert low < 1e-10
    assert high > 1e10
    assert Fit.from_json(result.to_json()).to_json() == result.to_json()


def test_as_many_rows_as_parameters_leave_no_interval() -> None:
    table = FEW.draw(np.random.default_rng(1)).where(model="m0", bits=2).take(np.array([0, 5]))
    result = fit("ouyang2024-tokens", table)
    assert result.interval_kind == "clustered-row"
    assert result.standard_errors["beta"] == np.inf
    assert result.intervals["beta"] == (0.0, 4.0)


def test_one_model_is_judged_by_its_checkpoints_and_one_checkpoint_by_its_rows() -> None:
    table = FEW.draw(np.random.default_rng(1)).where(model="m0")
    assert fit("ouyang2024-tokens", table.where(bits=2)).interval_kind == "clustered-checkpoint"
    one = fit("ouyang2024-bits", table.where(step=5))
    assert one.interval_kind == "clustered-row"
    with pytest.raises(InputError, match="One model cannot be resampled"):
        fit("ouyang2024-bits", table, intervals=Intervals(kind="bootstrap-model"))
