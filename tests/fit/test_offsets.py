"""Offsets of methods and families: planted factors come back, shrink where rows are few, and widen what is unknown."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, Intervals, Table, fit
from bitlaw.fit.simulate import Design
from tests.fit.simulated import MANY, PYTHIA

UNIFIED = "ouyang2024-unified"
FACTORS = {"awq": 0.8, "gptq": 1.0, "hqq": 1.4, "nearest": 2.2}


def table(noise: float = 0.05, factors: dict[str, float] = FACTORS, sizes: int = 6) -> Table:
    """Every method on the same checkpoints, its degradation times its factor."""
    generator = np.random.default_rng(0)
    design = Design(truth=PYTHIA, sizes=MANY.sizes[:sizes], tokens=MANY.tokens[::2], own=noise)
    parts = [design.draw(generator) for _ in factors]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    columns["method"] = np.repeat(list(factors), len(parts[0]))
    columns["qid"] = columns["qid"] * np.repeat(list(factors.values()), len(parts[0]))
    return Table(columns=columns, source="four methods")


def test_planted_factors_come_back_and_the_law_is_no_longer_bent() -> None:
    rows = table()
    with_offsets, without = fit(UNIFIED, rows, offsets=("method",)), fit(UNIFIED, rows)
    found = {name: with_offsets.values[f"offset:method={name}"] for name in FACTORS}
    for name, factor in FACTORS.items():
        assert found[name] - found["gptq"] == pytest.approx(np.log(factor), abs=0.03)
    assert abs(sum(found.values())) < 0.05  # shrunk towards 0 as a group
    assert with_offsets.values["gamma"] == pytest.approx(PYTHIA["gamma"], abs=0.05)
    assert with_offsets.scatter.relative < 0.07 < 0.3 < without.scatter.relative
    assert with_offsets.offset_spreads["method"] == pytest.approx(np.std(np.log(list(FACTORS.values()))), rel=0.5)
    assert not any("methods in one fit" in said for said in with_offsets.warnings)
    assert any("4 methods in one fit" in said for said in without.warnings)


def test_a_level_with_few_noisy_rows_is_shrunk() -> None:
    rows = table(noise=0.5)
    rare = (rows["method"] != "nearest") | (np.cumsum(rows["method"] == "nearest") <= 2)
    few, many = (fit(UNIFIED, part, offsets=("method",), starts=2) for part in (rows.take(rare), rows))
    centre = np.mean([few.values[f"offset:method={name}"] for name in ("awq", "gptq", "hqq")])
    assert few.values["offset:method=nearest"] - centre < many.values["offset:method=nearest"]


@pytest.mark.parametrize("kind", ["auto", "bootstrap-checkpoint"])
def test_a_known_method_is_predicted_with_its_factor_and_a_new_one_with_the_spread(kind: str) -> None:
    result = fit(UNIFIED, table(), offsets=("method",), intervals=Intervals(kind=kind, replicates=100))
    point = {"parameters": 1e7, "tokens": 1e10, "bits": 3.0}
    known, new = {**point, "method": "nearest"}, {**point, "method": "brand new"}
    assert result.predict(known) / result.predict(new) == pytest.approx(np.exp(result.values["offset:method=nearest"]))
    assert result.predict(point) == pytest.approx(float(result.predict(new)))
    narrow, wide = (np.log(high / low) for low, high in (result.band(known), result.band(new)))
    assert wide > 3 * narrow
    again = Fit.from_json(result.to_json())
    assert again.predict(known) == pytest.approx(float(result.predict(known)), rel=1e-12)
    np.testing.assert_allclose(again.band(new), result.band(new), rtol=1e-9)


def test_offsets_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="text column"):
        fit(UNIFIED, table(), offsets=("bits",))
    with pytest.raises(InputError, match="cannot be told from the scale"):
        fit(UNIFIED, table().where(method="gptq"), offsets=("method",))
