"""The records of the GPU studies after the first: whole, unique, paired with their baselines, and their cards count them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitlaw.datasets import card, load, names
from bitlaw.records import Measurement

ROOT = Path(__file__).parents[2]
STUDIES = [name for name in names() if name in ("mini-pythia-2", "lr-state", "native", "ablations")]


@pytest.fixture(scope="module", params=STUDIES)
def named(request: pytest.FixtureRequest) -> tuple[str, list[Measurement]]:
    return request.param, load(request.param)


def test_rows_are_whole_and_of_their_study(named: tuple[str, list[Measurement]]) -> None:
    name, rows = named
    assert {m.seen.state for m in rows} == {"ok"}
    assert len({m.key for m in rows}) == len(rows)
    assert {(m.seen.non_finite_tokens, m.seen.fallback_layers) for m in rows} == {(0, 0)}
    suites = {"lr-state", "lr-state-cpu"} if name in ("ablations", "lr-state") else {name}
    assert {m.asked.checkpoint.suite for m in rows} <= suites
    assert len({m.asked.checkpoint for m in rows}) == len(
        {(m.asked.checkpoint.model, m.asked.checkpoint.step) for m in rows}
    )
    assert {m.made.dtype for m in rows} == {"float32"}


def test_validation_text_is_mini_pythias(named: tuple[str, list[Measurement]]) -> None:
    _, rows = named
    first = {m.asked.evaluation for m in load("mini-pythia")}
    rows = [m for m in rows if not m.asked.checkpoint.suite.endswith("-cpu")]  # those have a tokenizer of their own
    here = {m.asked.evaluation for m in rows if m.asked.evaluation.name == "corpus/validation.jsonl.zst"}
    assert here <= first


def test_each_text_of_a_checkpoint_has_one_baseline_loss(named: tuple[str, list[Measurement]]) -> None:
    _, rows = named
    losses: dict[tuple[str, int, str], list[float]] = {}
    for m in rows:
        at = (m.asked.checkpoint.model, m.asked.checkpoint.step, m.asked.evaluation.token_hash)
        losses.setdefault(at, []).append(m.baseline_loss)
        if m.asked.variant.is_baseline:
            assert m.qid == 0.0
    for found in losses.values():  # measured by several processes: sums in one order, on one kind of GPU
        assert max(found) - min(found) < 1e-5
        assert 2.5 < found[0] < 8.4


def test_the_card_counts_its_rows(named: tuple[str, list[Measurement]]) -> None:
    name, rows = named
    base = sum(m.asked.variant.is_baseline for m in rows)
    assert (
        f"{len(rows)} measurements ({len(rows) - base} of quantized models, {base} of the 16-bit model"
        in card(name).text
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in card(name).text.splitlines()]
    heads = next(line for line in lines if line[0] == "model")
    for model in {m.asked.checkpoint.model for m in rows}:
        mine = [m for m in rows if m.asked.checkpoint.model == model]
        told = dict(zip(heads, next(line for line in lines if line[0] == model), strict=True))
        last = max(m.asked.checkpoint.tokens or 0 for m in mine)
        steps = {m.asked.checkpoint.step for m in mine}
        assert told["parameters N"] == f"{mine[0].asked.checkpoint.parameters:,}".replace(",", " ")
        assert told["rows"] == str(len(mine))
        if "suite" in told:  # a dataset of several suites lists the tokens instead of counting checkpoints
            assert told["suite"] == mine[0].asked.checkpoint.suite
            assert len(told["tokens D measured"].split(", ")) == len(steps)
            assert told["tokens D measured"].endswith(f"{last / 1e6:.1f}M")
        else:
            assert list(told.values())[2:4] == [str(len(steps)), f"{last / 1e6:.1f}M"]
    assert f"| `{name}` | {len(rows)} |" in (ROOT / "docs" / "datasets.md").read_text()
