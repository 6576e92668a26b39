"""Fitted predictors with their intervals, ranges and data: saved as JSON, read back to the same predictions.

    {"bitlaw_predictor": 3, "models": [{"kind", "target", "state", "intervals", "ranges"}], "families", "elements", "formats", "data"}

No pickle: a file holds numbers and names only. `data` says which measurements it came from, by content key.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.predictor.conformal import Conformal
from bitlaw.predictor.curve import Array
from bitlaw.predictor.kinds import NEEDS_GAIN, kind_of, predict_kind
from bitlaw.predictor.ranges import RANGED, distance, range_values
from bitlaw.predictor.rows import Rows

VERSION = 3
SHIPPED = Path(__file__).parent.parent / "data" / "predictor.json.gz"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One fitted predictor. ranges: input -> smallest and largest value among its training rows."""

    kind: str
    target: str
    state: Mapping[str, Any]
    intervals: Conformal
    ranges: Mapping[str, tuple[float, float]]

    def predict(self, rows: Rows) -> Array:
        """Return the predicted loss of each row, nats per token, [n]."""
        return predict_kind(self.kind, self.state, rows, self.target)

    def half_width(self, rows: Rows, loss: Array, level: float, *, unseen: bool | NDArray[np.bool_] = False) -> Array:
        """Return half the width of the interval around each predicted loss [n], nats per token; wider the further outside the training rows."""
        far = distance(self.ranges, range_values(rows, self.kind))
        return self.intervals.half_width(loss - rows["baseline_loss"], level, distance=far, unseen=unseen)

    def outside(self, rows: Rows) -> list[tuple[str, ...]]:
        """Return for each row the inputs that lie outside the training rows, in words."""
        values = range_values(rows, self.kind)
        found: list[list[str]] = [[] for _ in range(len(rows))]
        for name, (low, high) in self.ranges.items():
            if name not in values:
                continue
            slack = 1e-9 * max(abs(low), abs(high), 1e-12)
            for index, value in enumerate(values[name].tolist()):
                if not low - slack <= value <= high + slack:
                    found[index].append(f"{RANGED[name]} {value:.4g} is outside {low:.4g} to {high:.4g}")
        return [tuple(words) for words in found]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "kind": self.kind,
            "target": self.target,
            "state": dict(self.state),
            "intervals": self.intervals.to_dict(),
            "ranges": {name: list(pair) for name, pair in self.ranges.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Predictors:
    """Predictors trained on one table. `data`: source, rows, models, digest and keys of the measurements behind them."""

    models: tuple[Trained, ...]
    families: tuple[str, ...]
    elements: tuple[str, ...]
    formats: tuple[str, ...]
    data: Mapping[str, Any]

    def find(self, kind: str, target: str) -> Trained:
        """Return the predictor of a kind and target. Raises InputError naming those there are."""
        for one in self.models:
            if (one.kind, one.target) == (kind, target):
                return one
        known = ", ".join(f"{one.kind} of {one.target}" for one in self.models)
        raise InputError(f"There is no {kind!r} predictor of {target!r} in this file. It has: {known}.")

    def has(self, kind: str, target: str) -> bool:
        """Whether there is such a predictor."""
        return any((one.kind, one.target) == (kind, target) for one in self.models)

    @property
    def reads_compensated(self) -> bool:
        """Whether any of them reads probes of compensated noise."""
        return any(kind_of(one.kind).needs == NEEDS_GAIN for one in self.models)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "bitlaw_predictor": VERSION,
            "models": [one.to_dict() for one in self.models],
            "families": list(self.families),
            "elements": list(self.elements),
            "formats": list(self.formats),
            "data": dict(self.data),
        }

    def save(self, path: str | Path) -> Path:
        """Write a .json or .json.gz file -> its path. Raises InputError if it cannot be written."""
        path = Path(path)
        text = json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)
        if not path.name.endswith((".json", ".json.gz")):
            raise InputError(f"A predictor is saved as .json or .json.gz; given {str(path)!r}.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            zipped = path.suffix == ".gz"
            path.write_bytes(gzip.compress(text.encode(), mtime=0) if zipped else text.encode())
        except OSError as error:
            raise InputError(f"Cannot write {str(path)!r}: {error.strerror}. Choose another path.") from error
        return path

    def only(self, *kinds: str) -> Predictors:
        """Return the predictors of some kinds."""
        return replace(self, models=tuple(one for one in self.models if one.kind in kinds))


def load_predictors(path: str | Path | None = None) -> Predictors:
    """Return the predictors of a file written by `Predictors.save`, or, without one, those that come with bitlaw."""
    path = SHIPPED if path is None else Path(path)
    if path == SHIPPED and not path.exists():
        raise InputError(
            "No predictor comes with this bitlaw. Train one with `bitlaw predictor train --store ... --out ...`."
        )
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int) -> Predictors:
    try:
        content = path.read_bytes()
        parsed = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        if parsed["bitlaw_predictor"] != VERSION:
            raise InputError(
                f"{path} is a predictor of version {parsed['bitlaw_predictor']}; this bitlaw reads {VERSION}. Train it again."
            )
        return Predictors(
            models=tuple(
                Trained(
                    kind=_known(one["kind"]),
                    target=one["target"],
                    state=one["state"],
                    intervals=Conformal.from_dict(one["intervals"]),
                    ranges={name: (float(low), float(high)) for name, (low, high) in one["ranges"].items()},
                )
                for one in parsed["models"]
            ),
            **{name: tuple(parsed[name]) for name in ("families", "elements", "formats")},
            data=parsed["data"],
        )
    except OSError as error:
        raise InputError(
            f"Cannot read the predictor {str(path)!r}: {error}. Give a file of `bitlaw predictor train`."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no file of `bitlaw predictor train`: {error!r}.") from error


def _known(kind: str) -> str:
    kind_of(kind)
    return kind
