"""One way of quantizing one model: its bytes, its predicted loss and interval. What a plan is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.result import Fit
from bitlaw.laws import Law
from bitlaw.laws.law import Array
from bitlaw.predict.answers import Interval, Outside
from bitlaw.predict.candidates import Candidate
from bitlaw.predict.grids import GRID_LIKE, Grid
from bitlaw.predict.losses import LossSource, resolve_loss, total_band
from bitlaw.predict.memory import FULL_BITS, model_bytes
from bitlaw.predict.sources import Also, Source, resolve

PUBLISHED_METHOD = "gptq"


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
class Frame:
    """What is the same for every choice: memory and overhead in bytes, level, ln(vocabulary)."""

    room: float
    spare: float
    level: float
    ceiling: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of quantizing, and the laws that predict it; `losses` is None where candidates bring their loss."""

    method: str
    grid: Grid | None
    source: Source
    losses: LossSource | None
    why: str

    @property
    def corrected(self) -> bool:
        """True if the law reads no more of the grid than its width, and this is not the grid it is about."""
        if self.grid is None or self.grid.own or set(GRID_LIKE) & set(self.source.law.variables):
            return False
        return "format" not in self.source.also

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the predictions hold for."""
        said = f"{self.source.name} reads no formats or group sizes: scaled by the rounding error of Gaussian weights"
        losses = self.losses.conditions if self.losses is not None else ()
        return (*self.source.conditions, *((said,) if self.corrected else ()), *losses)


def ways_of(
    law: str | Law | Fit, loss_law: str | Law | Fit, grids: Sequence[Grid], unquantized: bool, also: Also
) -> Iterator[Way]:
    """Yield every method and grid a law can tell, and the unquantized model once if asked for."""
    for method in _methods(law):
        for grid in grids:
            yield _way(law, loss_law, method, grid, grid.bits, also)
    if unquantized:
        yield _way(law, loss_law, "none", None, grids[0].bits if grids else 4.0, also)


def _way(
    law: str | Law | Fit, loss_law: str | Law | Fit, method: str, grid: Grid | None, bits: float, also: Also
) -> Way:
    given: dict[str, float | str] = {} if grid is None else {"method": method, **grid.variables()}
    levels = law.levels if isinstance(law, Fit) else {}
    if grid is not None and grid.name in levels.get("format", ()):
        given["format"] = grid.name
    source = resolve(law, bits, {**given, **also} if grid is not None else also)
    losses, why = resolve_loss(loss_law, source)
    return Way(method=method, grid=grid, source=source, losses=losses, why=why)


def choose(model: Candidate, way: Way, frame: Frame) -> Choice:
    """Return one choice with its bytes, loss and interval."""
    grid = way.grid
    bits, stored = (FULL_BITS, FULL_BITS) if grid is None else (grid.bits, grid.stored)
    asked = {"parameters": model.parameters, "tokens": model.tokens, "bits": bits}
    columns = {name: np.array([value]) for name, value in asked.items()}
    baseline, outside = _baseline(model, way, columns, frame.level)
    qid = (np.zeros(1), np.zeros(1), np.zeros(1))
    if grid is not None:
        qid = _qid(way, grid, columns, frame.level)
        outside = (*way.source.outside(asked), *outside)
    low, high = total_band((baseline, qid))
    size = model_bytes(model.parameters, model.total, stored, frame.spare)
    loss = float(baseline[0][0] + qid[0][0])
    made_of = "those of QiD and of the 16-bit loss in quadrature" if grid else "that of the 16-bit loss"
    return Choice(
        name=model.name,
        parameters=model.parameters,
        tokens=model.tokens,
        bits=bits,
        method=way.method,
        format=grid.name if grid else "16 bit",
        group_size=grid.group_size if grid else 0,
        bits_per_weight=stored,
        bytes=size,
        baseline_loss=float(baseline[0][0]),
        qid=float(qid[0][0]),
        loss=loss,
        interval=Interval(low=float(low[0]), high=float(high[0]), level=frame.level, made_of=made_of),
        law=way.source.name if grid else "none",
        outside=tuple(dict.fromkeys(out.words for out in outside)),
        fits=size <= frame.room,
        broken=loss > frame.ceiling,
    )


def _baseline(
    model: Candidate, way: Way, columns: Mapping[str, Array], level: float
) -> tuple[tuple[Array, Array, Array], tuple[Outside, ...]]:
    """Return the 16-bit loss with its ends, and what is outside its law's range. Raises InputError without either."""
    if not math.isnan(model.baseline_loss):
        return (np.array([model.baseline_loss]),) * 3, ()
    if way.losses is None:
        raise InputError(
            f"Candidate {model.name!r} has no 16-bit loss: {way.why}. Or give the loss with each candidate "
            "(name:params:tokens:total_params:loss)."
        )
    low, high = way.losses.band(columns, level)
    outside = way.losses.source.outside({"parameters": model.parameters, "tokens": model.tokens})
    return (way.losses.value(columns), low, high), outside


def _qid(way: Way, grid: Grid, columns: Mapping[str, Array], level: float) -> tuple[Array, Array, Array]:
    """Return QiD and the ends of its interval, scaled by the rounding error if the law reads the width alone."""
    value, (low, high) = way.source.value(columns), way.source.band(columns, level)
    if not way.corrected:
        return value, low, high
    factor, stray = grid.factor()
    wide = NormalDist().inv_cdf((1 + level) / 2) * stray
    above = np.exp(np.hypot(np.log(high / value), wide))
    positive = np.where(low > 0, low, value)
    below = np.exp(-np.hypot(np.log(value / positive), wide))
    return factor * value, factor * np.where(low > 0, value * below, low), factor * value * above


def _methods(law: str | Law | Fit) -> tuple[str, ...]:
    """Return the methods a law can tell apart: those a fit has offsets for, else one."""
    if not isinstance(law, Fit):
        return (PUBLISHED_METHOD,)
    return law.levels.get("method", ("+".join(law.data.methods) or "unknown",))
