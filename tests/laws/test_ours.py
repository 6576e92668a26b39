"""bitlaw's own laws: what their formula says at its ends, that the constants are the fit of the shipped data, and what they beat."""

import math

import numpy as np
import pytest

from bitlaw.fit import Contender, Noise, compare, fit
from bitlaw.fit.public import public_table
from bitlaw.laws import load_law

GROWTH, SENSITIVITY = load_law("bitlaw-growth"), load_law("bitlaw-sensitivity")
MINI = public_table("mini-pythia")
OWN = {"fixed": {"lnV": math.log(4096)}, "priors": False}
POINT = {
    "layer_size": 1e6,
    "tokens": 1e9,
    "format_error": 1e-4,
    "learning_rate": 1e-3,
    "peak_learning_rate": 1e-3,
    "baseline_loss": 3.0,
}


def value(law, **changed: float) -> float:
    return float(law.evaluate(law.constants("nearest").values, {**POINT, **changed}))


@pytest.mark.parametrize("law", [GROWTH, SENSITIVITY], ids=lambda law: law.name)
def test_degradation_ends_at_guessing_and_begins_at_nothing(law) -> None:
    left = 8.3178 - 3.0
    assert value(law, format_error=1.0, tokens=1e20) == pytest.approx(left, rel=0.02)
    assert value(law, format_error=1e-12) < 1e-6
    g = law.constants("nearest").values["g"]
    small = value(law, format_error=2e-6) / value(law, format_error=1e-6)
    assert small == pytest.approx(2**g, rel=1e-6)  # far from the ceiling: a power of the error
    assert value(law, learning_rate=0.0) > value(law, learning_rate=1e-4) > value(law)  # and finite at 0


def test_the_bend() -> None:
    """A hundred times before D0 the whole-run law is its plateau, a hundred times after it is the growth alone."""
    constants = SENSITIVITY.constants("nearest").values
    bend, growth = constants["D0"], {k: v for k, v in constants.items() if k in GROWTH.names}
    late = {**POINT, "tokens": 100 * bend}
    plateau = constants["a"] * 1e-4 ** constants["g"]
    expected = float(GROWTH.evaluate(growth, late)) + plateau
    assert value(SENSITIVITY, tokens=100 * bend) == pytest.approx(expected, rel=0.01)
    assert value(SENSITIVITY, tokens=bend / 1000) == pytest.approx(plateau, rel=0.01)


@pytest.mark.parametrize("method", ["nearest", "gptq"])
def test_published_constants_are_the_fit_of_the_shipped_data(method: str) -> None:
    rows = MINI.where(method=method)
    late = fit(GROWTH, rows.take(rows["tokens"] > 1e8), **OWN)
    assert {k: late.values[k] for k in GROWTH.names} == pytest.approx(dict(GROWTH.constants(method).values), rel=5e-3)
    assert late.scores.log_r2 > 0.99
    assert late.scores.median_relative_error < 0.1


def test_later_tokens_of_the_own_suite_are_predicted_where_one_power_law_is_lost() -> None:
    """The hard holdout: fitted to the first 205M of 512M tokens, judged on the rest, GPTQ."""
    laws = ["ouyang2024-unified", Contender(law=SENSITIVITY, options=OWN)]
    found = compare(laws, MINI.where(method="gptq", group_size=128), ["later-tokens"], starts=2, baselines=False)
    ours, published = (found.of(name, "later-tokens") for name in ("bitlaw-sensitivity", "ouyang2024-unified"))
    assert ours.median_relative_error < 0.25 < 1.0 < published.median_relative_error
    assert ours.log_r2 > 0.95 > published.log_r2
    assert ours.covered > 0.85


def test_pythia_12b_from_160m_and_1b() -> None:
    """With Huber's loss: median error 20 %, the published form refitted in the same way 40 %."""
    table = public_table("pythia-digitised")
    large = table["parameters"] > 5e9
    errors = {}
    for law, options in ((GROWTH, {"priors": False}), (load_law("ouyang2024-unified"), {})):
        result = fit(law, table.take(~large), noise=Noise(kind="huber"), **options)
        left = table.take(large)
        predicted = result.predict({name: left[name] for name in law.variables})
        errors[law.name] = float(np.median(np.abs(predicted / left["qid"] - 1.0)))
    assert errors["bitlaw-growth"] <= 0.20
    assert errors["ouyang2024-unified"] > 0.35
