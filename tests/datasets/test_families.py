"""The dataset `families`: two suites that its card counts, whole checkpoints of the grid, probes that no law takes for models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bitlaw.datasets import card, load
from bitlaw.fit import Table
from bitlaw.predictor import collect
from bitlaw.records import Measurement

ROOT = Path(__file__).parents[2]
GRID = {"none": 1, "nearest": 28, "gptq": 28, "perturb_along": 56, "perturb_random": 57}


@pytest.fixture(scope="module")
def rows() -> list[Measurement]:
    return load("families")


def test_rows_are_whole_and_each_suite_has_one_text(rows: list[Measurement]) -> None:
    assert {m.seen.state for m in rows} == {"ok"}
    assert {m.made.dtype for m in rows} == {"float32"}
    assert {(m.seen.non_finite_tokens, m.seen.fallback_layers) for m in rows} == {(0, 0)}
    for suite in {m.asked.checkpoint.suite for m in rows}:
        mine = [m for m in rows if m.asked.checkpoint.suite == suite]
        assert len({m.asked.evaluation.token_hash for m in mine}) == 1
        assert {m.made.device == "cpu" for m in mine} == {suite == "families-cpu"}


def by_checkpoint(rows: list[Measurement]) -> dict[tuple[str, str, int], list[Measurement]]:
    found: dict[tuple[str, str, int], list[Measurement]] = {}
    for m in rows:
        c = m.asked.checkpoint
        found.setdefault((c.suite, c.model, c.step), []).append(m)
    return found


def test_checkpoints_of_the_first_two_suites_hold_the_grid_but_for_the_two_that_the_card_names(
    rows: list[Measurement],
) -> None:
    found = by_checkpoint(rows)
    ways = {at: dict(Counter(m.asked.variant.method for m in ms)) for at, ms in found.items()}
    other = {model: n for (suite, model, _), n in ways.items() if suite in ("families", "families-cpu") and n != GRID}
    assert other == {
        "opt-2.7m": {"none": 1, "perturb_random": 3},
        "opt-400k": {"none": 1, "nearest": 52, "gptq": 52, "perturb_along": 160, "perturb_random": 60},
    }
    for ms in found.values():
        base = [m.seen.nats for m in ms if m.asked.variant.is_baseline]
        assert len(base) == 1
        assert [m.seen.baseline_nats for m in ms] == pytest.approx(base * len(ms), rel=1e-9)


def test_rounding_hurts_more_with_fewer_bits_and_noise_more_when_larger(rows: list[Measurement]) -> None:
    models = [m for m in collect(rows) if m.points]
    models = [
        m
        for m in models
        if all(("nearest", f"mxint{bits}_k32") in m.points for bits in (2, 3, 4, 6)) and len(m.random) > 20
    ]
    assert len(models) >= 16
    for model in models:
        two, *more = (model.points["nearest", f"mxint{bits}_k32"].loss for bits in (2, 3, 4, 6))
        assert two > max(more)  # 3 and 4 bits of neox-400k differ by less than their errors
        assert model.curve.at(0.0) > model.curve.at(12.0) > model.loss


def test_laws_get_quantized_models_only(rows: list[Measurement]) -> None:
    table = Table.from_measurements(rows)
    assert set(table["method"].tolist()) == {"nearest", "gptq"}
    assert len(table) == sum(m.asked.variant.method in ("nearest", "gptq") for m in rows)


def test_the_card_counts_its_rows(rows: list[Measurement]) -> None:
    text = " ".join(card("families").text.split())
    base = sum(m.asked.variant.is_baseline for m in rows)
    assert (
        f"{len(rows)} measurements ({len(rows) - base} of quantized or perturbed models, {base} of the 16-bit" in text
    )
    for suite, model in {(m.asked.checkpoint.suite, m.asked.checkpoint.model) for m in rows}:
        mine = [m for m in rows if (m.asked.checkpoint.suite, m.asked.checkpoint.model) == (suite, model)]
        line = next(line for line in card("families").text.splitlines() if line.startswith(f"| {model} | {suite} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        tokens = sorted({m.asked.checkpoint.tokens or 0 for m in mine})
        assert cells[1:4] == [
            mine[0].asked.checkpoint.suite,
            f"{mine[0].asked.checkpoint.parameters:,}".replace(",", " "),
            ", ".join(f"{t / 1e6:.1f}M" for t in tokens),
        ]
        assert cells[5] == str(len(mine))
    assert f"| `families` | {len(rows)} |" in (ROOT / "docs" / "datasets.md").read_text()
