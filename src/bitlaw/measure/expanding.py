"""One line of a plan that stands for many, with the braces of a shell:

nearest mxint{3,4}_k32                  nearest mxint3_k32, nearest mxint4_k32
perturb_random none snr_db={4..0..2}    snr_db=4, snr_db=2, snr_db=0
gptq {mxint{2,3},mxfp4_e2m1}_k32        gptq mxint2_k32, gptq mxint3_k32, gptq mxfp4_e2m1_k32
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitlaw.errors import InputError

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")


def expand(line: str) -> list[str]:
    """Return the lines that a line stands for, the last brace turning fastest. Raises InputError for braces that do not match."""
    start = line.find("{")
    if start < 0:
        if "}" in line:
            raise InputError(f"{line!r} has a closing brace without an opening one. Write {{a,b}} or {{1..3}}.")
        return [line]
    stop = _closing(line, start)
    rests = expand(line[stop + 1 :])
    return [line[:start] + item + rest for item in _items(line[start + 1 : stop]) for rest in rests]


def _closing(line: str, start: int) -> int:
    depth = 0
    for place in range(start, len(line)):
        depth += {"{": 1, "}": -1}.get(line[place], 0)
        if not depth:
            return place
    raise InputError(f"{line!r} has an opening brace without a closing one. Write {{a,b}} or {{1..3}}.")


def _items(inside: str) -> Iterator[str]:
    """Yield what stands between two braces: items between commas, themselves expanded, or a range of whole numbers."""
    numbers = RANGE.fullmatch(inside)
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        step = abs(int(numbers[3] or 1))
        if not step:
            raise InputError(f"{{{inside}}} goes by steps of 0. Give a step such as {{{first}..{last}..2}}.")
        yield from map(str, range(first, last + 1, step) if first <= last else range(first, last - 1, -step))
        return
    depth, begun = 0, 0
    for place, character in enumerate(inside + ","):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and not depth:
            yield from expand(inside[begun:place])
            begun = place + 1
