"""Which model, quantized how, is best in this much memory? Every size x method x width x group, its bytes, its loss.

    bytes   memory.py's convention               loss   16-bit loss + QiD, each from its law, with intervals

A choice is on the frontier (Pareto set) if no other needs at most as many bytes and loses at most as much, one of them
strictly less. `best` is the choice of least predicted loss that fits the memory, `safest` that of the least upper end.

Laws of one method say nothing about another: methods come from fits, one each or one with offsets of methods; published
laws are of GPTQ, integers in groups of 128. Where a law reads the width alone, other formats and groups are scaled by their
rounding error (grids.py), and the interval widens for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.predict.answers import count, plain
from bitlaw.predict.candidates import Candidate, read_candidates
from bitlaw.predict.grids import LAW_GROUP, grid, integer_grid
from bitlaw.predict.memory import FULL_BITS, parse_size
from bitlaw.predict.predicting import PYTHIA_VOCABULARY, check_level, whole_vocabulary
from bitlaw.predict.sources import Also
from bitlaw.predict.ways import Choice, Frame, choose, ways_of

WIDTHS = (2.0, 3.0, 4.0, 8.0, 16.0)
GROUPS = (LAW_GROUP,)
STORAGE = (
    "integers take bits + (16 + bits) / group (a 16-bit scale and a zero point a group; _sym: no zero point), other formats "
    "what their parameters take; embeddings and head 16 bits"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best and the safest choice within `memory` bytes, and all choices, smallest first.

    best: least predicted loss; safest: least upper end; None if nothing fits that is not broken.
    """

    memory: float
    overhead: float
    level: float
    best: Choice | None
    safest: Choice | None
    choices: tuple[Choice, ...]
    storage: str
    loss_source: tuple[str, ...]
    conditions: tuple[str, ...]

    @property
    def frontier(self) -> tuple[Choice, ...]:
        """The choices on the frontier, smallest first."""
        return tuple(choice for choice in self.choices if choice.frontier)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {key: plain(value) for key, value in asdict(self).items()}


def plan(
    memory: float | str,
    candidates: Iterable[str | Candidate] | str | Path,
    *,
    laws: Sequence[str | Law | Fit] = ("auto",),
    bits: Iterable[float] = WIDTHS,
    groups: Iterable[int] = GROUPS,
    symmetric: bool = False,
    formats: Iterable[str] = (),
    overhead: float | str = 0.0,
    loss_law: str | Law | Fit = "auto",
    vocabulary: int = PYTHIA_VOCABULARY,
    level: float = 0.9,
    strict: bool = False,
    also: Also | None = None,
) -> Plan:
    """Return which candidate, method, width and group size have the least predicted loss within `memory`.

    memory, overhead: bytes or text such as 24GiB; the overhead (cache, activations) is added to every choice. candidates:
    see candidates.py. laws: one for each method, published or fits. bits: widths tried; 16 is unquantized. symmetric:
    groups without zero points. formats: names such as nf4_g64, beside the integers of `bits` x `groups`. loss_law: of the 16-bit loss, as in `predict`; needed beside fits unless every candidate
    brings its loss. vocabulary: of the tokenizer; a loss above its logarithm is no choice. strict: only choices inside the fitted range. Raises InputError.
    """
    frame = Frame(
        room=parse_size(memory),
        spare=0.0 if overhead in (0, 0.0, "0") else parse_size(overhead),
        level=level,
        ceiling=math.log(whole_vocabulary(vocabulary)),
    )
    models = read_candidates(candidates)
    widths = sorted({count("bits", width, "bits per weight (P)") for width in bits})
    sizes = sorted({_whole(group) for group in groups})
    integers = [
        integer_grid(width, size, symmetric=symmetric) for width in widths if width < FULL_BITS for size in sizes
    ]
    grids = list({one.name: one for one in (*integers, *(grid(name) for name in formats))}.values())
    if not laws or not sizes or not (widths or grids):
        raise InputError("A plan needs at least one bit width or format, one group size and one law.")
    check_level(level)
    choices: dict[tuple[Any, ...], Choice] = {}
    said: dict[str, None] = {}
    conditions: dict[str, None] = {}
    for law in laws:
        for way in ways_of(law, loss_law, grids, FULL_BITS in widths, also or {}):
            conditions |= dict.fromkeys(way.conditions)
            for model in models:
                choice = choose(model, way, frame)
                if strict and choice.outside:
                    continue
                choices[choice.name, choice.method, choice.format] = choice
                if way.losses is not None and math.isnan(model.baseline_loss):
                    said |= {f"{way.losses.name}, {way.losses.source.origin}": None}
    if not choices:
        raise InputError(
            "Every choice lies outside the fitted range of its law, and strict was asked for. Leave out strict for "
            "answers with wide intervals, or fit a law to measurements that reach there."
        )
    if any(not model.total_parameters for model in models):
        conditions |= {"embeddings and head are counted only for candidates that give their total parameters": None}
    return _ranked(list(choices.values()), frame, tuple(said), tuple(conditions))


def frontier(sizes: Sequence[float], losses: Sequence[float]) -> list[bool]:
    """Return which points no other point dominates (at most as large, at most as lossy, one strictly less)."""
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], losses[i]))
    on = [False] * len(sizes)
    least = math.inf
    before: tuple[float, float] | None = None
    for i in order:
        if losses[i] < least or (sizes[i], losses[i]) == before:
            on[i] = True
            least, before = losses[i], (sizes[i], losses[i])
    return on


def _ranked(choices: list[Choice], frame: Frame, said: tuple[str, ...], conditions: tuple[str, ...]) -> Plan:
    on = frontier(
        [math.inf if choice.broken else choice.bytes for choice in choices],
        [math.inf if choice.broken else choice.loss for choice in choices],
    )
    marked = [Choice(**{**vars(choice), "frontier": is_on and not choice.broken}) for choice, is_on in zip(choices, on)]
    marked.sort(key=lambda choice: (choice.bytes, choice.loss))
    fitting = [choice for choice in marked if choice.fits and not choice.broken]
    return Plan(
        memory=frame.room,
        overhead=frame.spare,
        level=frame.level,
        best=min(fitting, key=lambda choice: choice.loss, default=None),
        safest=min(fitting, key=lambda choice: choice.interval.high, default=None),
        choices=tuple(marked),
        storage=STORAGE,
        loss_source=said,
        conditions=conditions,
    )


def _whole(group: int) -> int:
    if isinstance(group, bool) or not isinstance(group, int | np.integer) or group < 1:
        raise InputError(f"group_size={group} is not usable here. Give weights that share a scale, such as 128.")
    return int(group)
