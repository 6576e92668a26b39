"""Which laws are compared on a table, with what is known beforehand, and how suites are put side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bitlaw.catalog import LAWS
from bitlaw.fit import Comparison, Contender, Holdout, Table, compare, joined
from bitlaw.laws import load_law
from bitlaw.laws.ours import PUBLISHED_EXPONENTS

OURS = ("bitlaw-sensitivity", "bitlaw-growth")
SAME_FORM = ("ouyang2024-3bit", "ouyang2024-4bit")  # the form of ouyang2024-2bit, refitted it is the same law
LOG_PYTHIA = math.log(50304)  # what lnV is held at
UNTOLD = {"priors": PUBLISHED_EXPONENTS}  # nothing that mini-pythia said


def applicable(table: Table, target: str = "qid") -> list[str]:
    """Return the catalog's laws of a target whose columns the table has, ours first."""
    found = []
    for name in (*OURS, *(name for name in LAWS if name not in OURS)):
        law = load_law(name)
        known = all(column in table and np.all(np.isfinite(table[column])) for column in law.variables)
        if law.target == target and known and name not in SAME_FORM:
            found.append(name)
    return found


def contenders(
    table: Table, *, options: Mapping[str, Any], ours: Mapping[str, Any], varying: Iterable[str] = ()
) -> list[Contender]:
    """Return every law that applies; laws that read a column the table does not vary are left out unless named."""
    found = []
    for name in applicable(table):
        law = load_law(name)
        flat = [c for c in law.variables if len(np.unique(table[c])) == 1 and c not in ("tokens", *varying)]
        flat = flat or (["tokens"] if law.variables == ("tokens",) and len(np.unique(table["tokens"])) == 1 else [])
        if name not in OURS and flat:
            continue
        settings = {**options, **(ours if name in OURS else {})}
        found.append(Contender(law=name, options=settings))
    return found


def headroom(table: Table, vocabulary: int) -> Table:
    """Return the table with 16-bit losses moved so that lnV at ln 50304 leaves every suite its own room to guessing."""
    moved = table["baseline_loss"] + LOG_PYTHIA - math.log(vocabulary)
    return Table(columns={**table.columns, "baseline_loss": moved}, source=table.source)


def family(
    listed: list[Contender], rows: Table, other: Table, *, starts: int, words: str, baselines: bool = True
) -> Comparison:
    """Return the comparison in which every law is fitted to the rows of another suite alone."""
    both = joined([rows, other])
    out = np.arange(len(both)) < len(rows)
    plain = [replace(c, options={k: v for k, v in c.options.items() if k != "fixed"} | UNTOLD) for c in listed]
    plain = [c if c.label.startswith("bitlaw") else replace(c, options={}) for c in plain]
    part = Holdout(name="family", words=words, turns=(out,))
    return compare(plain, both, [part], starts=starts, baselines=baselines)


def with_family(found: Comparison, away: Comparison) -> Comparison:
    """Return the first comparison with the holdout of the second beside its own."""
    return replace(found, holdouts={**found.holdouts, **away.holdouts}, held_out=(*found.held_out, *away.held_out))
