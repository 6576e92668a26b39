"""The script that writes the pages: its sentences hold the numbers of the evaluation, and a page keeps what stands around them."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bitlaw.predictor import Rows, collect, frontier, predictor_evaluate
from bitlaw.records import Measurement

STUDY = Path(__file__).parent.parent.parent / "studies" / "families"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDY))
    monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location(name, STUDY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_tables_hold_the_scores(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = loaded("tables", monkeypatch)
    judged = predictor_evaluate(
        rows, kinds=("no-change", "format-mean", "zero-shot", "zero-shot-training"), splits=("leave-family",)
    )
    best = judged.find("leave-family", "gptq_qid", "zero-shot").scores
    table = tables.scores_table(judged, "leave-family")
    line = next(line for line in table.splitlines() if line.startswith("| `zero-shot` "))
    assert f"| {best.r2:.3f} | {best.mae:.4f} | {best.rank:.3f} | {best.covered:.0%} |" in line
    assert "*format-mean*" in table
    said = "\n".join(tables.claims(judged))
    assert "better than the best baseline *format-mean*" in said
    assert "R2 of 0.95 reached" in said
    assert "| `zero-shot` |" in tables.ablation_table(judged)
    assert tables.coverage_by_family(judged, ("zero-shot",)).count("%") == 2 * 6


def test_what_compensated_noise_adds_is_said_where_every_checkpoint_has_it(
    gained: Rows, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = loaded("tables", monkeypatch)
    kinds = ("after-nearest", "after-nearest-compensated")
    asked = {"kinds": kinds, "targets": ("gptq_change",), "splits": ("leave-family",)}
    judged = predictor_evaluate(gained, **asked)
    with_it, without = (judged.find("leave-family", "gptq_change", kind).scores.r2 for kind in reversed(kinds))
    (said,) = tables.compensated_said(judged, "leave-family", "families")
    assert f"`after-nearest` R2 {without:.3f} to {with_it:.3f}" in said
    plain = predictor_evaluate(rows, **asked)
    assert tables.compensated_said(plain, "leave-family", "families") == []
    assert "compensated" not in tables.scores_table(plain, "leave-family")


def test_noise_of_directions_leaves_less_to_know_the_more_they_differ(
    measurements: list[Measurement], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = loaded("tables", monkeypatch)
    models = collect(measurements)
    said = tables.direction_said(rows, models)
    assert "(12 checkpoints with several directions)" in said
    score = float(said.split("would score ")[1].split()[0])
    # directions differ by .1 dB in the simulation, of a change of 1 dB and more
    assert 0.98 < score < 1.0
    assert tables.direction_said(rows, [replace(m, random=()) for m in models]) == ""


def test_noise_and_bytes_are_said(measurements: list[Measurement], monkeypatch: pytest.MonkeyPatch) -> None:
    tables = loaded("tables", monkeypatch)
    said = "\n".join(tables.noise_said(collect(measurements)))
    assert "GPTQ changes SQNR by -1.40 dB on average" in said
    assert "36 names, 28 formats" in tables.duplicates_said()
    found = frontier(measurements)
    assert len(tables.frontier_table(found).splitlines()) == 2 + len(found.members)
    assert len(tables.worth_table(found).splitlines()) == 2 + 28


def test_a_page_keeps_what_stands_around_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analyse = loaded("analyse", monkeypatch)
    page = tmp_path / "page.md"
    page.write_text("# Title\n\ntext\n")
    for results in ("one", "two"):
        analyse.put(page, results)
    assert page.read_text() == f"# Title\n\ntext\n\n{analyse.BEGIN}\n\ntwo\n\n{analyse.END}\n"
