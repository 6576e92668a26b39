"""Results as aligned text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as aligned columns under their names; numbers to the right, text to the left."""
    if not rows:
        return "(none)"
    names = list(columns or rows[0])
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]

    def line(values: Sequence[str]) -> str:
        aligned = (v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, widths, numeric, strict=True))
        return "  ".join(aligned).rstrip()

    return "\n".join([line(names), line(["-" * w for w in widths]), *map(line, cells)])


def cell(value: Any) -> str:
    """Return one value as people read it: four significant digits, large counts with a unit letter."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return str(value)


def number(value: float) -> str:
    """Return a number with four significant digits; 7000000000 as 7e9."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    if 1e-4 <= abs(value) < 1e5:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.4g}".split("e") if "e" in f"{value:.4g}" else f"{value:.3e}".split("e")
    return f"{float(mantissa):.4g}e{int(exponent)}"


def as_json(data: Any) -> str:
    """Return JSON: one line for an object, one line for each element of a list. NaN and infinity become null."""
    if isinstance(data, list):
        return "\n".join(json.dumps(_plain(row), sort_keys=False, allow_nan=False) for row in data)
    return json.dumps(_plain(data), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
