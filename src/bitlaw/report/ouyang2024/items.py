"""Every figure and table of Ouyang et al. 2024 (arXiv 2411.17691) from measurements, beside the published numbers.

`reproduce_ouyang2024(measurements)` returns the items in the paper's order: F1 to F14 and T1. What the records lack is said in
the item. Published numbers are those of `bitlaw.laws.ouyang2024` and of the digitised Figure 2; the paper's raw losses were never
released. "Ours" are exponents with 90 % intervals over models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bitlaw.records import Measurement
from bitlaw.report.ouyang2024 import factors, laws, others
from bitlaw.report.ouyang2024.published import item
from bitlaw.report.ouyang2024.rows import main_rows, models_of, usable
from bitlaw.report.papers import Item, Reproduction

PAPER = "Low-Bit Quantization Favors Undertrained LLMs (arXiv 2411.17691)"


def reproduce_ouyang2024(
    measurements: Iterable[Measurement],
    *,
    source: Sequence[str],
    suite: str = "",
    changes: Sequence[Mapping[str, Any]] = (),
) -> Reproduction:
    """Return the paper's items from measurements of any number of suites.

    source: sentences that say where they come from. suite: the one that stands for Pythia (default: all scored on the
    same tokens). changes: quantiles of weight changes (`bitlaw.suites.changes`), for F12.
    """
    rows = usable(measurements)
    main = main_rows(rows, suite)
    mine = main.rows
    makers: dict[str, Callable[[], Item]] = {
        "F1": lambda: laws.predictions(mine),
        "F2": lambda: factors.losses(mine),
        "F3": lambda: factors.by_tokens(mine),
        "F4": lambda: factors.by_size(mine),
        "F5": lambda: factors.by_bits(mine),
        "F6": lambda: laws.unified(mine),
        "F7": lambda: laws.quantized_loss(mine),
        "F8": lambda: others.texts(rows),
        "F9": lambda: others.methods(rows),
        "F10": lambda: laws.other_models(rows, mine),
        "F11": lambda: factors.contrast(mine),
        "F12": lambda: others.changes_of(changes),
        "F13": others.years,
        "F14": lambda: others.native(rows),
        "T1": lambda: laws.tokens_needed(mine),
    }
    needs_main = {"F1", "F2", "F3", "F4", "F5", "F6", "F7", "F11", "T1"}
    items = [
        make() if mine or name not in needs_main else item(name, missing=f"There are {main.words}.")
        for name, make in makers.items()
    ]
    sentences = [
        *source,
        f"What stands for the paper's main experiment: {main.words}; {len(mine)} rows of {len(models_of(mine))} models.",
        "Published are Pythia 160M to 12B at 1B to 206B tokens; exponents of other ranges are a comparison, not a target. "
        "Intervals are 90 %, over models.",
    ]
    return Reproduction(paper="ouyang2024", title=f"{PAPER}, made again", source=sentences, items=items)
