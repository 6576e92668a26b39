"""The shipped records as evidence: the kept fit is what fitting gives, `auto` uses it where they reach, and says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bitlaw.cli.demo_text import describe
from bitlaw.cli.main import main
from bitlaw.demo import DemoResult, _beside
from bitlaw.errors import InputError
from bitlaw.predict import predict, tokens_to_train
from bitlaw.predict.shipped import shipped_fit

SCRIPT = Path(__file__).parents[2] / "studies" / "shipped_fits.py"


def test_the_kept_fit_is_the_fit_of_the_records() -> None:
    spec = importlib.util.spec_from_file_location("shipped_fits", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    again, kept = script.made(), shipped_fit()
    assert again.data == kept.data
    for name, value in kept.values.items():
        assert again.values[name] == pytest.approx(value, rel=1e-3)
        assert again.intervals[name] == pytest.approx(kept.intervals[name], rel=1e-2, abs=1e-6)


def test_auto_answers_from_the_records_where_they_reach() -> None:
    inside = predict(5e6, 2e8, 3)
    assert inside.source.startswith("fit to the datasets mini-pythia and mini-pythia-2: 411 rows")
    assert inside.records is None
    assert not inside.outside
    v = shipped_fit().values
    assert inside.value == pytest.approx(v["k"] * 2e8 ** v["beta"] / (5e6 ** v["alpha"] * 3 ** v["gamma"]))
    assert inside.value == predict(5e6, 2e8, 3, law="records").value
    assert "ouyang2024-3bit" in {other.law for other in inside.beside}


def test_beyond_their_reach_the_published_law_answers_and_the_records_say_no_number() -> None:
    large = predict(70e9, 15e12, 4)
    assert large.law == "ouyang2024-4bit"
    assert large.records is not None
    assert (large.records.value, large.records.ratio) == (None, None)
    assert "beyond the largest fitted 8.51e+07" in " ".join(large.records.outside)
    named = predict(5e6, 2e8, 3, law="ouyang2024-3bit")
    assert named.records is not None
    assert named.records.value == pytest.approx(predict(5e6, 2e8, 3).value)
    with pytest.raises(InputError):
        predict(70e9, 15e12, 4, law="records", strict=True)
    assert tokens_to_train(5e6, 3, qid=0.1, law="records").value < 5.12e8


def test_said_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--params", "70e9", "--tokens", "15e12", "--bits", "4"]) == 0
    assert "records: the fit to the datasets mini-pythia and mini-pythia-2" in capsys.readouterr().out
    records, published = _beside()
    assert records.startswith(
        "beside, the same law fitted to the datasets mini-pythia and mini-pythia-2 (411 rows, 12 models, gptq): beta"
    )
    assert "beta 0.5251, alpha 0.2261, gamma 5.497" in published
    text = describe(DemoResult(out="x", evidence=[records, published]).to_dict())
    assert records in text.splitlines()
