"""How the kernels see a format: a few numbers, a way to choose parameters, a way to round.

Formats of one family share a launch: their numbers are read per row. A group's parameters are two floats a and b, or the
entries of its own codebook.

    rounding   WHOLE      clamp(round(w / a), -b, top - b) a                    integers; b is the zero point
               ELEMENT    element(w / a) a                                      MX, small floats, ternary (1 is its largest)
               FP4        E2M1(w b) a                                           NVFP4; b is the reciprocal
               TABLE      nearest entry of a table to w b, times a              nf4, fp4bnb
               CODEBOOK   nearest of the group's own entries                    kmeans, quantile

    element(x) rounds to the step max(2^floor(log2 |x|), smallest) 2^-mantissa_bits, ties even or away (`formats.elements`);
    a fixed-point integer of b bits is a float whose smallest binade is that of its largest value.

    choice     how a kernel makes a and b of a group; GIVEN: torch makes them (percentiles, searches, codebooks, tensors)

`FACTS` numbers describe a format: largest, smallest, magnet and step of its element, then what its choice needs.
This file knows the formats; the kernels know only these words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, singledispatch
from typing import Any

import torch

from bitlaw.formats import Format
from bitlaw.formats.elements import Element, FloatElement
from bitlaw.formats.fitted_codebook import CodebookFormat
from bitlaw.formats.floating import FloatFormat
from bitlaw.formats.integer import IntegerFormat
from bitlaw.formats.microscaling import MicroscalingFormat
from bitlaw.formats.normal_float import SMALLEST, TABLES, TableFormat
from bitlaw.formats.nvfp4 import NvFp4Format
from bitlaw.formats.powers import FRACTION_BITS
from bitlaw.formats.scope import unprepared
from bitlaw.formats.ternary import TernaryFormat

GIVEN, RANGE, POWER, LARGEST, MEAN, BLOCK_SCALE, MAXIMUM = range(7)
WHOLE, ELEMENT, FP4, TABLE, CODEBOOK = range(5)
FACTS = 8
CEILING = (1 << FRACTION_BITS) - 1
"""Added to the bits of a float32, it carries into the exponent unless the value is a power of two."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What formats have in common that one launch serves.

    entries: of a table or codebook, a power of two; else 1. search: shrunk ranges are tried (`formats.scale_rules`, mse).
    """

    choice: int
    rounding: int
    away: bool = False
    entries: int = 1
    search: bool = False

    @property
    def parameters(self) -> int:
        """Numbers given for a group where torch chooses them."""
        return self.entries if self.rounding == CODEBOOK else 2


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One format, bound to one weight, as the kernels see it.

    facts         FACTS numbers; pack makes what a kernel is given of the format's own parameters, [..., p] -> [..., q],
                  unpack the format's parameters of what a kernel chose, [..., 2] -> [..., p]
    searched      the family of a kernel that searches; `family` leaves the search to torch
    table         the entries, ascending, where the rounding is TABLE
    tensor_scale  [] float32, where the choice is BLOCK_SCALE
    """

    family: Family
    facts: tuple[float, ...]
    pack: Callable[[torch.Tensor], torch.Tensor]
    unpack: Callable[[torch.Tensor], torch.Tensor]
    searched: Family | None = None
    table: tuple[float, ...] = ()
    tensor_scale: torch.Tensor | None = None


def grid_of(format: Format, weight: torch.Tensor) -> Grid | None:
    """Return how kernels see the format bound to a weight; None for a format they do not know. `prepare`d or not."""
    return _grid(unprepared(format), weight)


@singledispatch
def _grid(format: Any, weight: torch.Tensor) -> Grid | None:
    return None


@_grid.register
def _integer(format: IntegerFormat, weight: torch.Tensor) -> Grid:
    family, searched = _ruled(RANGE, Family(choice=GIVEN, rounding=WHOLE), format)
    facts = _facts(float(format.highest_code), own=(float(format.symmetric),))
    return Grid(family=family, searched=searched, facts=facts, pack=_as_it_is, unpack=_as_it_is)


@_grid.register
def _microscaling(format: MicroscalingFormat, weight: torch.Tensor) -> Grid:
    element: Element = format.element
    added = {"ceil": CEILING, "rceil": CEILING, "even": 1 << (FRACTION_BITS - element.mantissa_bits - 1)}
    divisor, emax = (element.largest, 0) if format.rule == "rceil" else (1.0, element.emax)
    return Grid(
        family=Family(choice=POWER, rounding=ELEMENT, away=format.ties == "away"),
        facts=element_facts(element, own=(divisor, float(added.get(format.rule, 0)), float(emax), element.unit)),
        pack=lambda scale: _padded(scale.float() * element.unit),
        unpack=lambda chosen: _first(chosen) / element.unit,
    )


@_grid.register
def _floating(format: FloatFormat, weight: torch.Tensor) -> Grid:
    family, searched = _ruled(LARGEST, Family(choice=GIVEN, rounding=ELEMENT, away=format.ties == "away"), format)
    facts = element_facts(format.element, own=(format.element.largest,))
    return Grid(family=family, searched=searched, facts=facts, pack=_padded, unpack=_first)


@_grid.register
def _ternary(format: TernaryFormat, weight: torch.Tensor) -> Grid:
    family, searched = _ruled(LARGEST, Family(choice=GIVEN, rounding=ELEMENT), format)
    if format.rule == "absmean" and not format.per_tensor:
        family = replace(family, choice=MEAN)
    facts = _facts(1.0, smallest=1.0, mantissa_bits=0, own=(1.0,))
    return Grid(family=family, searched=searched, facts=facts, pack=_padded, unpack=_first)


@_grid.register
def _nvfp4(format: NvFp4Format, weight: torch.Tensor) -> Grid:
    return Grid(
        family=Family(choice=BLOCK_SCALE, rounding=FP4),
        facts=_facts(0.0),
        pack=_as_it_is,
        unpack=_as_it_is,
        tensor_scale=format.tensor_scale(weight),
    )


@_grid.register
def _table(format: TableFormat, weight: torch.Tensor) -> Grid:
    table = TABLES[format.table]
    entries = 1 << (len(table) - 1).bit_length()
    return Grid(
        family=Family(choice=GIVEN if format.per_tensor else MAXIMUM, rounding=TABLE, entries=entries),
        facts=_facts(0.0),
        pack=lambda scale: torch.cat((scale, 1 / scale.clamp_min(SMALLEST)), -1),
        unpack=_first,
        table=(*table, *(float("inf"),) * (entries - len(table))),  # the midpoint before infinity is infinity
    )


@_grid.register
def _codebook(format: CodebookFormat, weight: torch.Tensor) -> Grid:
    family = Family(choice=GIVEN, rounding=CODEBOOK, entries=2**format.bits)
    return Grid(family=family, facts=_facts(0.0), pack=_as_it_is, unpack=_as_it_is)


def _ruled(
    choice: int, given: Family, format: IntegerFormat | FloatFormat | TernaryFormat
) -> tuple[Family, Family | None]:
    """Return the family of a format with a scale rule and the one that searches; of a tensor's one group torch chooses."""
    if format.per_tensor or format.rule not in ("absmax", "mse"):
        return given, None
    chosen = replace(given, choice=choice)
    return (chosen, None) if format.rule == "absmax" else (given, replace(chosen, search=True))


def _as_it_is(parameters: torch.Tensor) -> torch.Tensor:
    return parameters


def _first(chosen: torch.Tensor) -> torch.Tensor:
    return chosen[..., :1]


def _facts(
    largest: float, *, smallest: float = 0.0, mantissa_bits: int = 0, own: tuple[float, ...] = ()
) -> tuple[float, ...]:
    """Return largest, smallest binade, magnet and step (both in binades), and the choice's own numbers."""
    facts = (largest, smallest, 1.5 * 2.0 ** (FRACTION_BITS - mantissa_bits), 2.0**-mantissa_bits, *own)
    return facts + (0.0,) * (FACTS - len(facts))


def element_facts(element: Element, own: tuple[float, ...]) -> tuple[float, ...]:
    """Return the facts of an element divided by its unit."""
    smallest = element.emin if isinstance(element, FloatElement) else element.mantissa_bits
    return _facts(element.largest / element.unit, smallest=2.0**smallest, mantissa_bits=element.mantissa_bits, own=own)


def _padded(scale: torch.Tensor) -> torch.Tensor:
    """Return the scale and a zero. scale [..., 1] -> [..., 2]."""
    return torch.nn.functional.pad(scale, (0, 1))


@dataclass(frozen=True, kw_only=True)
class RowGrids:
    """The grids of stacked rows, of one family, on a device.

    kinds [rows] int32: which grid a row has; facts [grids, FACTS] float32; table [grids, entries] float32, or facts again
    where there is none.
    """

    family: Family
    kinds: torch.Tensor
    facts: torch.Tensor
    table: torch.Tensor


def row_grids(grids: Sequence[Grid], rows: Sequence[int], device: torch.device) -> RowGrids:
    """Return the grids of rows stacked in order, rows[i] of them with grids[i]."""
    family = grids[0].family
    assert all(grid.family == family for grid in grids), "a launch serves one family of formats"
    facts = on_device(tuple(grid.facts for grid in grids), torch.float32, device)
    scales = [grid.tensor_scale for grid in grids if grid.tensor_scale is not None]
    if scales:
        facts = facts.clone()
        facts[:, 4] = torch.stack(scales)
    tables = tuple(grid.table for grid in grids)
    table = on_device(tables, torch.float32, device) if family.rounding == TABLE else facts
    return RowGrids(family=family, kinds=_kinds(tuple(rows), device), facts=facts, table=table)


@lru_cache(maxsize=256)
def on_device(numbers: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor, to be read only: copied once, as every copy makes the host wait for the device."""
    return torch.tensor(numbers, dtype=dtype).to(device)


@lru_cache(maxsize=64)
def _kinds(rows: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.arange(len(rows), dtype=torch.int32).repeat_interleave(torch.tensor(rows)).to(device)
