"""Which model, quantized how, is best in this much memory? Every size x method x width x group, its bytes, its loss.

    bytes   memory.py's convention               loss   16-bit loss + QiD, each from its law, with intervals

A choice is on the frontier (Pareto set) if no other needs at most as many bytes and loses at most as much, one of them
strictly less. `best` is the choice of least predicted loss that fits the memory, `safest` that of the least upper end.

Laws of one method say nothing about another: methods come from fits, one each; published laws are of GPTQ in groups of
128. Where a law does not read the group size, grouping.py's correction stands in, and the interval widens for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.predict.answers import Interval, count, plain
from bitlaw.predict.candidates import Candidate, read_candidates
from bitlaw.predict.grouping import group_factor
from bitlaw.predict.losses import NO_LOSS, LossSource, resolve_loss, total_band
from bitlaw.predict.memory import FULL_BITS, bits_per_weight, model_bytes, parse_size
from bitlaw.predict.predicting import PYTHIA_VOCABULARY, check_level, whole_vocabulary
from bitlaw.predict.sources import Source, resolve

WIDTHS = (2.0, 3.0, 4.0, 8.0, 16.0)
PUBLISHED_METHOD = "gptq"
LAW_GROUP = 128  # the groups of every published law, and of the fits that do not read group sizes
GROUPS = (LAW_GROUP,)
GRID = "integers with a 16-bit scale and a zero point of the same bits a group: bits + (16 + bits) / group"
SYMMETRIC = "integers with a 16-bit scale a group: bits + 16 / group"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to spend memory: bytes, stored bits per weight, predicted loss and QiD with intervals, nats per token.

    fits: within the memory asked for; broken: a loss above ln(vocabulary), worse than guessing; frontier: not broken, and
    no other choice is as small and as good.
    """

    name: str
    parameters: float
    tokens: float
    method: str
    format: str
    bits: float
    group_size: int
    bits_per_weight: float
    bytes: float
    baseline_loss: float
    qid: float
    loss: float
    interval: Interval
    law: str
    outside: tuple[str, ...]
    fits: bool
    broken: bool
    frontier: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best and the safest choice within `memory` bytes (None if nothing fits that is not broken), and all choices, smallest first."""

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
    overhead: float | str = 0.0,
    loss_law: str | Law | Fit = "auto",
    vocabulary: int = PYTHIA_VOCABULARY,
    level: float = 0.9,
    strict: bool = False,
    also: Mapping[str, float] | None = None,
) -> Plan:
    """Return which candidate, method, width and group size have the least predicted loss within `memory`.

    memory, overhead: bytes or text such as 24GiB; the overhead (cache, activations) is added to every choice. candidates:
    see candidates.py. laws: one for each method, published or fits. bits: widths tried; 16 is unquantized. symmetric:
    groups without zero points. loss_law: of the 16-bit loss, as in `predict`; needed beside fits unless every candidate
    brings its loss. vocabulary: of the tokenizer; a loss above its logarithm is no choice. strict: only choices inside the fitted range. Raises InputError.
    """
    room = parse_size(memory)
    spare = 0.0 if overhead in (0, 0.0, "0") else parse_size(overhead)
    models = read_candidates(candidates)
    widths = sorted({count("bits", width, "bits per weight (P)") for width in bits})
    sizes = sorted({_whole(group) for group in groups})
    if not widths or not sizes or not laws:
        raise InputError("A plan needs at least one bit width, one group size and one law.")
    ceiling = math.log(whole_vocabulary(vocabulary))
    check_level(level)
    found: dict[tuple[Any, ...], Choice] = {}
    said: dict[str, None] = {}
    conditions: dict[str, None] = {}
    for law in laws:
        for width in widths:
            for group in sizes if width < FULL_BITS else sizes[:1]:
                stored = bits_per_weight(width, group, symmetric=symmetric)
                given = {**(also or {}), "group_size": float(group), "bits_per_weight": stored}
                source = resolve(law, min(width, 4.0) if width >= FULL_BITS else width, given)
                losses, why = resolve_loss(loss_law, source)
                conditions |= dict.fromkeys(source.conditions)
                if width < FULL_BITS and group != LAW_GROUP and "group_size" not in source.law.variables:
                    conditions |= {
                        f"{source.name} does not read group sizes: corrected from {LAW_GROUP} as for Gaussian weights": None
                    }
                for model in models:
                    if losses is None and math.isnan(model.baseline_loss):
                        raise InputError(
                            f"Candidate {model.name!r} has no 16-bit loss: {NO_LOSS if why == 'none asked for' else why}, "
                            "or give the loss with each candidate (name:params:tokens:total_params:loss)."
                        )
                    choice = _choice(
                        model, source, losses, width, group, stored, level, spare, room, symmetric, ceiling
                    )
                    if strict and choice.outside:
                        continue
                    found[choice.name, choice.method, choice.bits, choice.group_size] = choice
                    if losses is not None and math.isnan(model.baseline_loss):
                        said |= {f"{losses.name}, {losses.source.origin}": None}
    if not found:
        raise InputError(
            "Every choice lies outside the fitted range of its law, and strict was asked for. Leave out strict for "
            "answers with wide intervals, or fit a law to measurements that reach there."
        )
    if any(not model.total_parameters for model in models):
        conditions |= {"embeddings and head are counted only for candidates that give their total parameters": None}
    return _ranked(list(found.values()), room, spare, level, symmetric, tuple(said), tuple(conditions))


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


def _choice(
    model: Candidate,
    source: Source,
    losses: LossSource | None,
    bits: float,
    group: int,
    stored: float,
    level: float,
    spare: float,
    room: float,
    symmetric: bool,
    ceiling: float,
) -> Choice:
    """Return one choice with its bytes, loss and interval."""
    asked = {"parameters": model.parameters, "tokens": model.tokens, "bits": bits}
    columns = {name: np.array([value]) for name, value in asked.items()}
    if losses is not None and math.isnan(model.baseline_loss):
        baseline = (losses.value(columns), *losses.band(columns, level))
        outside = losses.source.outside({name: asked[name] for name in ("parameters", "tokens")})
    else:
        baseline = (np.array([model.baseline_loss]),) * 3
        outside = ()
    qid = (np.zeros(1), np.zeros(1), np.zeros(1))
    quantized = bits < FULL_BITS
    if quantized:
        qid = _qid(source, columns, level, group)
        outside = (*source.outside(asked), *outside)
    low, high = total_band((baseline, qid))
    size = model_bytes(model.parameters, model.total, stored, spare)
    methods = source.fit.data.methods if source.fit is not None else (PUBLISHED_METHOD,)
    made_of = "those of QiD and of the 16-bit loss in quadrature" if quantized else "that of the 16-bit loss"
    return Choice(
        name=model.name,
        parameters=model.parameters,
        tokens=model.tokens,
        bits=bits,
        method="+".join(methods) or "unknown" if quantized else "none",
        format=f"int{bits:g}_g{group}{'_sym' if symmetric else ''}" if quantized else "16 bit",
        group_size=group if quantized else 0,
        bits_per_weight=stored,
        bytes=size,
        baseline_loss=float(baseline[0][0]),
        qid=float(qid[0][0]),
        loss=float(baseline[0][0] + qid[0][0]),
        interval=Interval(low=float(low[0]), high=float(high[0]), level=level, made_of=made_of),
        law=source.name if quantized else "none",
        outside=tuple(dict.fromkeys(out.words for out in outside)),
        fits=size <= room,
        broken=float(baseline[0][0] + qid[0][0]) > ceiling,
    )


def _qid(source: Source, columns: Mapping[str, Any], level: float, group: int) -> tuple[Any, Any, Any]:
    """Return QiD and the ends of its interval, corrected for the group size if the law does not read it."""
    value, (low, high) = source.value(columns), source.band(columns, level)
    if "group_size" in source.law.variables or group == LAW_GROUP:
        return value, low, high
    factor, stray = group_factor(group, LAW_GROUP)
    wide = NormalDist().inv_cdf((1 + level) / 2) * stray
    above = np.exp(np.hypot(np.log(high / value), wide))
    positive = np.where(low > 0, low, value)
    below = np.exp(-np.hypot(np.log(value / positive), wide))
    return factor * value, factor * np.where(low > 0, value * below, low), factor * value * above


def _ranked(
    choices: list[Choice],
    room: float,
    spare: float,
    level: float,
    symmetric: bool,
    said: tuple[str, ...],
    conditions: tuple[str, ...],
) -> Plan:
    on = frontier(
        [math.inf if choice.broken else choice.bytes for choice in choices],
        [math.inf if choice.broken else choice.loss for choice in choices],
    )
    marked = [Choice(**{**vars(choice), "frontier": is_on and not choice.broken}) for choice, is_on in zip(choices, on)]
    marked.sort(key=lambda choice: (choice.bytes, choice.loss))
    fitting = [choice for choice in marked if choice.fits and not choice.broken]
    return Plan(
        memory=room,
        overhead=spare,
        level=level,
        best=min(fitting, key=lambda choice: choice.loss, default=None),
        safest=min(fitting, key=lambda choice: choice.interval.high, default=None),
        choices=tuple(marked),
        storage=f"{SYMMETRIC if symmetric else GRID}; embeddings and head at 16 bits",
        loss_source=said,
        conditions=conditions,
    )


def _whole(group: int) -> int:
    if isinstance(group, bool) or not isinstance(group, int | np.integer) or group < 1:
        raise InputError(f"group_size={group} is not usable here. Give weights that share a scale, such as 128.")
    return int(group)
