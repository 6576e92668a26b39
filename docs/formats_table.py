"""Print the tables of docs/formats.md from the formats themselves: `python docs/formats_table.py`.

SQNR is measured here: 4000 rows of 128 standard normal numbers, seed 0, 10 log10(sum w^2 / sum (q - w)^2).
"""

import math

import torch

from bitlaw import catalog
from bitlaw.formats import bits_per_weight, duplicates, parse_format, quantize_groups

TITLES = {
    "int": "Integers",
    "int1.58": "Ternary",
    "mxint": "Microscaling",
    "nvfp4": "NVFP4",
    "fp": "Small floats, float scale",
    "nf4": "Tables of bitsandbytes",
    "quantile": "Fitted codebooks",
}
HEAD = "| name | bits/weight | grid | scale | dB | equals |\n|---|---|---|---|---|---|"
PAPER = ["mxint6", "mxint4", "mxint3", "mxint2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4_e2m1", "mxfp4_e1m2", "mxfp3_e1m1"]


def row(name: str, weight: torch.Tensor) -> str:
    """Return a format's line of the table."""
    grid = parse_format(name)
    error = quantize_groups(weight, grid) - weight
    sqnr = 10 * math.log10(float(weight.square().sum() / error.square().sum()))
    stored = bits_per_weight(4096, grid, rows=4096)
    equal = f"`{grid.canonical}`" if grid.canonical != name else ""
    rule = grid.scale_rule.replace("|", "\\|")
    return f"| `{name}` | {stored:.3f} | {grid.grid} | {rule} | {sqnr:.1f} | {equal} |"


def tables() -> str:
    """Return every family's table."""
    weight = torch.randn(4000, 128, generator=torch.Generator().manual_seed(0))
    families = {}
    for family, entry in catalog.FORMATS.items():
        families.setdefault(entry.load(), family)
    parts = []
    for cls, family in families.items():
        title = TITLES.get(family, catalog.FORMATS[family].summary)
        parts.append(f"### {title}\n\n{HEAD}\n" + "\n".join(row(name, weight) for name in cls.examples()))
    return "\n\n".join(parts)


def paper_duplicates() -> str:
    """Return the duplicates among the 36 formats of arXiv 2410.12119."""
    names = [f"{element}_k{k}" for element in PAPER for k in (16, 32, 64, 128)]
    found = "\n".join("    " + " = ".join(group) for group in duplicates(names))
    return f"{len(names)} names, {len({parse_format(name).canonical for name in names})} formats:\n\n{found}"


if __name__ == "__main__":
    print(tables(), paper_duplicates(), sep="\n\n")
