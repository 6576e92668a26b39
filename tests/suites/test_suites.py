import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTNeoXForCausalLM

from bitlaw.catalog import SUITES
from bitlaw.errors import CheckpointError, InputError, UnknownName
from bitlaw.records import Checkpoint
from bitlaw.suites import open_suite, read_manifest, suites, write_manifest
from bitlaw.text import Windows, train_tokenizer
from bitlaw.text.source import TextSource
from tests.suites.conftest import neox_config


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "suite"))


def windows_of(documents: list[int]) -> Windows:
    return Windows(
        name="some text",
        ids=np.zeros((1, 4), np.int32),
        bytes_scored=np.zeros(1, np.int64),
        documents=np.array(documents, dtype=np.uint64),
        end_of_text=-1,
    )


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "suite.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_minimal_manifest_is_enough(folder: Path) -> None:
    suite = open_suite(folder)
    assert (suite.name, suite.models) == ("mine", ("small",))
    first, last = (c.checkpoint for c in suite.checkpoints)
    assert (first.step, first.tokens, last.step, last.tokens) == (3, 3000, 20, 20_000)  # in order of tokens
    # layers (12 width^2 + 13 width) + 2 width, and two tables of 260 x 16
    assert first.parameters == 2 * (12 * 16**2 + 13 * 16) + 2 * 16
    assert first.parameters_total == first.parameters + 2 * 260 * 16
    assert first.family == "gpt_neox"
    assert len(first.commit) == 64
    assert first.commit != last.commit
    assert first.learning_rate is None


def test_loaded_model_is_transformers_own(folder: Path) -> None:
    checkpoint = open_suite(folder).checkpoints[0]
    model, tokenizer = checkpoint.load("cpu", "float32")
    ids = torch.tensor([tokenizer("the cat sat")["input_ids"]])
    own = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.equal(model(ids).logits, own(ids).logits)
    assert not model.training
    with pytest.raises(UnknownName, match="Did you mean 'float32'"):
        checkpoint.load("cpu", "float23")
    assert checkpoint.load("cpu", torch.bfloat16)[0].dtype == torch.bfloat16


def test_manifest_goes_round(folder: Path) -> None:
    before = read_manifest(folder)
    write_manifest(
        folder, name=before.name, checkpoints=before.checkpoints, tokenizer="tok", training_text={"source": "x"}
    )
    after = read_manifest(folder)
    assert after.checkpoints == before.checkpoints
    assert (after.tokenizer, after.training_text) == ("tok", {"source": "x"})


def test_manifest_facts_reach_the_record(folder: Path) -> None:
    entry = {
        "path": "small/step-3", "model": "m", "step": 7, "tokens": 5, "parameters": 9, "parameters_total": 11,
        "learning_rate": 0.5, "peak_learning_rate": 1.0, "schedule": "wsd", "training_seed": 4, "weights_sha256": "ab",
    }  # fmt: skip
    change_manifest(folder, checkpoints=[entry])
    assert open_suite(folder).checkpoints[0].checkpoint == Checkpoint(
        suite="mine", model="m", step=7, commit="ab", family="gpt_neox", parameters=9, parameters_total=11, tokens=5,
        learning_rate=0.5, peak_learning_rate=1.0, schedule="wsd", training_seed=4,
    )  # fmt: skip


def test_the_suite_s_tokenizer_serves_checkpoints_without_one(folder: Path) -> None:
    (folder / "tok").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / "small" / "step-3" / name, folder / "tok" / name)
        for step in (3, 20):
            (folder / "small" / f"step-{step}" / name).unlink()
    with pytest.raises(CheckpointError, match="No tokenizer in"):
        open_suite(folder).checkpoints[0].load()
    change_manifest(folder, tokenizer="tok")
    assert len(open_suite(folder).checkpoints[0].load()[1]) == 260


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bitlaw_suite": 2}, "bitlaw_suite"),
        ({"checkpoints": []}, "no \"checkpoints\""),
        ({"checkpoints": ["small"]}, "checkpoint 1 is not an object"),
        ({"checkpoints": [{"path": "small/step-3"}]}, "checkpoint 1 lacks tokens"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": 1, "tokns": 2}]}, "Did you mean 'tokens'"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": 0}]}, "tokens=0"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": float("nan")}]}, "tokens=nan"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": 1, "parameters": -5}]}, "parameters=-5"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": 1}] * 2}, "more than once"),
        ({"checkpoints": [{"path": "gone", "tokens": 1}]}, "No config.json in"),
        ({"checkpoints": [{"path": 3, "tokens": 1}]}, "path=3 should be text"),
        ({"checkpoints": [{"path": "small/step-3", "tokens": 1, "step": "3"}]}, "step='3' should be a number"),
    ],
)  # fmt: skip
def test_manifests_that_cannot_be_used(folder: Path, changes: dict[str, Any], told: str) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(InputError, match=told):
        open_suite(folder)


def test_manifest_that_is_no_json(folder: Path) -> None:
    (folder / "suite.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        open_suite(folder)
    (folder / "suite.json").unlink()
    with pytest.raises(InputError, match=r"A suite is a folder with a suite.json"):
        open_suite(folder)


def test_weights_changed_since_the_manifest(folder: Path) -> None:
    good = open_suite(folder).checkpoints[0].checkpoint.commit
    change_manifest(folder, checkpoints=[{"path": "small/step-3", "tokens": 1, "weights_sha256": good}])
    open_suite(folder).checkpoints[0].load()
    change_manifest(folder, checkpoints=[{"path": "small/step-3", "tokens": 1, "weights_sha256": "0" * 64}])
    with pytest.raises(CheckpointError, match="have changed"):
        open_suite(folder).checkpoints[0].load()


def test_damaged_checkpoints_are_told_apart(folder: Path) -> None:
    checkpoint = open_suite(folder).checkpoints[0]
    weights = checkpoint.path / "model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "dense_h_to_4h.weight" not in k}, weights, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"2 missing keys, such as .*dense_h_to_4h"):
        checkpoint.load()
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="truncated"):
        checkpoint.load()
    weights.unlink()
    with pytest.raises(CheckpointError, match="No weights"):
        checkpoint.load()
    (checkpoint.path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="model_type"):
        open_suite(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    checkpoint = open_suite(folder).checkpoints[0]
    neox_config(intermediate_size=128).save_pretrained(checkpoint.path)
    with pytest.raises(CheckpointError, match=r"Cannot load|mismatched"):
        checkpoint.load()


def test_a_tokenizer_with_ids_the_embedding_lacks(folder: Path) -> None:
    path = folder / "small" / "step-3"
    text = folder / "text.txt"
    text.write_text(" ".join(f"word{i} thing{i}" for i in range(400)))
    train_tokenizer(TextSource(name=str(text)), vocabulary=280, folder=path)
    with pytest.raises(CheckpointError, match=r"ids up to 279, but the embedding .* has 260 rows"):
        open_suite(folder).checkpoints[0].load()
    torch.manual_seed(0)
    GPTNeoXForCausalLM(neox_config(vocab_size=512)).save_pretrained(path)  # more rows than tokens is usual
    assert open_suite(folder).checkpoints[0].load()[0].get_input_embeddings().weight.shape == (512, 16)


def test_overlap_with_the_training_text(folder: Path) -> None:
    suite = open_suite(folder)
    assert suite.check_no_overlap(windows_of([1, 2])) is False  # nobody can know
    np.save(folder / "training-documents.npy", np.array([2, 3, 2**63 + 5], dtype=np.uint64))
    assert suite.check_no_overlap(windows_of([1, 4])) is True
    with pytest.raises(InputError, match=r"some text shares 2 of its 3 documents"):
        suite.check_no_overlap(windows_of([1, 2, 2**63 + 5]))


def test_suites_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLAW_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("BITLAW_HUB", str(tmp_path / "hub"))
    assert {info.name: info.available for info in suites()} == dict.fromkeys(SUITES, False)
    with pytest.raises(InputError, match=r"not trained yet.*bitlaw train tiny --out"):
        open_suite("tiny")
    with pytest.raises(InputError, match="Give the folder's path"):
        open_suite("local")
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        open_suite("tinny")
    with pytest.raises(InputError, match="No suite folder"):
        open_suite("no/such/folder")
    shutil.copytree(folder, tmp_path / "runs" / "tiny")
    shutil.copytree(folder, tmp_path / "runs" / "other")
    assert open_suite("tiny").folder == tmp_path / "runs" / "tiny"
    assert open_suite("other").folder == tmp_path / "runs" / "other"
    assert {info.name for info in suites() if info.available} == {"tiny", "other"}
