"""What several leases brought back, put together: of each model the training with the most measurements, its losses and weights with it.

A lease is what one run brought: measurements and small files by study. What ships already is the first lease.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitlaw.records import Measurement

LOSSES, SUITE, CHANGES = "train-loss.csv", "suite.json", "weight-changes.csv"
LEAST_POINTS = 8  # of a loss curve, to tell whether it moves
KEPT = (LOSSES, SUITE, CHANGES)
Model = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Measurements of one study, and its files of KEPT by name."""

    rows: Sequence[Measurement] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def of(m: Measurement) -> Model:
    """Return suite and model."""
    return m.asked.checkpoint.suite, m.asked.checkpoint.model


def usable(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows that worked, of checkpoints whose 16-bit model was measured on the same text."""
    worked = [m for m in rows if m.seen.state == "ok"]
    base = {_place(m) for m in worked if m.asked.variant.is_baseline}
    return [m for m in worked if _place(m) in base]


def _place(m: Measurement) -> tuple[str, str]:
    return m.asked.checkpoint.commit, m.asked.evaluation.token_hash


def untrained(losses: str) -> set[str]:
    """Return the models of a loss curve's CSV whose loss is one number in the last half: nothing moved their weights.

    So it was for the models that trained on other than the first GPU they saw, on 2026-11-27 (docs/studies.md).
    """
    curves: dict[str, list[str]] = {}
    for row in csv.DictReader(losses.splitlines()):
        curves.setdefault(row["model"], []).append(row["loss_nats"])
    return {
        m for m, points in curves.items() if len(points) >= LEAST_POINTS and len(set(points[len(points) // 2 :])) == 1
    }


def without(lease: Lease, models: Collection[str]) -> Lease:
    """Return a lease without the measurements and lines of models, and of their weight averages."""

    def kept(model: str) -> bool:
        return model.split("+")[0] not in models

    files = dict(lease.files)
    for name in {LOSSES, CHANGES} & files.keys():
        first, *lines = files[name].splitlines()
        place = first.split(",").index("model")
        files[name] = "".join(f"{line}\n" for line in [first, *(x for x in lines if kept(x.split(",")[place]))])
    if SUITE in files:
        suite = json.loads(files[SUITE])
        suite["checkpoints"] = [c for c in suite["checkpoints"] if kept(c["model"])]
        files[SUITE] = json.dumps(suite, indent=1) + "\n"
    return Lease(rows=[m for m in lease.rows if kept(m.asked.checkpoint.model)], files=files)


def merged(leases: Iterable[Lease]) -> tuple[list[Measurement], dict[Model, int]]:
    """Return the measurements that are kept, and which lease each model's training is from (the last that went on with it).

    A lease that goes on with a training (the same weights where both have a step) adds to it. One that trained a model again replaces
    it if it brought more measurements of it, or as many.
    """
    found: dict[Model, dict[str, Measurement]] = {}
    origin: dict[Model, int] = {}
    for number, lease in enumerate(leases):
        by_model: dict[Model, dict[str, Measurement]] = {}
        for m in lease.rows:
            by_model.setdefault(of(m), {})[m.key] = m
        for model, rows in by_model.items():
            before = found.get(model, {})
            if before and not _same_training(before.values(), rows.values()):
                if len(rows) < len(before):
                    continue
                before = {}
            found[model] = before | rows
            origin[model] = number
    return [m for rows in found.values() for m in rows.values()], origin


def _same_training(one: Iterable[Measurement], other: Iterable[Measurement]) -> bool:
    commits = {m.asked.checkpoint.step: m.asked.checkpoint.commit for m in one}
    return all(
        commits.get(m.asked.checkpoint.step, m.asked.checkpoint.commit) == m.asked.checkpoint.commit for m in other
    )


def merged_files(leases: Sequence[Lease], origin: Mapping[Model, int]) -> dict[str, str]:
    """Return the files of KEPT with each model's lines from the lease that its measurements are from; of a model without any, the last's."""
    chosen = {model: number for (_, model), number in origin.items()}
    return {
        name: text
        for name, join in ((LOSSES, _joined_csv), (CHANGES, _joined_csv), (SUITE, _joined_suite))
        if (text := join([lease.files.get(name, "") for lease in leases], chosen))
    }


def _kept_models(numbered: Mapping[int, set[str]], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return model -> the lease whose lines count, among those that have some: that of its measurements if it is one of them, else the last."""
    kept: dict[str, int] = {}
    for number, models in numbered.items():
        for model in models:
            if kept.get(model) != chosen.get(model, -1):
                kept[model] = number
    return kept


def _joined_csv(texts: Sequence[str], chosen: Mapping[str, int]) -> str:
    parsed = {i: list(csv.DictReader(text.splitlines())) for i, text in enumerate(texts) if text}
    kept = _kept_models({i: {row["model"] for row in rows} for i, rows in parsed.items()}, chosen)
    lines = [",".join(rows[0]) for rows in parsed.values() if rows][-1:]
    lines += [",".join(row.values()) for i, rows in parsed.items() for row in rows if kept[row["model"]] == i]
    return "".join(f"{line}\n" for line in lines)


def _joined_suite(texts: Sequence[str], chosen: Mapping[str, int]) -> str:
    parsed: dict[int, dict[str, Any]] = {i: json.loads(text) for i, text in enumerate(texts) if text}
    if not parsed:
        return ""
    kept = _kept_models({i: {c["model"] for c in suite["checkpoints"]} for i, suite in parsed.items()}, chosen)
    last = parsed[max(parsed)]
    last["checkpoints"] = [c for i, suite in parsed.items() for c in suite["checkpoints"] if kept[c["model"]] == i]
    return json.dumps(last, indent=1) + "\n"


def read_files(folder: Path) -> dict[str, str]:
    """Return the files of KEPT that a folder holds, name -> text."""
    return {name: (folder / name).read_text() for name in KEPT if (folder / name).is_file()}
