"""Checkpoints from a hub: the protocol against a stand-in server, what records say, resuming, errors, Pythia's table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from bitlaw.errors import CheckpointError, InputError
from bitlaw.measure import MeasurePlan, measure
from bitlaw.store import open_store
from bitlaw.suites import open_suite, suites
from bitlaw.suites.hub import HubCheckpoint
from bitlaw.suites.pythia import PAPER_SIZES, PAPER_STEPS, SIZES, STEP_TOKENS, STEPS, learning_rate
from bitlaw.text import open_text, train_tokenizer
from tests.suites.conftest import neox_config
from tests.suites.standin import Hub, commit_of, hub

NAME = "EleutherAI/pythia-70m-deduped"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three revisions of a tiny random GPT-NeoX under the name of Pythia 70M; the last has pickled weights only."""
    folder = tmp_path_factory.mktemp("hub")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat. " * 50)
    torch.manual_seed(0)
    for revision in ("step512", "step1000", "old"):
        path = folder / NAME / revision
        model = GPTNeoXForCausalLM(neox_config())
        model.save_pretrained(path)
        train_tokenizer(open_text(text), vocabulary=260, folder=path)
        (path / "README.md").write_text("not needed")
        if revision == "old":
            torch.save(model.state_dict(), path / "pytorch_model.bin")
            (path / "model.safetensors").unlink()
    return folder


@pytest.fixture
def server(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("BITLAW_HUB", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hub(served) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def first(text: str) -> HubCheckpoint:
    checkpoint = open_suite(text).checkpoints[0]
    assert isinstance(checkpoint, HubCheckpoint)
    return checkpoint


def test_a_checkpoint_is_resolved_downloaded_in_parts_and_loaded(server: Hub, served: Path) -> None:
    checkpoint = first(f"hub:{NAME}@step512=1.07e9")
    assert server.asked == []  # nothing is asked before it is used
    checkpoint.ready()
    assert sorted(f.name for f in checkpoint.path.iterdir() if f.is_file() and not f.name.startswith(".")) == [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    known = checkpoint.checkpoint
    assert known.commit == commit_of(served / NAME / "step512")
    own = GPTNeoXForCausalLM.from_pretrained(served / NAME / "step512")
    assert (known.suite, known.model, known.step) == (NAME, "pythia-70m-deduped", 512)
    assert (known.family, known.tokens) == ("gpt_neox", 1_070_000_000)
    assert known.parameters == 2 * (12 * 16**2 + 13 * 16) + 2 * 16  # two layers of width 16
    model, _ = checkpoint.load()
    ids = torch.arange(5)[None]
    assert torch.equal(model(ids).logits, own(ids).logits)
    streamed, _ = first(f"hub:{NAME}@step512=1.07e9").stream()
    streamed.close()
    asked = len(server.asked)
    again = first(f"hub:{NAME}@step512=1.07e9")
    again.load()
    assert again.checkpoint == known
    assert len(server.asked) == asked  # all from the cache
    assert not any("README" in path for _, path, _ in server.asked)


def test_pickled_weights_become_safetensors(server: Hub, served: Path) -> None:
    checkpoint = first(f"hub:{NAME}@old")
    model, _ = checkpoint.load()
    held = torch.load(served / NAME / "old" / "pytorch_model.bin", weights_only=True)
    assert all(torch.equal(value, held[name]) for name, value in model.state_dict().items())
    assert not list(checkpoint.path.glob("*.bin"))
    assert (checkpoint.described.step, checkpoint.described.tokens) == (1, None)


def test_a_pickle_that_is_more_than_weights_is_refused(tmp_path: Path) -> None:
    from bitlaw.suites.pickled import to_safetensors

    torch.save({"weight": torch.ones(2), "code": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not hold plain weights"):
        to_safetensors(tmp_path, ["pytorch_model.bin"])


def test_a_download_that_broke_off_goes_on(server: Hub, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken half way once: huggingface_hub asks for the rest within the call, or our next call does; then it is whole."""
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    server.breaks.add("model.safetensors")
    checkpoint = first(f"hub:{NAME}@step1000")
    with contextlib.suppress(CheckpointError):
        checkpoint.fetch()
    checkpoint.fetch()
    size = (served / NAME / "step1000" / "model.safetensors").stat().st_size
    assert (checkpoint.path / "model.safetensors").stat().st_size == size
    ranges = [r for method, path, r in server.asked if method == "GET" and path.endswith("model.safetensors")]
    assert ranges[0] in ("", "bytes=0-")
    assert int(ranges[-1].removeprefix("bytes=").split("-")[0]) > 0  # not from the beginning again
    checkpoint.load()


def test_measured_from_the_hub_and_weights_not_kept(
    server: Hub, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two revisions by their steps out of Pythia's list; N and tokens are Pythia's, the commits the hub's."""
    monkeypatch.setenv("BITLAW_HUB_KEEP", "no")
    plan = MeasurePlan.make(
        methods=["nearest"], bits=[4], group_size=16, evaluation_windows=2, calibration_windows=1, window_tokens=16
    )
    settings = {"models": ["pythia-70m-deduped"], "steps": [512, 1000]}
    summary = measure("pythia", plan, tmp_path / "runs.db", device="cpu", workers=1, **settings)
    assert (summary.measured, summary.failed) == (4, 0)
    with open_store(tmp_path / "runs.db") as store:
        seen = {(m.asked.checkpoint.step, m.asked.checkpoint.commit, m.asked.checkpoint.tokens) for m in store}
        assert {m.asked.checkpoint.parameters for m in store} == {18_915_328}
    assert seen == {(s, commit_of(served / NAME / f"step{s}"), s * STEP_TOKENS) for s in (512, 1000)}
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert {i.name: i.available for i in suites()}["pythia"]
    with pytest.raises(InputError, match=r"has no step 500. The nearest is 512."):
        measure("pythia", plan, tmp_path / "runs.db", device="cpu", steps=[500])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"hub:{NAME}@step7", r"Cannot download .* at step7 from http.*: no such revision"),
        ("hub:EleutherAI/pithia@step7", r"no such repository, or a private one"),
    ],
)
def test_what_is_not_there(server: Hub, text: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        first(text).ready()


def test_without_weights(server: Hub, served: Path, tmp_path: Path) -> None:
    bare = served / "someone" / "bare" / "main"
    bare.mkdir(parents=True, exist_ok=True)
    (bare / "config.json").write_text("{}")
    checkpoint = first("hub:someone/bare")
    assert checkpoint.revision == "main"
    with pytest.raises(CheckpointError, match=r"has no safetensors or pytorch_model.bin: it holds config.json"):
        checkpoint.fetch()


def test_offline_and_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLAW_HUB", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE is set, and it is not in"):
        first(f"hub:{NAME}@step1").ready()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(CheckpointError, match=r"from http://127.0.0.1:9: .*HF_ENDPOINT names another hub"):
        first(f"hub:{NAME}@step1").ready()


@pytest.mark.parametrize("text", ["hub:", "hub:pythia", "hub:a/b@", "hub:a/b@x=many", "hub:a/b/c@x", "hub:a/b@x=-1"])
def test_spelling(text: str) -> None:
    with pytest.raises(InputError, match="hub:"):
        open_suite(text)
    with pytest.raises(InputError, match="Write hub:ORG/NAME"):
        open_suite("hub")


def test_pythia_is_what_its_papers_say() -> None:
    suite = open_suite("pythia")
    assert len(STEPS) == 154
    assert suite.models == tuple(f"pythia-{size}-deduped" for size in SIZES)
    counts = {size: SIZES[size].parameters for size in SIZES}
    assert counts == {
        "70m": 18_915_328, "160m": 85_056_000, "410m": 302_311_424, "1b": 805_736_448, "1.4b": 1_208_602_624,
        "2.8b": 2_517_652_480, "6.9b": 6_444_163_072, "12b": 11_327_027_200,
    }  # fmt: skip
    totals = {size: SIZES[size].parameters_total for size in ("160m", "6.9b", "12b")}
    assert totals == {"160m": 162_322_944, "6.9b": 6_857_302_016, "12b": 11_846_072_320}
    last = suite.checkpoints[-1].described
    assert (last.step, last.tokens) == (143_000, 299_892_736_000)
    assert last.learning_rate == pytest.approx(1.2e-5)
    assert learning_rate(SIZES["160m"], 715) == pytest.approx(3e-4)  # half of the warm-up
    assert set(PAPER_STEPS) <= set(STEPS)
    assert len(PAPER_STEPS) == 20
    assert set(PAPER_SIZES) <= set(SIZES)
    names = {(c.repository, c.revision) for c in suite.checkpoints if isinstance(c, HubCheckpoint)}
    assert ("EleutherAI/pythia-12b-deduped", "step98000") in names
    assert len(names) == 8 * 154
    standard = open_suite("pythia-standard")
    assert json.loads(json.dumps(standard.models))[1] == "pythia-160m"
