"""Every law in the catalog keeps the promises of `Law`; a newcomer is picked up by its name."""

import numpy as np
import pytest

from bitlaw.catalog import LAWS
from bitlaw.errors import InputError, UnknownName
from bitlaw.laws import VARIABLES, Law, Parameter, law_names, load_law
from bitlaw.laws.law import TARGETS

COLUMNS = {
    "parameters": np.array([2.5e4, 1e8, 7e9, 4e11]),
    "tokens": np.array([1e6, 3e9, 2e12, 1e14]),
    "bits": np.array([2.0, 3.0, 4.0, 2.5]),
    "bits_per_weight": np.array([2.2, 3.1, 4.5, 2.6]),
    "group_size": np.array([128.0, 64.0, 32.0, 256.0]),
    "layer_size": np.array([1e4, 1e6, 1e7, 1e8]),
    "format_error": np.array([0.1, 0.03, 0.01, 0.05]),
    "gaussian_error": np.array([0.1, 0.03, 0.01, 0.05]),
    "learning_rate": np.array([1e-3, 3e-4, 2e-4, 6e-5]),
    "peak_learning_rate": np.array([1e-3, 1e-3, 6e-4, 3e-4]),
    "step": np.array([60.0, 900.0, 2e4, 1.4e5]),
    "baseline_loss": np.array([6.0, 3.2, 2.4, 1.9]),
    "share_quantized": np.array([0.3, 0.9, 1.0, 0.0]),
    "calibration_samples": np.array([8.0, 32.0, 128.0, 1024.0]),
    "weight_bits": np.array([8.0, 6.0, 12.0, 16.0]),
    "activation_bits": np.array([8.0, 6.0, 12.0, 16.0]),
    "cache_bits": np.array([8.0, 6.0, 12.0, 16.0]),
    "exponent_bits": np.array([2.0, 4.0, 5.0, 3.0]),
    "mantissa_bits": np.array([1.0, 3.0, 2.0, 0.0]),
}


def values_of(law: Law) -> dict[str, float]:
    """Published constants, the first start where one is unknown."""
    known = law.published[0].values if law.published else {}
    return {p.name: known.get(p.name, p.starts[0]) for p in law.parameters}


@pytest.fixture(params=law_names())
def law(request: pytest.FixtureRequest) -> Law:
    return load_law(request.param)


def test_name_target_and_columns_are_known(law: Law) -> None:
    assert LAWS[law.name].load() is law
    assert law.target in TARGETS
    assert set(law.variables) <= set(VARIABLES)
    assert all(name in law.text for name in law.names), "the printed formula names every parameter"


def test_published_constants_lie_inside_bounds_and_say_where_they_come_from(law: Law) -> None:
    assert "arXiv" in law.source or law.source.startswith("this project")
    assert len({published.setting for published in law.published}) == len(law.published)
    for published in law.published:
        assert "arXiv" in published.source or published.source.startswith("this project")
        assert published.sureness
        assert published.data
        for name, value in published.values.items():
            assert law.parameter(name).lower < value < law.parameter(name).upper
        assert published.values
        for low, high in published.fitted.values():
            assert 0 < low <= high


def test_gradient_matches_central_differences(law: Law) -> None:
    values = values_of(law)
    gradient = law.derivatives(values, COLUMNS)
    assert set(gradient) == set(law.names)
    size = np.max(np.abs(law.evaluate(values, COLUMNS)))
    for name in law.names:
        step = 1e-5 * (abs(values[name]) or 1.0)
        up = law.evaluate({**values, name: values[name] + step}, COLUMNS)
        down = law.evaluate({**values, name: values[name] - step}, COLUMNS)
        np.testing.assert_allclose(gradient[name], (up - down) / (2 * step), rtol=2e-5, atol=1e-13 * size / step)


def test_numerical_gradient_stands_in_for_a_missing_one(law: Law) -> None:
    from dataclasses import replace

    values = values_of(law)
    numerical = replace(law, gradient=None).derivatives(values, COLUMNS)
    size = np.max(np.abs(law.evaluate(values, COLUMNS)))
    for name, exact in law.derivatives(values, COLUMNS).items():
        noise = 1e-9 * size / max(abs(values[name]), 1e-3 if not law.parameter(name).log else 0.0)
        np.testing.assert_allclose(numerical[name], exact, rtol=1e-4, atol=noise)


def test_many_parameter_sets_at_once_equal_one_by_one(law: Law) -> None:
    sets = [values_of(law), {name: value * 1.1 for name, value in values_of(law).items()}]
    stacked = {name: np.array([[s[name]] for s in sets]) for name in law.names}
    together, slopes = law.evaluate(stacked, COLUMNS), law.derivatives(stacked, COLUMNS)
    assert together.shape == (2, 4)
    for row, one in enumerate(sets):
        np.testing.assert_allclose(together[row], law.evaluate(one, COLUMNS), rtol=1e-12)
        for name in law.names:
            np.testing.assert_allclose(slopes[name][row], law.derivatives(one, COLUMNS)[name], rtol=1e-12)


def test_missing_values_and_columns_are_named(law: Law) -> None:
    values = values_of(law)
    last, column = law.names[-1], law.variables[0]
    with pytest.raises(InputError, match=f"needs values of {last}"):
        law.evaluate({name: value for name, value in values.items() if name != last}, COLUMNS)
    with pytest.raises(InputError, match=f"needs columns {column}"):
        law.evaluate(values, {name: value for name, value in COLUMNS.items() if name != column})


def test_laws_of_one_factor_do_not_guess_their_scale() -> None:
    for name in ("ouyang2024-tokens", "ouyang2024-size", "ouyang2024-bits"):
        with pytest.raises(InputError, match="lack k"):
            load_law(name).constants()


def test_unknown_law_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ouyang2024-unified'"):
        load_law("ouyang2024-unifed")


def test_a_parameter_of_unknown_name_is_named() -> None:
    with pytest.raises(InputError, match=r"no parameter 'delta'.*k, beta, alpha, gamma"):
        load_law("ouyang2024-unified").parameter("delta")


@pytest.mark.parametrize(
    "wrong",
    [
        {"lower": 2.0, "upper": 1.0, "starts": (1.5,)},
        {"lower": 0.0, "upper": 1.0, "starts": ()},
        {"lower": 0.0, "upper": 1.0, "starts": (2.0,)},
        {"lower": 0.0, "upper": 1.0, "starts": (0.5,), "log": True},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        Parameter(name="x", meaning="x", unit="1", **wrong)


def test_a_law_of_an_unknown_target_or_column_is_refused() -> None:
    law = load_law("ouyang2024-unified")
    with pytest.raises(InputError, match="target"):
        Law(name="x", summary="", text="", target="qdi", parameters=law.parameters, variables=(), formula=law.formula)
    with pytest.raises(InputError, match="unknown columns"):
        Law(name="x", summary="", text="", target="qid", parameters=(), variables=("N",), formula=law.formula)
