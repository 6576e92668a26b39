"""Both papers' figures and tables again: from measurements, or, for the first paper, from the hub's checkpoints on.

    reproduce("ouyang2024", "runs/ouyang2024")                                  from the datasets that come with bitlaw
    reproduce("ouyang2024", "out", store="mine.db")                             from a store
    reproduce("ouyang2024", "out", suite="pythia", store="pythia.db", evaluation="refinedweb.jsonl")    the original study

The original study: Pythia 160M to 12B at 20 checkpoints from 1B to 206B tokens, GPTQ at 2, 3 and 4 bits with symmetric integers
of group 128, damping 0.1, layers one after the other, calibrated on 128 windows of WikiText-2, scored on RefinedWeb.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitlaw.catalog import find
from bitlaw.errors import InputError
from bitlaw.progress import Progress
from bitlaw.records import Measurement

DATASETS = {
    "ouyang2024": ("mini-pythia", "mini-pythia-2", "lr-state", "ablations", "native", "families"),
    "xu2024": ("families",),
}
"""Shipped datasets that each paper's items are made from, those of them that there are."""
CHANGES = ("mini-pythia-2-weight-changes.csv", "families-weight-changes.csv")
"""Shipped quantiles of weight changes, the first that there is; studies/gpu/unpack.py writes them."""
WIKITEXT = "hub-text:Salesforce/wikitext/wikitext-2-raw-v1/train-00000-of-00001.parquet"
REFINEDWEB = "hub-text:tiiuae/falcon-refinedweb/data/train-00000-of-05534-b8fc5348cbe605a5.parquet#content"
PAPER_VARIANTS = tuple(f"gptq int{bits}_g128_sym damping=0.1 within_block=sequential" for bits in (2, 3, 4))
EVALUATION_WINDOWS = 300  # of 2048 tokens: about 600k, what the paper's follow-up scored; its own count is not known
CALIBRATION_WINDOWS = 128


def reproduce(
    paper: str,
    out: str | Path,
    *,
    store: str | Path = "",
    suite: str = "",
    models: Sequence[str] = (),
    steps: Sequence[int] = (),
    evaluation: str = "",
    calibration: str = "",
    evaluation_windows: int = 0,
    window_tokens: int = 0,
    weights: str = "",
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make a paper's figures and tables into the folder `out`: PAPER.html and a PNG each -> what was made and what is missing.

    store: measurements to use, a store or a .parquet export (default: the shipped datasets). suite: measure this suite first, with the first paper's
    settings, into `store`; models, steps, evaluation, calibration, evaluation_windows and window_tokens are for that
    (default: the paper's). weights: a suite whose checkpoints tell how weights move (Figure 12). Raises InputError.
    """
    entry = find("paper", paper)
    if suite:
        if paper != "ouyang2024":
            raise InputError(
                f"--suite is for ouyang2024, not {paper}: measure with `bitlaw measure`, then give --store."
            )
        if not store:
            raise InputError("Measuring a suite needs a store that keeps the measurements. Give --store FILE.")
        _measure(
            suite,
            store,
            models=models,
            steps=steps,
            evaluation=evaluation,
            calibration=calibration,
            evaluation_windows=evaluation_windows,
            window_tokens=window_tokens,
            device=device,
            workers=workers,
            progress=progress or Progress(),
        )
    elif models or steps or evaluation or calibration or evaluation_windows or window_tokens:
        raise InputError(
            "models, steps, texts and windows are for measuring a suite, which is not given. Give --suite."
        )
    measurements, source = _evidence(paper, store)
    changes = _changes(weights, models, steps) if paper == "ouyang2024" and (weights or not store) else []
    made: dict[str, Any] = entry.load()(measurements, Path(out), source=source, changes=changes)
    return made


def ouyang2024(
    measurements: list[Measurement], out: Path, *, source: list[str], changes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the first paper's items into `out` -> items with their states, and the page."""
    from bitlaw.report.ouyang2024 import reproduce_ouyang2024
    from bitlaw.report.papers import write_reproduction

    made = reproduce_ouyang2024(measurements, source=source, changes=changes)
    return {**made.summary(), "page": str(write_reproduction(made, out))}


def xu2024(
    measurements: list[Measurement], out: Path, *, source: list[str], changes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the second paper's figures into `out` -> figures with their states, and the page."""
    from bitlaw.report.xu2024 import FIGURES, draw

    drawn = draw(measurements, out)
    items = [
        {
            "name": f"F{number}",
            "title": "",
            "state": "missing" if number in drawn.absent else "made",
            "ours": "",
            "missing": drawn.absent.get(number, ""),
        }
        for number in FIGURES
    ]
    return {"paper": "xu2024", "source": source, "items": items, "page": str(drawn.page)}


def _evidence(paper: str, store: str | Path) -> tuple[list[Measurement], list[str]]:
    """Return measurements and where they come from, in sentences."""
    if store:
        from bitlaw.store import read_parquet, records, shown

        found = read_parquet(store) if str(store).endswith(".parquet") else records(store)
        return found, [f"Measurements: {len(found)} of the store {shown(store)}."]
    from bitlaw.datasets import load, names

    there = [name for name in DATASETS[paper] if name in names()]
    by_name = {name: load(name) for name in there}
    said = ", ".join(f"{name} ({len(rows)})" for name, rows in by_name.items())
    absent = [name for name in DATASETS[paper] if name not in there]
    sentences = [f"Measurements: the datasets that come with bitlaw, {said}."]
    if absent:
        sentences.append(f"Not there: {', '.join(absent)}.")
    return [m for rows in by_name.values() for m in rows], sentences


def _measure(
    suite: str,
    store: str | Path,
    *,
    models: Sequence[str],
    steps: Sequence[int],
    evaluation: str,
    calibration: str,
    evaluation_windows: int,
    window_tokens: int,
    device: str,
    workers: int,
    progress: Progress,
) -> None:
    """Measure a suite as the first paper did."""
    from bitlaw.measure import MeasurePlan, measure
    from bitlaw.suites.hub_text import bring_text
    from bitlaw.suites.pythia import PAPER_SIZES, PAPER_STEPS

    if suite == "pythia":
        models = models or [f"pythia-{size}-deduped" for size in PAPER_SIZES]
        steps = steps or PAPER_STEPS
    plan = MeasurePlan.make(
        variants=PAPER_VARIANTS,
        evaluation=bring_text(evaluation or REFINEDWEB),
        evaluation_windows=evaluation_windows or EVALUATION_WINDOWS,
        calibration=bring_text(calibration or WIKITEXT),
        calibration_windows=CALIBRATION_WINDOWS,
        window_tokens=window_tokens,
    )
    measure(suite, plan, store, models=models, steps=steps, device=device, workers=workers, progress=progress)


def _changes(weights: str, models: Sequence[str], steps: Sequence[int]) -> list[dict[str, Any]]:
    """Return quantiles of weight changes: of a suite's checkpoints if one is named, else those that come with bitlaw."""
    from bitlaw.suites.changes import read_changes, weight_changes

    if weights:
        from bitlaw.suites import open_suite

        return weight_changes(open_suite(weights), models, steps)
    there = [file for name in CHANGES if (file := Path(__file__).parent / "data" / name).is_file()]
    return read_changes(there[0]) if there else []
