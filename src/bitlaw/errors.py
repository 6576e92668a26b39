"""Errors a user can act on. Each message says what was given, what is accepted and what to do.

BitlawError
├── InputError          a value, name, file or plan that cannot be used (exit code 2)
│   ├── UnknownName     a name that the catalog does not hold; near matches are offered
│   ├── CheckpointError a checkpoint folder that cannot be read: no weights, truncated file, wrong vocabulary
│   └── StoreError      a store that cannot be opened or written
└── MeasurementError    a measurement could not be made; recorded as a state, not raised to the user
    ├── HessianError    a Hessian that cannot be factorised
    │   └── UnreadError a layer that read no token of the calibration text, as an expert may
    └── NonFiniteError  a loss or a weight that is NaN or infinite
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class BitlawError(Exception):
    """Base of every error bitlaw raises on purpose."""


class InputError(BitlawError, ValueError):
    """What the user gave cannot be used."""


class UnknownName(InputError):
    """A name that is in no catalog; the message offers the nearest ones."""

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {given!r}.{hint} Known: {', '.join(names) or 'none'}.")


class CheckpointError(InputError):
    """A checkpoint folder that cannot be read as asked."""


class StoreError(InputError):
    """A store of measurements that cannot be opened, read or written."""


class MeasurementError(BitlawError):
    """A measurement that could not be made: its message becomes the reason in the record."""


class HessianError(MeasurementError):
    """A layer's Hessian is singular, non-finite or of the wrong size."""


class UnreadError(HessianError):
    """A layer that read no token, such as an expert to which none was routed."""


class NonFiniteError(MeasurementError):
    """A weight, activation or loss is NaN or infinite."""


def require_count(name: str, value: float, what: str) -> float:
    """Return `value` if it is finite and above 0, else raise InputError naming it (`what` says what it counts)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name}={value} is not a number of {what}. Give a finite number above 0, for example 7e9.")
    return float(value)
