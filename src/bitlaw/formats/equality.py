"""Which formats are one format under two names, so that tables count it once.

Equal means: the same quantized weights for every input both accept, up to the sign of zero. Each class says which
simpler format it equals (`canonical`); `tests/formats/test_equality.py` checks over every pair of examples that names are
shared exactly where outputs are.
"""

from __future__ import annotations

from collections.abc import Iterable

from bitlaw.formats.base import Format, parse_format


def canonical(format: str | Format) -> str:
    """Return the name of the simplest format that equals this one, such as mxint4_k32 for mxfp4_e1m2_k32."""
    return (parse_format(format) if isinstance(format, str) else format).canonical


def duplicates(formats: Iterable[str | Format]) -> list[tuple[str, ...]]:
    """Return the groups of different names that stand for one format, each sorted, in order of their first name."""
    names: dict[str, set[str]] = {}
    for format in formats:
        found = parse_format(format) if isinstance(format, str) else format
        names.setdefault(found.canonical, set()).add(found.name)
    return sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1)
