"""The verb that makes a paper's figures and tables again."""

from __future__ import annotations

import argparse
from typing import Any

from bitlaw.catalog import PAPERS
from bitlaw.cli.output import table
from bitlaw.cli.verb import Verb
from bitlaw.progress import open_progress


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", help=f"which paper: {', '.join(PAPERS)}")
    parser.add_argument("--out", default="", help="folder for the page and its figures (default: runs/PAPER)")
    parser.add_argument("--store", default="", help="measurements to use (default: the datasets that come with bitlaw)")
    parser.add_argument(
        "--suite", default="", help="measure this suite first with the paper's settings, into --store (ouyang2024)"
    )
    parser.add_argument("--models", nargs="+", default=[], help="only these models of --suite")
    parser.add_argument("--steps", nargs="+", type=int, default=[], help="only the checkpoints of these steps")
    parser.add_argument("--evaluation", default="", help="text to score (default: RefinedWeb, from the hub)")
    parser.add_argument("--calibration", default="", help="calibration text (default: WikiText-2, from the hub)")
    parser.add_argument("--evaluation-windows", type=int, default=0, help="windows to score (default: 300)")
    parser.add_argument(
        "--window-tokens", type=int, default=0, help="tokens of a window (default: the model's own length)"
    )
    parser.add_argument(
        "--weights", default="", metavar="SUITE", help="checkpoints that tell how weights move (Figure 12)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes side by side (default: the cores, or one a GPU)"
    )
    parser.add_argument(
        "--progress", default="auto", choices=("auto", "bars", "plain", "none"), help="how progress is shown"
    )


def _run(given: argparse.Namespace) -> Any:
    from bitlaw.reproduce import reproduce

    with open_progress(given.progress) as progress:
        return reproduce(
            given.paper,
            given.out or f"runs/{given.paper}",
            store=given.store,
            suite=given.suite,
            models=given.models,
            steps=given.steps,
            evaluation=given.evaluation,
            calibration=given.calibration,
            evaluation_windows=given.evaluation_windows,
            window_tokens=given.window_tokens,
            weights=given.weights,
            device=given.device,
            workers=given.workers,
            progress=progress,
        )


def _text(data: dict[str, Any]) -> str:
    rows = [{**item, "missing": item["missing"] or "-"} for item in data["items"]]
    return "\n".join([*data["source"], table(rows, ["name", "title", "state", "missing"]), f"page: {data['page']}"])


REPRODUCE = Verb(
    name="reproduce",
    summary="make a paper's figures and tables again from measurements, beside the published numbers",
    teach="""\
One page with every figure and table of the paper, and a PNG each. Without more it uses the measurements that come with
bitlaw; --store uses yours. What the measurements lack for an item is said in it. With --suite the first paper's
experiment is run first, with its settings (GPTQ, symmetric, group 128, damping 0.1): for pythia, six sizes and 20
checkpoints each from the hub, which takes days of one GPU. It goes on where it was.

  bitlaw reproduce ouyang2024
  bitlaw reproduce ouyang2024 --store runs/mine.db --out runs/figures
  bitlaw reproduce xu2024 --store families.parquet
  bitlaw reproduce ouyang2024 --suite pythia --store pythia.db --models pythia-160m-deduped --steps 512 1000 2000""",
    arguments=_arguments,
    run=_run,
    text=_text,
)
