"""Rows whose model is broken: found by an explicit rule, then censored, dropped or kept (see `Collapse`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.fit.settings import Collapse
from bitlaw.fit.table import Table


def collapsed(rows: Table, target: str, rule: Collapse | None) -> tuple[Table, NDArray[np.bool_]]:
    """Return (rows, censored [n]): a censored row's target is where the rule begins, which the truth is at least."""
    none = np.zeros(len(rows), dtype=bool)
    if rule is None or rule.action == "keep":
        return rows, none
    if target not in ("qid", "loss"):
        raise InputError(f"A rule for collapsed models needs a law of qid or loss, not of {target!r}.")
    loss = rows["loss"] if "loss" in rows else rows[target]
    broken = np.nan_to_num(loss, nan=0.0) >= rule.limit
    if not broken.any():
        return rows, none
    words = f"collapsed: loss of at least {rule.limit:.2f} nats ({rule.share:g} ln {rule.vocabulary})"
    if broken.all():
        raise InputError(f"All {len(rows)} rows of {rows.source} are {words}. Nothing is left to fit.")
    if rule.action == "drop":
        return replace(rows.take(~broken), left_out={**rows.left_out, words: int(broken.sum())}), none[~broken]
    limit = np.full(len(rows), rule.limit)
    if target == "qid" and "loss" in rows:
        limit = rule.limit - (rows["loss"] - rows["qid"])  # the 16-bit loss of the row
    y = np.where(broken, np.minimum(limit, rows[target]), rows[target])
    return replace(rows, columns={**rows.columns, target: y}), broken
