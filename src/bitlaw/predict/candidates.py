"""Models to choose among: `name:params:tokens[:total_params[:loss]]` items, or a CSV or TOML file of them.

    llama:6.98e9:15T:8.03e9                       CSV: name,parameters,tokens,total_parameters,baseline_loss
    [[candidate]]                                 TOML
    name = "llama"
    parameters = 6.98e9

parameters are the quantized ones (N, non-embedding); total_parameters add embeddings and head, which stay 16-bit;
baseline_loss is a measured 16-bit loss in nats per token, used in place of a law's.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitlaw.errors import InputError
from bitlaw.predict.answers import count
from bitlaw.predict.memory import parse_count

NAMES = ("name", "parameters", "tokens", "total_parameters", "baseline_loss")
FORM = "name:params:tokens[:total_params[:loss]], for example llama:7e9:15T:8.03e9"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model: N quantized parameters trained on D tokens; total 0 means embeddings are not counted, loss NaN a law's."""

    name: str
    parameters: float
    tokens: float
    total_parameters: float = 0.0
    baseline_loss: float = math.nan

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError(f"A candidate has no name. Give {FORM}.")
        count("parameters", self.parameters, f"non-embedding parameters of candidate {self.name!r}")
        count("tokens", self.tokens, f"training tokens of candidate {self.name!r}")
        if self.total_parameters and not (math.isfinite(self.total_parameters) and self.total_parameters > 0):
            raise InputError(f"Candidate {self.name!r} has total_parameters={self.total_parameters:g}. Give a count.")
        if self.total_parameters and self.total_parameters < self.parameters:
            raise InputError(
                f"Candidate {self.name!r} has {self.total_parameters:.3g} parameters in all but {self.parameters:.3g} "
                "without embeddings. The total comes last and is at least as large."
            )
        if not math.isnan(self.baseline_loss) and not 0 < self.baseline_loss < 20:
            raise InputError(
                f"Candidate {self.name!r} has a 16-bit loss of {self.baseline_loss:g}. Give nats per token, not perplexity."
            )

    @property
    def total(self) -> float:
        """All parameters; those of the quantized layers alone where the total is not known."""
        return self.total_parameters or self.parameters


def read_candidates(given: Iterable[str | Candidate] | str | Path) -> tuple[Candidate, ...]:
    """Return candidates from items, or from one CSV or TOML file. Raises InputError, naming the item or line."""
    items: Sequence[Any] = [given] if isinstance(given, str | Path) else list(given)
    if not items:
        raise InputError(f"There are no candidates. Give at least one as {FORM}, or a CSV or TOML file.")
    if len(items) == 1 and Path(str(items[0])).suffix.lower() in (".csv", ".toml"):
        found = _from_file(Path(str(items[0])))
    else:
        found = [item if isinstance(item, Candidate) else _from_item(str(item)) for item in items]
    if not found:
        raise InputError(
            f"{items[0]} holds no candidates. Its columns are {', '.join(NAMES)}; the first three are needed."
        )
    names = [candidate.name for candidate in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Candidate {repeated[0]!r} is given twice. Each needs its own name.")
    return tuple(found)


def _from_item(text: str) -> Candidate:
    parts = text.split(":")
    if not 3 <= len(parts) <= len(NAMES):
        raise InputError(f"Candidate {text!r} is not of the form {FORM}.")
    return _from_values(dict(zip(NAMES, parts)), f"candidate {text!r}")


def _from_file(path: Path) -> list[Candidate]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the candidates: {error}.") from error
    if path.suffix.lower() == ".toml":
        try:
            rows = tomllib.loads(text).get("candidate", [])
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not TOML: {error}.") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path} needs one [[candidate]] section for each model.")
    else:
        rows = list(csv.DictReader(text.splitlines()))
    return [_from_values(row, f"{path.name}, candidate {number}") for number, row in enumerate(rows, start=1)]


def _from_values(row: Mapping[Any, Any], where: str) -> Candidate:
    values = {str(name).strip(): value for name, value in row.items() if value not in (None, "")}
    if unknown := [name for name in values if name not in NAMES]:
        raise InputError(f"{where} has an unknown column {unknown[0]!r}. Known: {', '.join(NAMES)}.")
    if missing := [name for name in NAMES[:3] if name not in values]:
        raise InputError(f"{where} lacks {missing[0]}. Needed: {', '.join(NAMES[:3])}.")
    name = str(values.pop("name")).strip()
    try:
        return Candidate(name=name, **{key: parse_count(value, f"a number of {key}") for key, value in values.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
