"""The study's effects come back when they are planted: QiD of the shipped rows is replaced by a law that is known."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STUDY = ROOT / "studies" / "mini-pythia"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDY))
    return importlib.import_module("rows"), importlib.import_module("effects")


def planted(rows, law):
    return [dataclasses.replace(r, qid=law(r)) for r in rows]


def test_slopes_of_size_tokens_and_error(study):
    rows, effects = study
    mine = planted(rows.main_seed(rows.all_rows()), lambda r: 1e-6 * r.D**0.7 / r.N**0.3)
    one = [r for r in mine if r.way == "gptq int3_g128"]
    for _, found in effects.size_slopes(one, (6e6, 5e7, 2e8)):
        assert found.value == pytest.approx(0.3, abs=1e-6)
        assert found.low <= 0.3 + 1e-6
        assert found.high >= 0.3 - 1e-6
    assert effects.token_slopes(one, 5e6, 6e8).value == pytest.approx(0.7, abs=1e-6)
    beta, _ = effects.regression(one, decay=False)
    assert beta.value == pytest.approx(0.7, abs=1e-6)
    near = planted(rows.main_seed(rows.all_rows()), lambda r: 0.4 * 10 ** (-r.sqnr / 20))
    assert effects.error_slopes(near).value == pytest.approx(0.5, abs=1e-6)
    r2, error, count = effects.separable(planted(near, lambda r: 10 ** (-r.sqnr / 10)), slope_one=True)
    assert (r2, error) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-9))
    assert count > 100


def test_ratio_is_paired_by_checkpoint_and_ignores_noise_rows(study):
    rows, effects = study
    mine = planted(rows.main_seed(rows.all_rows()), lambda r: (0.03 if r.method == "nearest" else 0.01) * r.D / 1e8)
    found = effects.ratio(
        mine, lambda r: r.way == "nearest int4_g128", lambda r: r.way == "gptq int4_g128" and r.D > 1e7
    )
    assert found.value == pytest.approx(3.0)
    assert 0 < found.count < 71


def test_seed_noise_counts_only_checkpoints_with_replicates(study):
    rows, effects = study
    everything = planted(rows.all_rows(), lambda r: 0.1)
    logs, nats, _, count = effects.seed_noise(everything, 3)
    assert logs == pytest.approx(0.0, abs=1e-12)
    assert nats != nats  # no checkpoint below the threshold: nothing to say
    assert count == 29


def test_decay_is_told_from_tokens_when_both_are_planted(study):
    rows, effects = study
    mine = [r for r in rows.main_seed(rows.all_rows()) if r.way.startswith("gptq int") and r.format.endswith("_g128")]
    beta, delta = effects.regression(planted(mine, lambda r: 1e-5 * r.D**0.5 * r.decay**-0.25), decay=True)
    assert beta.value == pytest.approx(0.5, abs=1e-6)
    assert delta.value == pytest.approx(0.25, abs=1e-6)


def test_the_page_shows_figures_that_exist_and_no_mark_is_left():
    page = (ROOT / "docs" / "mini-pythia.md").read_text()
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert len(pictures) == 5
    for picture in pictures:
        assert (ROOT / "docs" / picture).stat().st_size < 200_000
    assert not re.search(r"^@\w+$|\bnan\b", page, flags=re.M)


def test_the_rows_measured_on_a_cpu_answer_the_same_questions_within_two_standard_errors(study):
    from bitlaw.store import read_parquet

    gpu = {m.key: m for m in study[0].load("mini-pythia")}
    cpu = [m for m in read_parquet(STUDY / "cpu.parquet") if m.asked.variant.method != "none"]
    assert len(cpu) == 18
    assert {m.made.device for m in cpu} == {"cpu"}
    away = [abs(m.qid - gpu[m.key].qid) / (m.qid_se**2 + gpu[m.key].qid_se ** 2) ** 0.5 for m in cpu]
    assert max(away) < 2.0
    close = sum(abs(m.qid / gpu[m.key].qid - 1) < 1e-4 for m in cpu)
    assert f"{close} of 18 rows have the same QiD to .01 %" in (ROOT / "docs" / "datasets.md").read_text()
