"""The shipped measurements are what their card says: whole, unique, one text, plausible. The oracle is the rows themselves."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from bitlaw.cli.main import main
from bitlaw.datasets import card, load, names, pack
from bitlaw.errors import InputError, StoreError, UnknownName
from bitlaw.store import ShippedStore, open_store, records, shipped_names

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def rows():
    return load("mini-pythia")


@pytest.fixture(scope="module")
def checkpoints(rows):
    found = defaultdict(list)
    for m in rows:
        found[m.asked.checkpoint.model, m.asked.checkpoint.step].append(m)
    return found


def test_every_shipped_file_has_a_card_and_every_card_a_file():
    assert names() == shipped_names()
    for name in names():
        assert load(name)
        assert card(name).name == name
        assert (ROOT / card(name).study / "plan.toml").is_file()


def test_rows_are_ok_and_unique(rows):
    assert {m.seen.state for m in rows} == {"ok"}
    assert len({m.key for m in rows}) == len(rows)
    asked = Counter(
        (
            m.asked.checkpoint.commit,
            m.asked.variant.label,
            str(sorted(m.asked.variant.options.items())),
            m.asked.calibration.token_hash,
        )
        for m in rows
    )
    assert max(asked.values()) == 1
    assert {(m.seen.non_finite_tokens, m.seen.fallback_layers) for m in rows} == {(0, 0)}


def test_one_text_one_tokenizer_one_device(rows):
    assert {m.asked.checkpoint.suite for m in rows} == {"mini-pythia"}
    assert len({m.asked.evaluation for m in rows}) == 1
    assert {(m.seen.tokens_scored, m.seen.bytes_scored) for m in rows} == {(204400, 652277)}
    assert len({m.asked.calibration.token_hash for m in rows if m.asked.variant.method in ("gptq", "awq")}) == 3
    assert {m.asked.calibration.name for m in rows if m.asked.variant.method in ("nearest", "hqq")} == {"none"}
    assert {(m.made.device, m.made.dtype) for m in rows} == {("NVIDIA H200", "float32")}


def test_each_checkpoint_has_one_baseline_which_all_its_rows_repeat(checkpoints):
    for at in checkpoints.values():
        baseline = [m for m in at if m.asked.variant.method == "none"]
        assert len(baseline) == 1
        assert baseline[0].qid == 0.0
        assert [m.seen.baseline_nats for m in at] == pytest.approx([baseline[0].seen.nats] * len(at), rel=1e-15)
        assert len({m.asked.checkpoint for m in at}) == 1


def test_losses_fall_along_training_and_bits_are_ordered_at_the_end(checkpoints):
    models = {model for model, _ in checkpoints}
    for model in models:
        path = [checkpoints[at] for at in sorted(at for at in checkpoints if at[0] == model)]
        losses = [next(m.loss for m in at if m.asked.variant.method == "none") for at in path]
        assert losses == sorted(losses, reverse=True)
        assert 3.0 < losses[-1] < losses[0] < 8.32  # ln 4096: a model that guesses evenly
        tokens = [at[0].asked.checkpoint.tokens for at in path]
        assert tokens == sorted(tokens)
        for method in ("gptq", "nearest"):
            last = {m.asked.variant.bits: m.qid for m in path[-1] if m.asked.variant.label.startswith(f"{method} int")}
            assert last[2] > last[3] > last[4] > 0


def test_card_counts_are_those_of_the_rows(rows, checkpoints):
    text = " ".join(card("mini-pythia").text.split())
    baselines = sum(m.asked.variant.method == "none" for m in rows)
    assert f"{len(rows)} measurements ({len(rows) - baselines} of quantized models, {baselines} of the 16-bit" in text
    for model in {model for model, _ in checkpoints}:
        path = {at: found for at, found in checkpoints.items() if at[0] == model}
        variants = {
            at: {(m.asked.variant.label, str(sorted(m.asked.variant.options.items()))) for m in found}
            for at, found in path.items()
        }
        full = sum(len(found) == 35 for found in variants.values())
        last = max(found[0].asked.checkpoint.tokens for found in path.values())
        size = f"{next(iter(path.values()))[0].asked.checkpoint.parameters:,}".replace(",", " ")
        row = next(line for line in card("mini-pythia").text.splitlines() if line.startswith(f"| {model} "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == size
        assert cells[3:6] == [str(len(path)), f"{last / 1e6:.1f}M", str(full)]
        seeds = Counter(len({m.asked.calibration.token_hash for m in found} - {"none"}) for found in path.values())
        expected = {3: "two more", 2: "one more", 1: "none"}[max(seeds)]
        assert cells[6].startswith(expected)


def test_docs_hold_the_card():
    page = (ROOT / "docs" / "datasets.md").read_text()
    for name in names():
        assert card(name).text in page
        assert f"`{name}`" in page


def test_packing_twice_gives_equal_bytes_and_equal_rows(rows, tmp_path):
    some = rows[:40]
    assert pack(some, tmp_path / "a.parquet") == 40
    pack(reversed(some), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    with open_store(tmp_path / "s.db") as store:
        from bitlaw.store import import_parquet

        assert import_parquet(store, tmp_path / "a.parquet") == 40
        assert store.read() == some
    with pytest.raises(InputError, match="1 of 3 measurements occur twice"):
        pack([*some[:2], some[0]], tmp_path / "c.parquet")


def test_a_dataset_is_a_store_for_reading(rows):
    with open_store("dataset:mini-pythia", create=False) as store:
        assert isinstance(store, ShippedStore)
        assert store.count() == len(rows)
        chosen = store.read(method="gptq", bits=[2, 3], model="neox-0.2m")
        assert chosen == [
            m
            for m in rows
            if m.asked.variant.method == "gptq"
            and m.asked.variant.bits in (2, 3)
            and m.asked.checkpoint.model == "neox-0.2m"
        ]
        assert store.keys("failed") == set()
        assert store.keys() == {m.key for m in rows}
        for change in (lambda: store.add(rows[:1]), lambda: store.delete([rows[0].key])):
            with pytest.raises(StoreError, match="can only be read"):
                change()
        with pytest.raises(UnknownName, match="Unknown column"):
            store.read(colour="red")
    assert len(records("dataset:mini-pythia", method="none")) == 71


def test_writing_to_a_dataset_is_refused_before_anything_runs():
    with pytest.raises(StoreError, match="bitlaw records export"):
        open_store("dataset:mini-pythia")


@pytest.mark.parametrize("ask", [load, card, lambda name: open_store(f"dataset:{name}", create=False)])
def test_unknown_names_offer_the_nearest(ask):
    with pytest.raises(UnknownName, match="Did you mean 'mini-pythia'"):
        ask("mini-pithia")


def test_command_line_reads_a_dataset(capsys):
    assert main(["records", "list", "--store", "dataset:mini-pythia", "--where", "method=none", "--json"]) == 0
    assert capsys.readouterr().out.count("neox-17.7m") >= 12
    assert main(["records", "digest", "--store", "dataset:none-such"]) == 2
    assert "mini-pythia" in capsys.readouterr().err


def test_loading_needs_no_torch():
    code = (
        "import sys, bitlaw.datasets as d; n = len(d.load('mini-pythia')); assert 'torch' not in sys.modules; print(n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(len(load("mini-pythia"))), done.stderr
