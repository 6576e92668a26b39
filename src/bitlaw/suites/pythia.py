"""Pythia (Biderman et al. 2023): GPT-NeoX models of nine sizes with 154 checkpoints each, on EleutherAI's hub pages.

Checkpoints are branches `stepN`: N = 0, 1, 2, 4, ..., 512, then every 1000 up to 143000. A step is 2,097,152 tokens
(1024 sequences of 2048). The first paper measured 160M to 12B of the deduplicated models, from step 512 to 98000.
N is the non-embedding count of Pythia's table: L (12 w^2 + 13 w) + 2 w for L layers of width w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bitlaw.suites.hub import hub_cache, hub_checkpoint
from bitlaw.suites.suite import Suite

STEP_TOKENS = 2_097_152
LAST_STEP = 143_000
WARMUP_STEPS = 1_430  # 1 %
FINAL_SHARE = 0.1
STEPS = (0, *(2**i for i in range(10)), *range(1000, LAST_STEP + 1, 1000))
PAPER_STEPS = (
    512, 1000, 2000, 4000, 6000, 8000, 10000, 12000, 14000, 20000, 24000, 29000, 36000, 43000, 57000, 71000, 86000,
    93000, 95000, 98000,
)  # fmt: skip
"""The steps of the first paper's Figure 2, and the two before them (qid-law: 18 read off the figure, 2 inferred)."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Layers, width, rows of the embedding (padded vocabulary), peak learning rate."""

    layers: int
    width: int
    rows: int
    peak_learning_rate: float

    @property
    def parameters(self) -> int:
        """N, non-embedding parameters."""
        return self.layers * (12 * self.width**2 + 13 * self.width) + 2 * self.width

    @property
    def parameters_total(self) -> int:
        """All parameters: input embedding and output head are apart."""
        return self.parameters + 2 * self.rows * self.width


SIZES = {
    "70m": Size(layers=6, width=512, rows=50304, peak_learning_rate=1e-3),
    "160m": Size(layers=12, width=768, rows=50304, peak_learning_rate=6e-4),
    "410m": Size(layers=24, width=1024, rows=50304, peak_learning_rate=3e-4),
    "1b": Size(layers=16, width=2048, rows=50304, peak_learning_rate=3e-4),
    "1.4b": Size(layers=24, width=2048, rows=50304, peak_learning_rate=2e-4),
    "2.8b": Size(layers=32, width=2560, rows=50304, peak_learning_rate=1.6e-4),
    "6.9b": Size(layers=32, width=4096, rows=50432, peak_learning_rate=1.2e-4),
    "12b": Size(layers=36, width=5120, rows=50688, peak_learning_rate=1.2e-4),
}
PAPER_SIZES = ("160m", "410m", "1b", "2.8b", "6.9b", "12b")


def learning_rate(size: Size, step: int) -> float:
    """Return the learning rate after `step` steps: a straight warm-up, then a cosine to a tenth of the peak."""
    if step < WARMUP_STEPS:
        return size.peak_learning_rate * step / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / (LAST_STEP - WARMUP_STEPS)
    return size.peak_learning_rate * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))


def open_pythia(folder: Path | None = None) -> Suite:
    """Return the deduplicated Pythia suite, 70M to 12B, 154 checkpoints each. Nothing is downloaded until it is used."""
    return _open("pythia", "-deduped")


def open_pythia_standard(folder: Path | None = None) -> Suite:
    """Return the Pythia suite trained on the Pile with its duplicates."""
    return _open("pythia-standard", "")


def _open(name: str, ending: str) -> Suite:
    checkpoints = tuple(
        hub_checkpoint(
            f"EleutherAI/pythia-{key}{ending}",
            f"step{step}",
            suite=name,
            model=f"pythia-{key}{ending}",
            step=step,
            family="gpt_neox",
            parameters=size.parameters,
            parameters_total=size.parameters_total,
            tokens=step * STEP_TOKENS,
            learning_rate=learning_rate(size, step),
            peak_learning_rate=size.peak_learning_rate,
            schedule="cosine",
        )
        for key, size in SIZES.items()
        for step in STEPS
    )
    return Suite(name=name, folder=hub_cache(), checkpoints=checkpoints)
