"""Do the numbers of a table look like what their columns say? Impossible values are errors, unlikely ones sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError

SMALLEST_COUNT = 1e3  # no model has fewer parameters, no training fewer tokens: the column is in another unit
UNLIKELY_COUNT = 1e4
LARGEST_DEGRADATION = 20.0  # nats; ln(vocabulary) is 7 to 13
LARGEST_LOSS = 20.0
LARGEST_BITS = 32.0


def check_counts(row: Mapping[str, Any], required: tuple[str, ...], where: str) -> None:
    """Raise InputError if parameters, tokens or bits of a row cannot be, or a measured number is infinite.

    Only a count that is not `required` may be NaN (unknown).
    """
    for name in ("parameters", "tokens", "bits"):
        unknown = name not in row or (name not in required and np.isnan(row[name]))
        if not unknown and not (np.isfinite(row[name]) and row[name] > 0):
            raise InputError(f"{where}: {name} is {row[name]:g}. It must be a finite number above 0.")
    for name in ("qid", "qid_se", "baseline_loss", "loss"):
        if name in row and np.isinf(row[name]):
            raise InputError(f"{where}: {name} is infinite. Leave the cell empty if it was not measured.")
    if row.get("qid_se", 0.0) < 0:
        raise InputError(f"{where}: qid_se is {row['qid_se']:g}. A standard error cannot be negative.")


def unit_warnings(columns: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return sentences about columns that look like another unit; raise InputError where they cannot be right."""
    said: list[str] = []
    for name, what in (("parameters", "non-embedding parameters"), ("tokens", "training tokens")):
        if name not in columns:
            continue
        largest = float(np.nanmax(columns[name], initial=0.0))
        if largest < SMALLEST_COUNT:
            raise InputError(
                f"{name} is at most {largest:g}: that looks like millions, billions or trillions. "
                f"Give raw counts of {what}, for example 7e9."
            )
        if largest < UNLIKELY_COUNT:
            said.append(f"{name} is at most {largest:g}: are these raw counts of {what}?")
    if "parameters" in columns and "tokens" in columns:
        ratio = float(np.nanmedian(np.asarray(columns["tokens"]) / np.asarray(columns["parameters"])))
        if ratio > 1e7 or ratio < 1e-4:
            said.append(f"the median of tokens / parameters is {ratio:.1g}: are both raw counts?")
    if "qid" in columns and float(np.nanmax(columns["qid"], initial=0.0)) > LARGEST_DEGRADATION:
        said.append(
            f"qid reaches {float(np.max(columns['qid'])):g}, above ln(vocabulary) of any model: "
            "is it in percent or perplexity instead of nats per token?"
        )
    for name in ("baseline_loss", "loss"):
        if name in columns and float(np.nanmax(columns[name], initial=0.0)) > LARGEST_LOSS:
            said.append(f"{name} reaches {float(np.nanmax(columns[name])):g}: is it perplexity instead of nats?")
    if "bits" in columns and float(np.nanmax(columns["bits"], initial=0.0)) > LARGEST_BITS:
        said.append(f"bits reach {float(np.max(columns['bits'])):g}: nominal bits per weight are 32 at most")
    return tuple(said)
