"""The first paper's items from records: planted exponents come back, what is missing is said, the page is whole."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from bitlaw.cli.main import main
from bitlaw.datasets import load
from bitlaw.errors import InputError
from bitlaw.laws import load_law
from bitlaw.records import Measurement, TextSet, Variant
from bitlaw.report.ouyang2024 import reproduce_ouyang2024
from bitlaw.report.ouyang2024.published import ITEMS, LABELS, LEVELS, TABLE_1
from bitlaw.report.ouyang2024.rows import main_rows, models_of, usable
from bitlaw.report.papers import write_reproduction
from bitlaw.report.slopes import common_slope
from bitlaw.reproduce import reproduce
from bitlaw.store import open_store
from tests.report.simulated_suite import PLANTED
from tests.report.simulated_suite import simulate as simulated


def state_of(measurements: list[Measurement], **more: object) -> dict[str, str]:
    made = reproduce_ouyang2024(measurements, source=["simulated"], **more)
    return {item.name: item.state for item in made.items}


def with_variant(m: Measurement, **fields: object) -> Measurement:
    variant = dataclasses.replace(m.asked.variant, **fields)
    return dataclasses.replace(m, asked=dataclasses.replace(m.asked, variant=variant))


def simulate(**changes: object) -> list[Measurement]:
    """The simulated suite with the names that options have today."""
    return [
        with_variant(m, options={**m.asked.variant.options, "order": "none"}) if m.asked.variant.method == "gptq" else m
        for m in simulated(**changes)
    ]


def test_slopes_within_groups() -> None:
    """y = factor(group) x^0.7 exactly: the slope comes back whatever the factors, with no width; noise gives it one."""
    x = np.array([1.0, 2, 4, 8, 1, 3, 9, 2])
    groups = ["a"] * 4 + ["b"] * 3 + ["alone"]
    factor = np.array([5.0] * 4 + [0.1] * 3 + [7.0])
    found = common_slope(x, factor * x**0.7, groups, groups)
    assert (found.value, found.groups, found.rows) == (pytest.approx(0.7), 2, 8)
    assert found.high - found.low < 1e-9
    noisy = common_slope(x, factor * x**0.7 * np.exp([0.1, -0.1, 0.1, 0, 0, 0.1, -0.1, 0]), groups, groups)
    assert noisy.low < 0.7 < noisy.high
    dropped = common_slope(x, np.where(x == 8, -1.0, factor * x**0.7), groups, groups)
    assert (dropped.value, dropped.rows) == (pytest.approx(0.7), 7)
    assert np.isnan(common_slope([1.0], [2.0], ["a"], ["a"]).value)
    assert common_slope([], [], [], []).words == "unknown"


def test_planted_exponents_come_back_in_words() -> None:
    made = reproduce_ouyang2024(simulate(noise=0.0, bits=(2.0, 3.0, 4.0)), source=["simulated"])
    said = {item.name: item.ours for item in made.items}
    assert f"beta {PLANTED['beta']:.2f}" in said["F3"]
    assert f"gamma {PLANTED['gamma']:.2f}" in said["F5"]
    assert re.search(r"beta 0\.9 .*alpha 0\.3 .*gamma 5 ", said["F6"]), said["F6"]
    assert f"alpha is {PLANTED['alpha']:.2f}" in said["F4"]
    assert "18 of 18" not in said["F11"]
    assert "9 of 9 pairs" in said["F11"]  # three sizes, three widths
    assert "plain" not in said["F6"]


def test_published_numbers_are_those_of_the_laws() -> None:
    """Figure 1's labels and Table 1 against the laws of one bit width: within their printed digits."""
    for (n, bits), label in LABELS.items():
        law = load_law(f"ouyang2024-{bits:g}bit")
        said = law.evaluate(law.constants().values, {"parameters": np.array([n]), "tokens": np.array([1e14])})
        assert float(said[0]) == pytest.approx(label, abs=0.0051)
    for (n, bits), cells in TABLE_1.items():
        v = load_law(f"ouyang2024-{bits:g}bit").constants().values
        for level, cell in zip(LEVELS, cells):
            assert (level * n ** v["alpha"] / v["k"]) ** (1 / v["beta"]) / 1e12 == pytest.approx(cell, abs=1.2e-4)


def test_what_is_missing_is_said() -> None:
    found = state_of(simulate())
    assert list(found) == list(ITEMS)
    assert {name for name, state in found.items() if state == "missing"} == {"F8", "F9", "F12"}
    assert found["F10"] == "in part"
    nothing = reproduce_ouyang2024([], source=["nothing"])
    assert {i.name for i in nothing.items if i.state == "made"} == {"F13", "F14"}  # from data that ship
    assert "no rows of GPTQ" in nothing.items[0].missing


def test_items_of_further_studies() -> None:
    """Another text, other methods, twins trained in few bits, weights that move: each makes its item."""
    base = simulate(noise=0.0)
    other = TextSet(name="wiki", token_hash="f" * 64, windows=64, window_tokens=128)
    text = [
        dataclasses.replace(m, asked=dataclasses.replace(m.asked, evaluation=other)) for m in base[: len(base) // 3]
    ]
    awq = [with_variant(m, method="awq") for m in base if m.asked.variant.label == "nearest int4_g128"]
    low = []
    for m in base:
        checkpoint = m.asked.checkpoint
        if m.asked.variant == Variant() and checkpoint.model == "neox-25k":
            twin = dataclasses.replace(
                checkpoint, model="neox-25k-b158", family="gpt_neox+bitnet1.58", commit="b" + checkpoint.commit
            )
            seen = dataclasses.replace(m.seen, baseline_nats=m.seen.baseline_nats * 1.01, nats=m.seen.nats * 1.01)
            low.append(dataclasses.replace(m, seen=seen, asked=dataclasses.replace(m.asked, checkpoint=twin)))
    changes = [
        {
            "model": "a",
            "tokens_from": str(d),
            "tokens_to": str(2 * d),
            "q05": "0.01",
            "q25": "0.02",
            "q50": str(5 / d),
            "q75": "6",
            "q95": "7",
        }
        for d in (10, 20)
    ]
    made = reproduce_ouyang2024([*base, *text, *awq, *low], source=["all"], changes=changes)
    states = {item.name: item.state for item in made.items}
    assert {name: states[name] for name in ("F8", "F9", "F12", "F14")} == {
        "F8": "made",
        "F9": "in part",
        "F12": "made",
        "F14": "made",
    }
    said = {item.name: item.ours for item in made.items}
    assert "1 of 1 low-bit runs end behind" in said["F14"]
    assert "in 1 of 1 models" in said["F12"]
    assert "scored on 2 texts" in said["F8"]


def test_the_page_and_its_pictures(tmp_path: Path) -> None:
    made = reproduce_ouyang2024(simulate(), source=["simulated <b>"])
    page = write_reproduction(made, tmp_path / "out")
    text = page.read_text()
    drawn = {item.name for item in made.items if item.draw is not None}
    assert {p.stem.removeprefix("ouyang2024-") for p in page.parent.glob("*.png")} == drawn
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == len(drawn)
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    assert all(f'<section id="{name}">' in text for name in ITEMS)
    assert "simulated &lt;b&gt;" in text
    assert "Published.</b> QiD ~ D^beta, beta 0.5316" in text


def test_the_verb_on_the_shipped_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "ouyang2024", "--out", str(tmp_path), "--progress", "none", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    states = {item["name"]: item["state"] for item in data["items"]}
    assert {states[name] for name in ("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F9", "F11", "T1")} == {"made"}
    assert data["source"][0].startswith("Measurements: the datasets that come with bitlaw, mini-pythia")
    assert Path(data["page"]).is_file()


def test_bad_questions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown paper 'ouyang2042'. Did you mean 'ouyang2024'"):
        reproduce("ouyang2042", tmp_path)
    with pytest.raises(InputError, match="Give --store FILE"):
        reproduce("ouyang2024", tmp_path, suite="pythia")
    with pytest.raises(InputError, match="Give --suite"):
        reproduce("ouyang2024", tmp_path, steps=[512])


def test_a_store_of_ones_own(tmp_path: Path) -> None:
    with open_store(tmp_path / "mine.db") as store:
        store.add(simulate())
    made = reproduce("ouyang2024", tmp_path / "out", store=tmp_path / "mine.db")
    assert made["source"][0] == f"Measurements: {len(simulate())} of the store {tmp_path / 'mine.db'}."


def test_the_second_paper_on_the_shipped_records(tmp_path: Path) -> None:
    """What the shipped records cannot make is said of each figure."""
    found = reproduce("xu2024", tmp_path)
    states = {item["name"]: item["state"] for item in found["items"]}
    assert len(states) == 17
    assert "made" in states.values()
    assert all(item["missing"] for item in found["items"] if item["state"] == "missing")
    assert Path(found["page"]).is_file()


def test_suites_scored_on_the_same_tokens_stand_together() -> None:
    rows = [m for name in ("mini-pythia", "mini-pythia-2") for m in load(name)]
    both, one = main_rows(usable(rows)), main_rows(usable(rows), "mini-pythia")
    assert both.words.startswith("suites mini-pythia-2 and mini-pythia, GPTQ with the paper's settings")
    assert set(models_of(both.rows)) > set(models_of(one.rows)) > {"neox-17.7m"}
    assert {m.asked.checkpoint.suite for m in one.rows} == {"mini-pythia"}
    again = [
        dataclasses.replace(
            m, asked=dataclasses.replace(m.asked, checkpoint=dataclasses.replace(m.asked.checkpoint, suite="copy"))
        )
        for m in one.rows[:9]
    ]
    assert main_rows(usable([*rows, *again])) == both  # of two models of one name, that of the larger suite
