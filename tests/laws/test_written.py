"""Laws a user writes, as text or as a function, fit like the catalog's; those of text survive a file."""

import dataclasses

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, fit
from bitlaw.fit.simulate import Design
from bitlaw.laws import definition, law_from_definition, law_from_function, law_from_text, load_law, written
from tests.fit.simulated import DEMO, EXACT, FEW

UNIFIED = "QiD = k * D^beta / (N^alpha * P^gamma)"
CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
TABLE = dataclasses.replace(FEW, **EXACT).draw(np.random.default_rng(0))


def test_text_recovers_what_the_catalog_recovers() -> None:
    own = fit(law_from_text(UNIFIED, parameters={"gamma": (0.0, 20.0), "beta": 1.0}), TABLE)
    assert own.values == pytest.approx(fit("ouyang2024-unified", TABLE).values, rel=1e-6)
    assert own.values == pytest.approx(DEMO, rel=1e-6)


def test_a_function_is_fitted_with_numerical_slopes() -> None:
    def own(parameters, D, bits, k, beta, alpha, gamma):
        """Mine."""
        return k * D**beta / parameters**alpha / bits**gamma

    law = law_from_function(own, parameters={"k": load_law("ouyang2024-unified").parameter("k")})
    assert law.variables == ("parameters", "tokens", "bits")
    assert law.summary == "Mine."
    assert fit(law, TABLE).values == pytest.approx(DEMO, rel=1e-4)


def test_a_chinchilla_law_written_by_hand() -> None:
    design = Design(
        law="chinchilla2022-loss",
        truth=CHINCHILLA,
        sizes=tuple(np.geomspace(1e7, 1e10, 5)),
        tokens=tuple(np.geomspace(1e9, 1e12, 5)),
        bits=(16.0,),
    )
    law = law_from_text("loss = E + A/N^alpha + B/D^beta", target="baseline_loss", parameters={"A": 100.0, "B": 100.0})
    assert fit(law, design.draw(np.random.default_rng(0))).values == pytest.approx(CHINCHILLA, rel=1e-4)


def test_a_fit_of_text_survives_a_file_and_one_of_a_function_says_why_not(tmp_path) -> None:
    result = fit(law_from_text(UNIFIED, name="mine"), TABLE)
    result.to_json(tmp_path / "fit.json")
    again = Fit.from_json(tmp_path / "fit.json")
    columns = {name: TABLE[name] for name in ("parameters", "tokens", "bits")}
    np.testing.assert_array_equal(again.predict(columns), result.predict(columns))
    np.testing.assert_array_equal(again.band(columns), result.band(columns))
    assert Fit.from_json(again.to_json()).to_json() == again.to_json()
    with pytest.raises(InputError, match="Python function, which a file cannot hold"):
        fit(law_from_function(lambda D, k: k * D, parameters={"k": 1e-9}), TABLE).to_json()


def test_a_definition_is_plain_and_makes_the_same_law() -> None:
    law = load_law("kumar2024-ptq")
    again = law_from_definition(definition(law))
    assert (again.text, again.parameters, again.variables) == (law.text, law.parameters, law.variables)
    assert definition(load_law("ouyang2024-unified")) is None
    with pytest.raises(InputError, match="damaged"):
        law_from_definition({"text": "k"})


@pytest.mark.parametrize(
    ("text", "parameters", "words"),
    [
        ("k * D", {"kk": 1.0}, "no parameter kk"),
        ("k * D", {"k": (2.0, 1.0)}, "lower < upper"),
        ("k.x", {}, "not allowed"),
    ],
)
def test_wrong_laws_say_what_is_wrong(text: str, parameters: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        law_from_text(text, parameters=parameters)


def test_a_missing_parameter_and_a_wrong_target_are_named() -> None:
    with pytest.raises(InputError, match="needs its parameter k"):
        written(name="x", text="k * D", target="qid", parameters=())
    with pytest.raises(InputError, match="target 'pain'"):
        law_from_text("k * D", target="pain")


def test_constants_by_setting() -> None:
    law = load_law("kumar2024-ptq")
    columns = {"parameters": 30e6, "tokens": 26e9, "bits": np.array([4.0, 3.0])}
    printed, biased = (law.evaluate(law.constants(name).values, columns) for name in ("printed", "with bias"))
    np.testing.assert_allclose(printed, [0.035, 0.190], rtol=0.01)
    np.testing.assert_allclose(biased, [0.108, 0.585], rtol=0.01)
    with pytest.raises(InputError, match="Did you mean 'with bias'"):
        law.constants("with bais")


def test_check_values_of_chen_and_of_its_base_loss() -> None:
    columns = {"parameters": 595e6, "tokens": 100e9, "group_size": 128.0}
    law = load_law("chen2025-qat")
    assert law.evaluate(law.constants("W4A4").values, columns) == pytest.approx(0.057, abs=5e-4)
    base = load_law("chinchilla2022-loss")
    assert base.evaluate(base.constants("chen2025").values, columns) == pytest.approx(2.74, abs=5e-3)


def test_critical_tokens_are_where_loss_and_degradation_change_equally_fast() -> None:
    law, ptq, base = (load_law(name) for name in ("kumar2024-critical-tokens", "kumar2024-ptq", "chinchilla2022-loss"))
    point = {"parameters": 3e7, "bits": 4.0}
    critical = float(law.evaluate(law.constants("printed").values, point))

    def total(tokens: float) -> float:
        columns = {**point, "tokens": tokens}
        return float(
            ptq.evaluate(ptq.constants("printed").values, columns)
            + base.evaluate(base.constants("kumar2024").values, columns)
        )

    assert total(critical) < min(total(0.9 * critical), total(1.1 * critical))
