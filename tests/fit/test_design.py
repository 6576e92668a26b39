"""Designs that cannot tell the parameters apart are said in words; impossible ones are refused."""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, Intervals, Table, fit
from tests.fit.simulated import EXACT, FEW

UNIFIED = "ouyang2024-unified"


def draw(**changes) -> Table:
    return replace(FEW, **changes).draw(np.random.default_rng(4))


def said(result: Fit, words: str) -> bool:
    return any(words in warning for warning in result.warnings)


def test_a_good_design_has_no_warnings() -> None:
    assert fit(UNIFIED, draw()).warnings == ()


def test_one_size_cannot_tell_the_exponent_of_size() -> None:
    result = fit(UNIFIED, draw(sizes=(1e5,)))
    assert said(result, "one value of parameters (N = 100000)")
    assert result.interval_kind == "clustered-checkpoint"
    assert fit(UNIFIED, draw(sizes=(1e5,)), fixed={"alpha": 0.3}).free == ("k", "beta", "gamma")


def test_one_bit_width_cannot_tell_the_exponent_of_bits() -> None:
    assert said(fit(UNIFIED, draw(bits=(3.0,))), "one value of bits (P = 3)")


def test_two_sizes_leave_nothing_to_judge_by() -> None:
    assert said(fit(UNIFIED, draw(sizes=(1e5, 1e6))), "two sizes")


def test_a_single_ray_of_tokens_per_parameter_is_said() -> None:
    table = draw(sizes=(1e5, 1e6, 1e7), **EXACT)
    ray = table.take(np.isclose(table["step"], [round(np.log10(n)) - 5 for n in table["parameters"]]))
    ray = Table(columns={**ray.columns, "tokens": 20.0 * ray["parameters"]})
    assert said(fit(UNIFIED, ray), "one ray of D/N")


def test_mixed_methods_are_said() -> None:
    table = draw()
    mixed = Table(columns={**table.columns, "method": np.array(["gptq", "nearest"] * (len(table) // 2))})
    result = fit(UNIFIED, mixed)
    assert said(result, "2 methods in one fit (gptq, nearest)")
    assert result.data.methods == ("gptq", "nearest")


def test_fewer_rows_than_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="3 rows cannot determine the 4 parameters"):
        fit(UNIFIED, draw().take(np.arange(3)))


def test_missing_columns_are_named() -> None:
    table = draw()
    columns = {name: column for name, column in table.columns.items() if name != "tokens"}
    with pytest.raises(InputError, match="needs column 'tokens'"):
        fit(UNIFIED, Table(columns=columns))
    with pytest.raises(InputError, match="needs column 'baseline_loss'"):
        fit("ouyang2024-loss", table)


def test_unknown_or_only_fixed_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="no parameter 'delta'"):
        fit(UNIFIED, draw(), fixed={"delta": 1.0})
    with pytest.raises(InputError, match="Leave at least one free"):
        fit("ouyang2024-bits", draw(), fixed={"k": 1.0, "gamma": 5.0})


def test_values_that_cannot_be_are_refused_and_unknown_ones_left_out() -> None:
    table = draw()
    bits, qid = np.array(table["bits"]), np.array(table["qid"])
    bits[0], qid[1] = 0.0, np.nan
    with pytest.raises(InputError, match="'bits' of simulated has values of 0 or less"):
        fit(UNIFIED, replace(table, columns={**table.columns, "bits": bits}))
    result = fit(UNIFIED, replace(table, columns={**table.columns, "qid": qid}))
    assert result.data.rows == len(table) - 1
    assert sum(result.data.left_out.values()) == 1


def test_the_fit_says_what_it_was_fitted_on() -> None:
    result = fit(UNIFIED, draw())
    assert (result.data.models, result.data.checkpoints, result.data.sizes) == (3, 18, 3)
    assert result.data.bits == (2.0, 3.0, 4.0)
    assert result.fitted["parameters"] == (25e3, 397e3)
    assert result.fitted["tokens"] == pytest.approx((4e4, 2.5e6))
    assert result.interval_kind == "clustered-model"
    assert "3 models" in result.interval_words


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"kind": "bayes"}, "Known: auto"), ({"level": 1.0}, "between 0 and 1"), ({"replicates": 3}, "at least 20")],
)
def test_impossible_interval_settings_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Intervals(**wrong)
