"""Public tables: what they hold, and what laws say about them (related work's own numbers as oracle)."""

import math

import numpy as np
import pytest

from bitlaw.errors import UnknownName
from bitlaw.fit import Noise, Table, fit
from bitlaw.fit.public import OWN, PUBLIC, public_table
from bitlaw.laws import law_from_text, load_law

BLOOM = public_table("opt-bloom").where(family="bloom", method="gptq")


def test_rows_are_those_of_the_sources() -> None:
    counts = {name: len(public_table(name)) for name in (*PUBLIC, *OWN)}
    assert counts == {
        "pythia-digitised": 105,
        "opt-bloom": 60,
        "groups-175b": 18,
        "llama1-gptq": 20,
        "llama-rtn": 56,
        "llama-omniquant": 183,
        "quest-qat": 104,
        "gemstones-cool-begin": 199,
        "gemstones-cool-end": 199,
        "mini-pythia": 2433,
        "tiny-suite": 162,
    }
    row = public_table("llama1-gptq").where(model="llama-7B", method="rtn", bits=4)
    assert row["qid"][0] == pytest.approx(math.log(6.29 / 5.68))
    assert row["qid_se"][0] == pytest.approx(0.01 / math.sqrt(12) * math.hypot(1 / 6.29, 1 / 5.68))
    with pytest.raises(UnknownName, match="Did you mean 'opt-bloom'"):
        public_table("opt-blom")


def test_pythia_learning_rates_are_those_of_its_cosine() -> None:
    table = public_table("pythia-digitised")
    share = table["learning_rate"] / table["peak_learning_rate"]
    assert share[table["step"] == 2000] == pytest.approx(1.0, abs=1e-4)
    assert share[table["step"] == 98000] == pytest.approx(0.307, abs=1e-3)


def test_quest_baselines_are_the_unquantized_runs() -> None:
    table = public_table("quest-qat")
    plain = table["method"] == "none"
    assert plain.sum() == 6
    assert np.all(table["qid"][plain] == 0.0)
    assert table.where(model="quest-800M")["baseline_loss"] == pytest.approx(2.4610, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "bits", "exponent"), [("bloom", 4, 0.335), ("bloom", 3, 0.324), ("opt", 4, 0.436), ("opt", 3, 0.292)]
)
def test_exponents_of_size_hold_the_reference_within_their_intervals(family: str, bits: int, exponent: float) -> None:
    rows = public_table("opt-bloom").where(family=family, method="gptq", bits=bits)
    result = fit("ouyang2024-size", rows, noise=Noise(kind="huber"))
    low, high = result.intervals["alpha"]
    assert low < exponent < high
    assert high - low < 0.4
    assert result.values["alpha"] == pytest.approx(exponent, abs=0.07)


@pytest.mark.parametrize("bits", [3, 4])
def test_small_bloom_predicts_bloom_176b(bits: int) -> None:
    rows = BLOOM.where(bits=bits)
    result = fit("ouyang2024-size", rows.take(rows["parameters"] < 1e10))
    left = rows.take(rows["parameters"] > 1e11)
    ratio = float(result.predict(left.columns)[0] / left["qid"][0])
    assert 1 / 1.25 < ratio < 1.25
    low, high = result.band(left.columns, scatter=True)
    assert low[0] < left["qid"][0] < high[0]


def test_five_bits_lie_between_four_and_six_for_every_llama() -> None:
    """One slope for all, a shrunk factor for each model and scheme: no model off by more than 1.5."""
    table = public_table("llama-rtn")
    labels = np.char.add(table["model"].astype(str), table["method"].astype(str))
    table = Table(columns={**table.columns, "model": labels})
    law = law_from_text("QiD = k * exp(-P/g)", parameters={"k": 1.0, "g": 0.7})
    result = fit(law, table.where(bits=(4, 6)), offsets=("model",), noise=Noise(floor=0.0))
    left = table.where(bits=5)
    ratio = result.predict(left.columns) / left["qid"]
    assert len(ratio) == 14
    assert np.all((ratio > 1 / 1.5) & (ratio < 1.5))
    assert 1.0 / result.values["g"] == pytest.approx(1.46, abs=0.2)  # per bit; noise theory 1.39


def test_round_to_nearest_at_three_bits_is_no_power_law() -> None:
    result = fit("ouyang2024-size", public_table("opt-bloom").where(family="opt", method="rtn", bits=3))
    assert result.outcome == "stopped at a bound: alpha = 0"


def test_the_printed_law_on_the_digitised_points() -> None:
    table = public_table("pythia-digitised")
    law = load_law("ouyang2024-unified")
    value, y = law.evaluate(law.constants().values, table.columns), table["qid"]
    assert 1 - np.sum((value - y) ** 2) / np.sum((y - y.mean()) ** 2) == pytest.approx(0.973, abs=1e-3)
    logs = np.log(y)
    assert 1 - np.sum((np.log(value) - logs) ** 2) / np.sum((logs - logs.mean()) ** 2) == pytest.approx(0.954, abs=2e-3)
    assert np.median(np.abs(value / y - 1)) == pytest.approx(0.17, abs=5e-3)


def test_twice_the_tokens_is_not_the_square_root_of_two_across_families() -> None:
    table = public_table("llama-omniquant").where(bits=4, group_size=128)
    ratios = [
        float(
            table.where(model=f"llama-2-{size}", method=method)["qid"][0]
            / table.where(model=f"llama-{size}", method=method)["qid"][0]
        )
        for size in ("7B", "13B")
        for method in ("rtn", "gptq", "omniquant")
    ]
    assert ratios == pytest.approx([0.93, 0.86, 1.27, 0.66, 0.95, 0.91], abs=0.01)
    assert max(ratios) < 1.42


def test_one_ray_of_tokens_per_parameter_is_said() -> None:
    runs = public_table("quest-qat").where(method="none")
    result = fit("chinchilla2022-loss", runs)
    assert any("one ray of D/N" in said for said in result.warnings)


def test_a_falling_learning_rate_that_goes_with_tokens_is_said() -> None:
    late = public_table("mini-pythia").where(method="gptq", format="int3_g128")
    late = late.take(late["tokens"] > 1e8)
    assert any("learning rate falls as tokens grow" in said for said in fit("ouyang2024-3bit", late).warnings)
    constant = Table(columns={**late.columns, "learning_rate": late["peak_learning_rate"]})
    assert not any("learning rate" in said for said in fit("ouyang2024-3bit", constant).warnings)
