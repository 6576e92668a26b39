"""Comparison at a point: every law with known constants speaks, the others are listed with the reason."""

import json
import math

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.laws import law_names, load_law
from bitlaw.predict import compare_laws, predict
from tests.fit.simulated import FEW


def test_every_law_speaks_or_says_why_not() -> None:
    found = compare_laws(1e9, 1e11, 4)
    spoken = {said.law.split("@")[0] for said in found.said}
    assert spoken | set(found.silent) == set(law_names())
    assert not spoken & set(found.silent)
    assert found.silent["ouyang2024-2bit"] == "holds at another bit width"
    assert "k" in found.silent["ouyang2024-tokens"]
    assert "quantization-aware" in found.silent["chen2025-qat"]
    assert found.law == "ouyang2024-4bit"


def test_values_are_those_of_the_laws() -> None:
    columns = {"parameters": 1e8, "tokens": 1e10, "bits": 3.0}
    found = compare_laws(1e8, 1e10, 3)
    for said in found.said:
        name, _, setting = said.law.partition("@")
        law = load_law(name)
        assert said.value == pytest.approx(float(law.evaluate(law.constants(setting or None).values, columns)))
        assert said.inside == (not said.outside)
        if said.low is not None:
            assert said.low <= said.value <= said.high
    kumar = {said.law: said.value for said in found.said if said.law.startswith("kumar2024-ptq")}
    assert kumar["kumar2024-ptq@with bias"] / kumar["kumar2024-ptq@printed"] == pytest.approx(math.exp(1.1277))


def test_ratios_are_to_the_answer() -> None:
    found = compare_laws(1e9, 1e11, 3)
    answer = predict(1e9, 1e11, 3).value
    assert all(said.ratio == pytest.approx(said.value / answer) for said in found.said if said.what == "QiD")
    assert all(said.ratio is None for said in found.said if said.what != "QiD")
    inside = [said.value for said in found.said if said.what == "QiD" and said.inside]
    assert found.spread == pytest.approx(max(inside) / min(inside))


def test_fits_speak_beside() -> None:
    result = fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)), starts=2)
    said = compare_laws(1e5, 1e6, 2, fits=[result]).said[0]
    assert said.law == "fit of ouyang2024-unified to simulated"
    assert said.inside
    assert said.value == pytest.approx(predict(1e5, 1e6, 2, law=result).value)


def test_further_variables_let_more_laws_speak() -> None:
    found = compare_laws(1e8, 1e10, 4, also={"group_size": 128, "exponent_bits": 2, "mantissa_bits": 1})
    assert "sun2025-capybara" in {said.law for said in found.said}


def test_strict_silences_laws_outside_their_range() -> None:
    found = compare_laws(1e9, 1e11, 4, strict=True)
    assert all(said.inside for said in found.said)
    assert "outside its range" in found.silent["kumar2024-ptq@printed"]
    with pytest.raises(InputError, match="No law is inside its fitted range"):
        compare_laws(1e15, 1e16, 1.0, strict=True)


def test_it_is_plain_json() -> None:
    content = json.loads(json.dumps(compare_laws(1e9, 1e11, 4).to_dict(), allow_nan=False))
    assert content["spread"] > 1
    assert content["said"][0]["what"] == "QiD"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_impossible_questions_are_refused(position: int) -> None:
    asked = [1e9, 1e11, 4]
    asked[position] = -1.0
    with pytest.raises(InputError, match=["parameters", "tokens", "bits"][position]):
        compare_laws(*asked)
