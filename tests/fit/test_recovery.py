"""Planted parameters come back: every law, both kinds of noise, fixed parameters, negative rows kept."""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Intervals, Noise, Table, fit
from bitlaw.fit.problem import Problem
from bitlaw.fit.simulate import Design
from bitlaw.fit.solve import start_points
from bitlaw.fit.together import distinct_ends
from bitlaw.laws import Law, law_names, load_law
from tests.fit.simulated import DEMO, EXACT, FEW, MANY, PYTHIA

LOSS = {"Nc": 4.74e19, "aN": 0.045, "Dc": 7.63e10, "aD": 0.399}
TRUTH = {**LOSS, **PYTHIA}
SHANNON = {"a": 0.02, "al": 0.04, "b": 1e-3, "be": 0.55, "c": 1e-9, "g": 0.5, "d": 1e-5, "de": 0.5, "e": 1.0}
PLANTED = {  # where the law names other constants than the unified one
    "ouyang2024-tokens": {"k": 1e-6, "beta": 0.5316},
    "ouyang2024-size": {"k": 50.0, "alpha": 0.2276},
    "ouyang2024-bits": {"k": 40.0, "gamma": 5.4812},
    "kumar2024-unified": {"C_w": 0.4, "C_a": 0.3, "C_kv": 0.5},
    "cao2024-weak": {"C": 3.0, "A": 2.5, "gN": 0.3},
    "cao2024-strong": {"C": 1.0, "A": 2.5, "gN": 0.3, "d": 20.0, "gc": 0.4},
    "dettmers2022-total-bits": {"E": 1.6, "k": 300.0, "a": 0.28},
    "zhou2025-tasks": {"k": 60.0, "a": 0.25, "b": 1.356, "c": 0.06, "g": 0.04},
    "ouyang2026-shannon": SHANNON,
    "frantar2025-loss": {"e": 1.7, "a": 400.0, "b": 0.34, "c": 400.0, "d": 0.3, "eff": 1.0},
    "panferov2025-capacity": {"L": 0.98, "F": 0.35, "C": 1.3},
    "bjorck2024-learning-rate": {"C": 90.0},
    "bitlaw-growth": {"k": 0.5},
}
OTHERS = {
    "bits_per_weight": (2.1, 6.0),
    "group_size": (16.0, 512.0),
    "gaussian_error": (1e-3, 0.3),
    "layer_size": (1e4, 1e7),
    "format_error": (1e-3, 0.3),
    "baseline_loss": (2.0, 6.0),
    "step": (30.0, 3e4),
    "learning_rate": (1e-5, 1e-3),
    "peak_learning_rate": (1e-3, 3e-3),
    "share_quantized": (0.2, 1.0),
    "calibration_samples": (8.0, 1024.0),
    "weight_bits": (4.5, 16.0),
    "activation_bits": (4.5, 16.0),
    "cache_bits": (4.5, 16.0),
    "exponent_bits": (1.0, 5.0),
    "mantissa_bits": (0.0, 4.0),
}
SUMS = (
    "kumar2024-unified",
    "kumar2024-loss",
    "sun2025-capybara",
    "ouyang2026-shannon",
)  # terms that trade against others


def planted(law: Law) -> dict[str, float]:
    published = law.published[0].values if law.published else {}
    constants = {**TRUTH, **dict(published), **PLANTED.get(law.name, {})}
    return {name: constants[name] for name in law.names}


def held(law: Law) -> dict[str, float]:
    """What a fit of the law is told: its vocabulary."""
    return {"lnV": planted(law)["lnV"]} if "lnV" in law.names else {}


def design(law: Law, **noise: float) -> Design:
    """Small to mid-sized models and few to many tokens, other columns at random."""
    others = {name: span for name, span in OTHERS.items() if name in law.variables}
    tokens = tuple(np.geomspace(2e6, 5e8, 6)) if law.name == "bitlaw-sensitivity" else MANY.tokens
    return Design(law=law.name, truth=planted(law), sizes=MANY.sizes, tokens=tokens, others=others, **noise)


@pytest.mark.parametrize("kind", ["normal", "student"])
@pytest.mark.parametrize("name", law_names())
def test_exact_tables_give_back_the_planted_parameters(name: str, kind: str) -> None:
    law = load_law(name)
    truth = planted(law)
    table = design(law, **EXACT).draw(np.random.default_rng(0))
    result = fit(law, table, noise=Noise(kind=kind), fixed=held(law), priors=False, seed=3)
    assert result.outcome == "converged"
    for parameter in law.names:
        assert result.values[parameter] == pytest.approx(truth[parameter], rel=1e-3), parameter
    assert result.scores.r2 > 1 - 1e-9


@pytest.mark.parametrize("name", law_names())
def test_noisy_tables_give_back_the_planted_curve(name: str) -> None:
    law = load_law(name)
    truth = planted(law)
    quiet = {"own": 0.02, "by_checkpoint": 0.01, "by_model": 0.01, "floor": 0.0, "se": 0.0}
    table = design(law, **quiet).draw(np.random.default_rng(1))
    result = fit(law, table, fixed=held(law), priors=False)
    columns = {variable: table[variable] for variable in law.variables}
    np.testing.assert_allclose(result.predict(columns), law.evaluate(truth, columns), rtol=0.05)
    assert set(result.intervals) == set(law.names) - set(result.fixed)
    assert all(low <= result.values[p] <= high for p, (low, high) in result.intervals.items())


def test_negative_degradations_stay_in_and_do_not_pull() -> None:
    """Many rows are noise around zero, some below it: all stay, and the exponents are still right on average."""
    design = replace(FEW, tokens=tuple(np.geomspace(4e3, 2.5e6, 8)), by_model=0.0, by_checkpoint=0.0)
    found = []
    for seed in range(40):
        table = design.draw(np.random.default_rng(seed))
        assert np.sum(table["qid"] < 0) >= 5
        result = fit("ouyang2024-unified", table, starts=2)
        assert result.data.rows == len(table)
        found.append([result.values["beta"], result.values["gamma"]])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - [DEMO["beta"], DEMO["gamma"]]), 3 * error)


def test_the_noise_is_found_too() -> None:
    design = replace(MANY, by_model=0.0, by_checkpoint=0.0, own=0.2, floor=2e-3, se=0.0)
    result = fit("ouyang2024-unified", replace(design, bits=(2.0, 4.0, 8.0)).draw(np.random.default_rng(5)))
    assert result.scatter.relative == pytest.approx(0.2, rel=0.2)
    assert result.scatter.floor == pytest.approx(2e-3, rel=0.2)


def test_given_noise_is_kept() -> None:
    table = FEW.draw(np.random.default_rng(0))
    result = fit("ouyang2024-unified", table, noise=Noise(relative=0.25, floor=0.0))
    assert (result.scatter.relative, result.scatter.floor) == (0.25, 0.0)


def test_student_noise_resists_wild_rows() -> None:
    table = replace(MANY, by_model=0.0, by_checkpoint=0.0, own=0.05).draw(np.random.default_rng(2))
    wild = np.array(table["qid"])
    wild[::9] *= 12.0
    broken = Table(columns={**table.columns, "qid": wild})
    errors = {
        kind: abs(fit("ouyang2024-unified", broken, noise=Noise(kind=kind)).values["gamma"] - PYTHIA["gamma"])
        for kind in ("normal", "student")
    }
    assert errors["student"] < 0.05
    assert errors["normal"] > 3 * errors["student"]


def test_fixed_parameters_are_held_and_the_rest_recovered() -> None:
    table = replace(FEW, **EXACT).draw(np.random.default_rng(0))
    result = fit("ouyang2024-unified", table.where(bits=2.0), fixed={"gamma": DEMO["gamma"]})
    assert result.free == ("k", "beta", "alpha")
    assert result.fixed == {"gamma": 5.0}
    assert result.values == pytest.approx(DEMO, rel=1e-6)
    assert "gamma" not in result.intervals


def test_the_form_of_one_bit_width_fits_any_width() -> None:
    table = replace(FEW, **EXACT).draw(np.random.default_rng(0)).where(bits=3)
    result = fit("ouyang2024-2bit", table)
    expected = {"k": DEMO["k"] / 3.0 ** DEMO["gamma"], "beta": 1.0, "alpha": 0.31}
    assert result.values == pytest.approx(expected, rel=1e-6)
    assert result.fitted["bits"] == (3.0, 3.0)


def test_the_loss_law_is_fitted_to_one_row_a_checkpoint() -> None:
    design = Design(law="ouyang2024-loss", truth=LOSS, sizes=MANY.sizes, tokens=MANY.tokens, **EXACT)
    result = fit("ouyang2024-loss", design.draw(np.random.default_rng(0)))
    assert result.data.rows == len(MANY.sizes) * len(MANY.tokens)  # of three times as many rows


def test_a_parameter_at_its_bound_is_said() -> None:
    """Degradation that falls with tokens cannot be had with beta >= 0."""
    table = replace(FEW, **EXACT).draw(np.random.default_rng(0))
    falling = Table(columns={**table.columns, "qid": table["qid"] / table["tokens"] ** 2 * 1e12})
    result = fit("ouyang2024-unified", falling)
    assert result.outcome == "stopped at a bound: beta = 0"
    assert result.values["beta"] == 0.0
    assert any("beta = 0" in warning for warning in result.warnings)
    assert result.converged


def test_all_starts_find_the_same_optimum_and_the_seed_decides_everything() -> None:
    table = FEW.draw(np.random.default_rng(7))
    first = fit("ouyang2024-unified", table, starts=12, seed=1)
    assert first.starts == first.starts_agreeing == 12
    assert fit("ouyang2024-unified", table, starts=12, seed=1).to_json() == first.to_json()
    other = fit("ouyang2024-unified", table, starts=12, seed=2)
    assert other.values == pytest.approx(first.values, rel=1e-5)


def test_a_fit_changes_nothing_it_was_given() -> None:
    table = FEW.draw(np.random.default_rng(7))
    before = {name: column.copy() for name, column in table.columns.items()}
    fit("ouyang2024-unified", table, intervals=Intervals(kind="bootstrap-model", replicates=20))
    for name, column in table.columns.items():
        np.testing.assert_array_equal(column, before[name])
    with pytest.raises(ValueError, match="read-only"):
        table["qid"][0] = 1.0


def test_golden_refit_of_the_digitised_points() -> None:
    """Close to the log-least-squares refit of science/qid-law.md: k .031, beta .57, alpha .29, gamma 5.9, log-R2 .974."""
    from bitlaw.predict.evidence import digitised_points

    points = digitised_points()
    table = Table(columns={**points, "qid_se": points["read_error"]})
    result = fit("ouyang2024-unified", table)
    assert result.values["beta"] == pytest.approx(0.57, abs=0.02)
    assert result.values["alpha"] == pytest.approx(0.29, abs=0.02)
    assert result.values["gamma"] == pytest.approx(5.9, abs=0.1)
    assert result.scores.log_r2 == pytest.approx(0.974, abs=0.005)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "gauss"}, "Known: normal, student"),
        ({"relative": -1.0}, "0 or more"),
        ({"floor": float("nan")}, "0 or more"),
        ({"freedom": 1.0}, "above 2"),
        ({"relative": 0.0, "floor": 0.0}, "no scatter"),
    ],
)
def test_impossible_noise_is_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Noise(**wrong)


def test_of_starts_that_end_equally_well_the_first_stands_for_all() -> None:
    """One bit width: k and gamma trade off, every start ends elsewhere on the ridge; the law's own start is the one kept."""
    rows = replace(FEW, by_model=0.0).draw(np.random.default_rng(1)).where(bits=2)
    problem = Problem.of(load_law("ouyang2024-unified"), rows, {})
    starts = start_points(problem, 8, np.random.default_rng(0))
    ends, counts = distinct_ends(problem, starts)
    alone, _ = distinct_ends(problem, starts[:1])
    last, _ = distinct_ends(problem, starts[-1:])
    assert list(counts) == [8]
    np.testing.assert_allclose(ends[0], alone[0])
    assert abs(last[0] - alone[0])[-1] > 0.1
