"""The first paper's own study from a hub: the real command, tiny random models under Pythia's names, texts as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from bitlaw.cli.main import main
from bitlaw.errors import InputError
from bitlaw.store import records
from bitlaw.suites.changes import weight_changes
from bitlaw.suites.hub_text import bring_text
from bitlaw.suites.opening import open_suite
from bitlaw.text import open_text, train_tokenizer
from tests.suites.conftest import neox_config
from tests.suites.standin import hub

MODELS = ("pythia-160m-deduped", "pythia-410m-deduped")
STEPS = (512, 1000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat. " * 50)
    for seed, model in enumerate(MODELS):
        torch.manual_seed(seed)
        built = GPTNeoXForCausalLM(neox_config(num_hidden_layers=1))
        for step in STEPS:
            path = folder / "EleutherAI" / model / f"step{step}"
            built.save_pretrained(path)
            train_tokenizer(open_text(text), vocabulary=260, folder=path)
            for parameter in built.parameters():  # every weight moves by a tenth of itself before the next step
                parameter.data *= 1.1
    for name, column, words in (("wiki", "text", "a dog ran home. "), ("web", "content", "birds fly over it. ")):
        data = folder / "datasets" / "someone" / name / "main" / "data"
        data.mkdir(parents=True)
        rows = {column: [words * 60 + str(i) for i in range(40)] + ["", None], "n": list(range(42))}
        pq.write_table(pa.table(rows), data / "part-0.parquet")
    return folder


@pytest.fixture(autouse=True)
def endpoint(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("BITLAW_HUB", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hub(served) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield


def test_the_original_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["reproduce", "ouyang2024", "--suite", "pythia", "--store", str(tmp_path / "pythia.db")]
    command += ["--out", str(tmp_path / "out"), "--models", *MODELS, "--steps", *map(str, STEPS)]
    command += ["--evaluation", "hub-text:someone/web/data/part-0.parquet", "--evaluation-windows", "4"]
    command += ["--calibration", "hub-text:someone/wiki/data/part-0.parquet#text@main", "--window-tokens", "16"]
    command += ["--weights", "pythia", "--device", "cpu", "--workers", "1", "--progress", "none", "--json"]
    assert main(command) == 0
    data = json.loads(capsys.readouterr().out)
    found = records(tmp_path / "pythia.db")
    assert len(found) == 2 * 2 * 4
    quantized = [m for m in found if not m.asked.variant.is_baseline]
    assert {m.asked.variant.format for m in quantized} == {f"int{b}_g128_sym" for b in (2, 3, 4)}
    options = [m.asked.variant.options for m in quantized]
    assert all((o["damping"], o["within_block"], o["upstream"]) == (0.1, "sequential", "quantized") for o in options)
    assert {m.asked.calibration.name.rsplit("/", 1)[1] for m in quantized} == {"part-0-text.jsonl"}
    assert {m.asked.evaluation.name.rsplit("/", 1)[1] for m in found} == {"part-0-content.jsonl"}
    assert {m.asked.checkpoint.tokens for m in found} == {s * 2_097_152 for s in STEPS}
    assert {m.asked.checkpoint.parameters for m in found} == {85_056_000, 302_311_424}
    states = {item["name"]: item["state"] for item in data["items"]}
    assert states["F12"] == "made"  # from the checkpoints themselves
    assert states["F2"] == "made"
    assert "the paper's settings" in " ".join(data["source"])


def test_weights_that_move_by_a_tenth(tmp_path: Path) -> None:
    """Every weight grew by a tenth: |change| / RMS has the quantiles of 0.1 |w| / RMS, known for normal weights."""
    (row,) = weight_changes(open_suite("pythia"), MODELS[:1], STEPS)
    assert (row["step_from"], row["step_to"], row["tokens_to"]) == (512, 1000, 1000 * 2_097_152)
    assert row["q50"] == pytest.approx(0.1 * 0.6745, rel=0.05)  # median of |normal|, 2 816 weights
    assert row["q95"] == pytest.approx(0.1 * 1.960, rel=0.06)


def test_texts_from_the_hub(tmp_path: Path) -> None:
    name = bring_text("hub-text:someone/web/data/part-0.parquet")
    texts = [document.text for document in open_text(name).documents()]
    assert len(texts) == 40  # the empty one and the one that is none are no documents
    assert texts[3].endswith("it. 3")
    assert bring_text("sample:evaluation") == "sample:evaluation"
    with pytest.raises(InputError, match=r"has no column 'words'. Its columns: content, n"):
        bring_text("hub-text:someone/web/data/part-0.parquet#words")
    with pytest.raises(InputError, match=r"Cannot bring the text nothing.txt of someone/web"):
        bring_text("hub-text:someone/web/nothing.txt")
    with pytest.raises(InputError, match="is not of the form hub-text:ORG/NAME/FILE"):
        bring_text("hub-text:someone")
