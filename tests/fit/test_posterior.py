"""Full posterior: the density against the dense normal, draws against planted parameters and the profile likelihood."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bitlaw.cli.main import main
from bitlaw.errors import InputError
from bitlaw.fit import Collapse, Fit, Intervals, Noise, fit, profile
from bitlaw.fit.posterior import Levels, log_density
from tests.fit.simulated import FEW, MANY
from tests.fit.test_profile import QUIET

UNIFIED = "ouyang2024-unified"
POSTERIOR = Intervals(kind="posterior", replicates=1000)


@pytest.fixture(scope="module")
def planted() -> Fit:
    return fit(UNIFIED, MANY.draw(np.random.default_rng(1)), intervals=POSTERIOR, starts=2)


def test_the_density_is_that_of_the_dense_normal() -> None:
    """Seven rows of three checkpoints of two models, in any order, two parameter sets at once."""
    from scipy.stats import multivariate_normal

    generator = np.random.default_rng(0)
    models, checkpoints = np.array([1, 0, 0, 1, 0, 0, 1]), np.array([2, 0, 0, 2, 1, 0, 2])
    y, mean, own = generator.random(7), generator.random((2, 7)), 0.01 + generator.random((2, 7))
    of_checkpoint, of_model = np.array([0.3, 0.1]), np.array([0.2, 0.0])
    found = log_density(y, mean, own, of_checkpoint, of_model, Levels.of(models, checkpoints))
    for b in range(2):
        outer = np.outer(mean[b], mean[b])
        covariance = np.diag(own[b])
        covariance += of_checkpoint[b] ** 2 * outer * (checkpoints[:, None] == checkpoints)
        covariance += of_model[b] ** 2 * outer * (models[:, None] == models)
        assert found[b] == pytest.approx(multivariate_normal(mean[b], covariance).logpdf(y), rel=1e-10)


def test_planted_parameters_and_scatters_come_back(planted: Fit) -> None:
    """Twelve models, scatters of .1 for rows, checkpoints and models: the truth inside, the ends near the default's."""
    usual = fit(UNIFIED, MANY.draw(np.random.default_rng(1)), starts=2)
    for name, (low, high) in planted.intervals.items():
        assert low < MANY.truth[name] < high
        assert 0.3 < planted.standard_errors[name] / usual.standard_errors[name] < 1.5
    said = planted.interval_words
    scatters = {name: float(said.split(f"{name} ")[-1].split(",")[0]) for name in ("row", "checkpoint", "model")}
    assert all(0.06 < value < 0.16 for value in scatters.values())
    assert "split R-hat 1.0" in said
    assert planted.values == usual.values
    assert not planted.warnings


def test_bands_and_files_hold_the_draws(planted: Fit) -> None:
    columns = {"parameters": 1e8, "tokens": 1e10, "bits": np.array([2.0, 4.0])}
    again = Fit.from_json(planted.to_json())
    np.testing.assert_array_equal(again.band(columns, scatter=True), planted.band(columns, scatter=True))
    low, high = planted.band(columns)
    wide_low, wide_high = planted.band(columns, scatter=True)
    assert np.all((wide_low < low) & (low < planted.predict(columns)) & (planted.predict(columns) < high))
    assert np.all(high < wide_high)


def test_where_rows_are_independent_it_is_the_profile_likelihood() -> None:
    table = QUIET.draw(np.random.default_rng(4)).where(bits=2.0)
    shape = profile("ouyang2024-2bit", table, "beta")
    low, high = fit("ouyang2024-2bit", table, intervals=POSTERIOR).intervals["beta"]
    middle, width = 0.5 * (shape.interval[0] + shape.interval[1]), shape.interval[1] - shape.interval[0]
    assert 0.5 * (low + high) == pytest.approx(middle, abs=0.35 * width)
    assert 0.8 < (high - low) / width < 1.8  # wider: its scatters are not known either, and a model may differ


def test_the_seed_decides_and_what_cannot_be_sampled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitlaw.fit.posterior.LONGEST", 500)
    table = FEW.draw(np.random.default_rng(0)).where(bits=2.0)
    few = Intervals(kind="posterior", replicates=50)
    one, two = (fit("ouyang2024-2bit", table, intervals=few, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.draws, two.draws)
    assert one.draws.shape == (50, 3)
    assert any("chains did not settle" in said for said in one.warnings)
    with pytest.raises(InputError, match="noise of kind normal"):
        fit("ouyang2024-2bit", table, intervals=few, noise=Noise(kind="huber"))
    with pytest.raises(InputError, match="censored rows"):
        fit("ouyang2024-2bit", table, intervals=few, collapse=Collapse(vocabulary=2, share=0.05))
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(InputError, match=r"pip install 'bitlaw\[posterior\]'"):
        fit("ouyang2024-2bit", table, intervals=few)


def test_the_command_line_draws_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bitlaw.fit.posterior.LONGEST", 500)
    table = FEW.draw(np.random.default_rng(0)).where(bits=2.0)
    names = ("model", "parameters", "tokens", "bits", "qid", "qid_se")
    lines = [",".join(names), *(",".join(str(table[name][row]) for name in names) for row in range(len(table)))]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    arguments = ["--csv", str(tmp_path / "mine.csv"), "--law", "ouyang2024-2bit", "--intervals", "posterior"]
    assert main(["fit", *arguments]) == 0
    assert "posterior of 400 draws (emcee, " in capsys.readouterr().out
