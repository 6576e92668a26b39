"""F14 from training losses: the twins of the study `native` (studies/native/long.toml), whose loss curves come with bitlaw.

`data/native-train-loss.csv`: model, parameters (N), step, tokens (D), loss_nats (mean over the steps since the line before), learning_rate.
A model whose name goes on behind another's (`neox-0.8m-b158` behind `neox-0.8m`) is that model's low-bit twin.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

Curve = tuple[npt.NDArray[Any], npt.NDArray[Any]]
FILE = "native-train-loss.csv"
SMOOTHED = 7
"""Lines averaged into a point, as training loss scatters by a hundredth of a nat from line to line."""


def training_twins() -> dict[int, dict[str, Curve]]:
    """Return N -> name -> (D, loss), the 16-bit model first; curves averaged over SMOOTHED lines, D in tokens, loss in nats."""
    rows: dict[int, dict[str, list[tuple[float, float]]]] = {}
    text = resources.files("bitlaw").joinpath("data", FILE).read_text()
    for row in csv.DictReader(text.splitlines()):
        of_size = rows.setdefault(int(row["parameters"]), {})
        of_size.setdefault(row["model"], []).append((float(row["tokens"]), float(row["loss_nats"])))
    return {
        n: {name: _smoothed(by_name[name]) for name in sorted(by_name, key=len)} for n, by_name in sorted(rows.items())
    }


def gaps(curves: Mapping[str, Curve]) -> list[tuple[str, str, float, float, float | None]]:
    """Return (low-bit model, its twin, gap at the first point, gap at the last, last D at which it was ahead) of one size."""
    names = list(curves)
    made = []
    for name in names[1:]:
        twin = next(other for other in names if name.startswith(other))
        (tokens, loss), (grid, base) = curves[name], curves[twin]
        gap = loss - np.interp(np.log(tokens), np.log(grid), base)
        ahead = tokens[gap < 0]
        made.append((name, twin, float(gap[0]), float(gap[-1]), float(ahead[-1]) if len(ahead) else None))
    return made


def _smoothed(points: list[tuple[float, float]]) -> Curve:
    ordered = np.array(sorted(points))
    runs = [ordered[i : i + SMOOTHED] for i in range(0, len(ordered) - SMOOTHED + 1, SMOOTHED)]
    means = np.array([run.mean(0) for run in runs])
    return means[:, 0], means[:, 1]
