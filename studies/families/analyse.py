"""Records of the families suite -> the tables and figures of docs/predictor.md, frontier.md and landscape.md, and the predictor that ships.

    python studies/families/analyse.py                             # the dataset `families`; needs bitlaw[predictor]
    python studies/families/analyse.py mine.parquet more.parquet   # one file or several of one's own

Writes: between the marks of the three pages; docs/figures/xu2024-*.png; src/bitlaw/data/predictor.json.gz; and into --out the
evaluation as JSON and the figures' HTML page. Everything is read from the records; the same records give the same files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import landscapes
import tables
from found import found_said, misses_said
from splits import WORKERS, alone_part, blind_parts

from bitlaw.datasets import load
from bitlaw.predictor import (
    KINDS,
    collect,
    frontier,
    importances,
    predictor_evaluate,
    predictor_train,
    tabulate,
    waterfall,
)
from bitlaw.predictor.budget import last_checkpoints
from bitlaw.predictor.evaluating import SPLITS, impossible_splits
from bitlaw.predictor.kinds import fit_kind
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.predictor.saved import SHIPPED
from bitlaw.records import Measurement
from bitlaw.report.xu2024 import draw
from bitlaw.report.xu2024.predictions import TARGET, shown_row, split_rows
from bitlaw.report.xu2024.sheets import Absent
from bitlaw.store import read_parquet

ROOT = Path(__file__).parent.parent.parent
BEGIN, END = "<!-- results: studies/families/analyse.py -->", "<!-- end of results -->"
SHIPPED_KINDS = (
    "zero-shot",
    "after-nearest",
    "zero-shot-mean",
    "after-nearest-mean",
    "zero-shot-compensated",
    "after-nearest-compensated",
    "zero-shot-compensated-mean",
    "after-nearest-compensated-mean",
    "config",
    "config-no-tokens",
)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def read(paths: Sequence[str]) -> list[Measurement]:
    """Return the measurements of all files, each once; without files those of the dataset."""
    if not paths:
        return load("families")
    found = {m.key: m for path in paths for m in read_parquet(path)}
    return list(found.values())


def predictor_page(
    measurements: Sequence[Measurement], models: Sequence[ModelRecords], out: Path, kinds: Sequence[str]
) -> str:
    """Return the results of docs/predictor.md."""
    every = collect(measurements)
    rows = tabulate(every)
    impossible = impossible_splits(rows)
    judged = predictor_evaluate(
        rows, kinds=kinds, splits=[s for s in SPLITS if s not in impossible], said=say, workers=WORKERS
    )
    (out / "evaluation.json").write_text(json.dumps(judged.to_dict(), indent=1), encoding="utf-8")
    say("importances")
    found = importances(rows, TARGET)
    try:
        train, test = split_rows(models)  # last checkpoints, as in the figures
    except Absent:  # no held-out family was measured
        train = test = tabulate(models)
    one = waterfall(fit_kind("forest", train, TARGET), test, shown_row(test), TARGET)
    say("predictor that ships")
    predictor_train(measurements, kinds=[k for k in SHIPPED_KINDS if rows.known(KINDS[k].needs).any()]).save(SHIPPED)
    conditions = (
        f"{len(models)} networks, {len(every)} checkpoints, {len(rows)} rows of checkpoint and format: {'; '.join(tables.suites_said(every))}. "
        f"Digest of the measurements behind the table {rows.digest}."
    )
    left = "".join(f"\n- left out: {n} {why}" for why, n in rows.left_out.items())
    parts = [
        conditions + left,
        "Checkpoints:",
        tables.suite_table(every),
    ]
    blind, scored = blind_parts(rows, out, kinds, say)
    parts += blind
    alone, added = alone_part(rows, out, kinds, say)
    parts += alone
    for split, words in tables.SPLITS.items():
        parts += [f"### {words}", impossible.get(split) or tables.scores_table(judged, split)]
    parts += [
        "Baselines are in italics. MAE and intervals in nats per token; rank: Spearman; covered: share of rows inside their interval.",
        "### The other reading: the loss after GPTQ itself",
        "It looks better because models differ in their loss before: no change at all explains much of it.",
        tables.loss_table(judged),
        "### Coverage of each left-out family",
        tables.coverage_by_family(judged),
        "### Do training tokens and learning-rate state help?",
        tables.tokens_said(judged),
        tables.ablation_table(judged),
        "### What the forest reads",
        tables.importance_table(found),
        "One prediction apart (change of the loss by GPTQ, nats):",
        tables.waterfall_text(one),
        "### Noise of formats",
        tables.duplicates_said(),
        "\n".join(f"- {line}" for line in tables.noise_said(models)),
        "### What it costs",
        tables.cost_said(models),
    ]
    further = "\n".join(f"- {line}" for line in (*added, tables.direction_said(rows, every)) if line)
    first = [
        "## What was found",
        f"{found_said(judged, scored)}\n{further}",
        "### Where the misses are",
        misses_said(judged),
    ]
    return "\n\n".join([*first, "## Results", *parts])


def figures_part(source: Sequence[Measurement], out: Path) -> str:
    """Draw the paper's figures and return them as Markdown."""
    folder = ROOT / "docs" / "figures"
    drawn = draw(source, folder)
    (out / drawn.page.name).write_text(drawn.page.read_text(encoding="utf-8"), encoding="utf-8")
    drawn.page.unlink()
    shown = [f"![Figure {n}](figures/{p.name})\n\nFigure {n}. {drawn.captions[n]}" for n, p in drawn.figures.items()]
    missing = [f"Figure {name} is missing: {why}." for name, why in drawn.absent.items()]
    head = (
        "## The paper's figures from these measurements\n\n`bitlaw reproduce xu2024` draws them. Losses share an axis only where they are of one text: all but "
        "figures 1R, 3R, 10 and 11, where no network of that suite has what they need, show the suite with more networks."
    )
    return "\n\n".join([head, *shown, *missing])


def frontier_page(measurements: Sequence[Measurement]) -> str:
    """Return the results of docs/frontier.md."""
    parts: list[str] = []
    for suite in sorted({m.asked.checkpoint.suite for m in measurements}):
        parts += frontier_of(suite, [m for m in measurements if m.asked.checkpoint.suite == suite])
    return "\n\n".join(parts)


def frontier_of(suite: str, measurements: Sequence[Measurement]) -> list[str]:
    """Return the frontier of one suite, whose networks are scored on one text."""
    whole, blocks = frontier(measurements), frontier(measurements, embeddings=False)
    parts = [f"## Results of the suite `{suite}`", "; ".join(tables.suites_said(collect(measurements))) + "."]
    for found, words in ((whole, "with embeddings and head"), (blocks, "without embeddings")):
        parts += [f"### Bytes {words}", tables.members_said(found), tables.frontier_table(found)]
    parts += ["### Best within a budget (with embeddings)", tables.budget_table(whole)]
    parts += [
        "### Is GPTQ worth running?",
        f"Verdicts over models; it must save {whole.least:g} nats, and its whole {whole.level:.0%} interval must.",
        tables.worth_table(whole),
    ]
    return parts


def put(page: Path, results: str) -> None:
    """Replace what stands between the marks of a page, or add it at its end."""
    text = page.read_text(encoding="utf-8")
    block = f"{BEGIN}\n\n{results}\n\n{END}\n"
    start, end = text.find(BEGIN), text.find(END)
    page.write_text(
        f"{text.rstrip()}\n\n{block}" if start < 0 else text[:start] + block + text[end + len(END) + 1 :],
        encoding="utf-8",
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", help=".parquet files of measurements (default: the dataset families)")
    parser.add_argument(
        "--out", default="runs/families-analysis", help="folder for the evaluation as JSON and the page of figures"
    )
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="which predictors are judged (default: all)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    measurements = read(given.records)
    models = last_checkpoints(collect(measurements))
    say(f"{len(measurements)} measurements, {len(models)} networks")
    results = predictor_page(measurements, models, out, given.kinds)
    say("figures")
    put(ROOT / "docs" / "predictor.md", results + "\n\n" + figures_part(measurements, out))
    put(ROOT / "docs" / "frontier.md", frontier_page(measurements))
    put(ROOT / "docs" / "landscape.md", landscapes.landscape_page(models))
    say("docs/predictor.md, docs/frontier.md and docs/landscape.md written")


if __name__ == "__main__":
    main()
