"""How much weights move between neighbouring checkpoints (the first paper's Figure 12), from safetensors alone.

For each pair of neighbouring checkpoints of a model: quantiles of |w2 - w1| / RMS(w1), over the entries of all matrices but
embeddings and head, each relative to the root mean square of its own matrix. Of large matrices evenly spaced entries are
looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.suites.checkpoint import SuiteCheckpoint
from bitlaw.suites.suite import Suite
from bitlaw.suites.weights import EMBEDDINGS, weight_files

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q95": 0.95}
MOST_ENTRIES = 100_000  # of a matrix


def weight_changes(suite: Suite, models: Sequence[str] = (), steps: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Return a row for each pair of neighbouring checkpoints: model, steps, tokens, and the quantiles of `QUANTILES`.

    models, steps: only these (default all). A checkpoint on a hub is downloaded. Raises CheckpointError.
    """
    rows: list[dict[str, Any]] = []
    chosen = models or suite.models
    for model in chosen:
        path = [c for c in suite.checkpoints if c.described.model == model and (not steps or c.described.step in steps)]
        before: dict[str, NDArray[np.float32]] = {}
        for index, checkpoint in enumerate(path):
            now = dict(_matrices(checkpoint))
            if index:
                earlier = path[index - 1].described
                moved = np.concatenate([_moved(before[name], now[name]) for name in now if name in before])
                values = np.quantile(moved, list(QUANTILES.values()))
                rows.append(
                    {
                        "model": model,
                        "step_from": earlier.step,
                        "step_to": checkpoint.described.step,
                        "tokens_from": earlier.tokens,
                        "tokens_to": checkpoint.described.tokens,
                        **{name: float(value) for name, value in zip(QUANTILES, values)},
                    }
                )
            before = now
            checkpoint.release()
    return rows


def write_changes(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_changes(path: Path) -> list[dict[str, Any]]:
    """Return rows as `write_changes` wrote them; numbers are text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _matrices(checkpoint: SuiteCheckpoint) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield name and entries [at most MOST_ENTRIES] of each matrix, divided by the matrix's root mean square later."""
    from safetensors import safe_open

    checkpoint.fetch()
    for file in weight_files(checkpoint.path):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - an open file is no mapping
                if EMBEDDINGS.search(name) or len(opened.get_slice(name).get_shape()) != 2:
                    continue
                flat = opened.get_tensor(name).float().flatten().numpy()
                stride = -(-flat.size // MOST_ENTRIES)
                yield name, np.ascontiguousarray(flat[::stride])


def _moved(before: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.float32]:
    scale = float(np.sqrt(np.mean(before.astype(np.float64) ** 2))) or 1.0
    return np.asarray(np.abs(now - before) / scale)
