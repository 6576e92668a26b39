"""Projection: Figure 1's labels at 1e14 tokens, the worse-than-random band at ln(vocabulary), and its curves."""

import json
import math

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.predict import predict, project
from tests.fit.simulated import FEW
from tests.laws.test_published import FIGURE_1


def test_figure_1() -> None:
    cells = project(1e14).cells
    assert {(cell.parameters, cell.bits): f"{cell.value:.2f}" for cell in cells} == {
        (n, float(bits)): label for (n, bits), label in FIGURE_1.items()
    }


def test_cells_are_predictions() -> None:
    for cell in project(3e12, sizes=[1e9], bits=[2, 4, 6]).cells:
        answer = predict(1e9, 3e12, cell.bits)
        assert (cell.value, cell.low, cell.high) == pytest.approx(
            (answer.value, answer.interval.low, answer.interval.high)
        )
        assert cell.law == answer.law
        assert cell.outside == tuple(out.words for out in answer.outside)


def test_cells_above_the_vocabulary_are_worse_than_random() -> None:
    """In Figure 1 all 2-bit points at 1e14 tokens lie in the grey band, and none of the others."""
    found = project(1e14)
    assert found.ceiling == pytest.approx(10.8258, abs=1e-4)
    worse = {cell.bits for cell in found.cells if cell.state == "worse than random"}
    assert worse == {2.0}
    assert all((cell.value > math.log(50_304)) == (cell.state == "worse than random") for cell in found.cells)
    assert {cell.state for cell in project(1e11, sizes=[1e9], bits=[4]).cells} == {"better than random"}
    assert {cell.state for cell in project(1e14, sizes=[405e9], bits=[3]).cells} == {"may be worse than random"}
    small = project(1e14, sizes=[405e9], bits=[3], vocabulary=8)
    assert small.cells[0].state == "worse than random"  # 2.34 nats, above ln 8 = 2.08


def test_curves_end_in_the_cells() -> None:
    found = project(1e13, sizes=[7e9], bits=[3])
    curve, cell = found.curves[0], found.cells[0]
    assert curve.tokens[0] == pytest.approx(1e10)
    assert (curve.value[-1], curve.low[-1], curve.high[-1]) == pytest.approx((cell.value, cell.low, cell.high))
    assert np.all(np.diff(curve.value) > 0)


def test_a_fit_is_projected_too() -> None:
    result = fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)), starts=2)
    found = project(1e8, sizes=[1e5], bits=[3], law=result)
    assert found.cells[0].value == pytest.approx(predict(1e5, 1e8, 3, law=result).value)
    assert "fit to simulated" in found.laws["3"]


def test_it_is_plain_json_without_the_curves() -> None:
    content = json.loads(json.dumps(project().to_dict(), allow_nan=False))
    assert len(content["cells"]) == 9
    assert not content["inside"]
    assert "curves" not in content


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tokens": 100}, "100e9 for 100 billion"),
        ({"sizes": []}, "at least one size"),
        ({"bits": []}, "one bit width"),
        ({"sizes": [70]}, "70e9 for 70 billion"),
        ({"bits": [0]}, "bits=0"),
        ({"vocabulary": 1}, "vocabulary=1"),
        ({"vocabulary": 1e4}, "vocabulary=10000.0 is not a whole number"),
        ({"strict": True}, "tokens 1e.14 is 487x beyond"),
        ({"level": 0}, "level=0"),
    ],
)
def test_impossible_questions_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        project(**asked)
