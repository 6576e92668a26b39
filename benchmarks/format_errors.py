"""Write src/bitlaw/data/formats.csv: bits and Gaussian rounding error of every format, so that plans need no torch.

    python benchmarks/format_errors.py

Each format of the catalog, the 36 of arXiv 2410.12119 and the integers they are compared with there round 512 rows of 4096 standard normal
numbers to nearest. Formats that are others by another name are left out, and so are those with short last groups.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from bitlaw.catalog import FORMATS
from bitlaw.formats import bits_per_weight, parse_format, quantize_groups
from bitlaw.predictor.known_formats import PAPER_FORMATS

FILE = Path(__file__).parent.parent / "src" / "bitlaw" / "data" / "formats.csv"
SIDE = 4096


def rows(names: list[str], rows: int = 512) -> list[list[object]]:
    """Return name, bits, group size, stored bits per weight and mean squared error of each format."""
    weight = torch.randn(rows, SIDE, generator=torch.Generator().manual_seed(0))
    found = []
    for name in names:
        format = parse_format(name)
        error = float(((quantize_groups(weight, format) - weight) ** 2).mean(dtype=torch.float64))
        stored = bits_per_weight(SIDE, format, rows=SIDE)
        found.append([name, f"{format.bits:g}", format.group_size, f"{stored:.6g}", f"{error:.4g}"])
    return found


def names() -> list[str]:
    """Return the examples of every family that are formats of their own."""
    examples = [name for entry in FORMATS.values() for name in entry.load().examples()]
    scopes = (
        "row_sym",
        "row_sym_mse",
        "tensor_sym",
        "tensor_sym_mse",
        *(f"g{g}_sym{m}" for g in (16, 32, 64, 128) for m in ("", "_mse")),
    )
    examples += [*PAPER_FORMATS, *(f"int{bits}_{scope}" for bits in (2, 3, 4, 6) for scope in scopes)]
    kept = [name for name in examples if parse_format(name).canonical == name and not parse_format(name).short]
    return list(dict.fromkeys(kept))


if __name__ == "__main__":
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "bits", "group_size", "bits_per_weight", "gaussian_error"])
        writer.writerows(rows(names()))
