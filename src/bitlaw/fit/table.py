"""A table to fit laws to: named columns of equal length, and what was left out of it and why.

Numbers are float64, text is str. Rows are degradations (or losses); the unquantized baseline is a column of each row.

    table = Table.from_measurements(store)                # records of this project
    table = Table.from_csv("mine.csv", names={"N": "parameters", "D": "tokens"})
    two_bits = table.where(method="gptq", bits=2)
"""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit.nominal import nominal_error
from bitlaw.fit.units import check_counts, unit_warnings
from bitlaw.laws.law import TARGETS, VARIABLES
from bitlaw.records import Measurement

NUMBERS: Mapping[str, str] = {
    "parameters": "N: non-embedding parameters",
    "tokens": "D: training tokens seen",
    "bits": "P: nominal bits per weight",
    "qid": "quantized loss minus 16-bit loss, nats per token",
    "qid_se": "standard error of qid, nats per token",
    "baseline_loss": "loss of the 16-bit model, nats per token",
    "loss": "loss of the quantized model, nats per token",
    "group_size": "weights that share a scale; 0: a whole row",
    "bits_per_weight": "stored bits per weight, scales and zero points counted",
    "step": "optimizer step of the checkpoint",
    "learning_rate": "learning rate in force at the checkpoint",
    "peak_learning_rate": "largest learning rate of the schedule",
    "kl": "KL divergence from the 16-bit model, nats per token",
    "sqnr_db": "signal to quantization noise of the weights, decibels",
    "weight": "how much the row counts in a fit",
    **{name: variable.meaning for name, variable in VARIABLES.items() if name not in ("parameters", "tokens", "bits")},
    **{name: meaning for name, meaning in TARGETS.items() if name != "qid"},
}
TEXTS: Mapping[str, str] = {
    "suite": "which suite the model belongs to",
    "model": "model name; rows of one model are treated as related",
    "family": "architecture or training family",
    "method": "quantization method",
    "format": "number format",
    "checkpoint": "one set of weights: suite/model@step",
    "schedule": "learning-rate schedule",
    "evaluation": "name of the evaluation text",
    "source": "where the row comes from",
}
INTEGER = re.compile(r"int\d+_(row|g\d+)")
REQUIRED = ("parameters", "tokens", "bits", "qid")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns by name, each of n rows; `left_out` maps a reason to a number of rows; `warnings` are sentences."""

    columns: Mapping[str, NDArray[Any]]
    source: str = "table"
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} {len(column)}" for name, column in self.columns.items())
            raise InputError(f"Columns of {self.source} have different lengths: {sizes}.")
        columns = {
            name: np.asarray(column, dtype=str if name in TEXTS else float) for name, column in self.columns.items()
        }
        for column in columns.values():
            column.flags.writeable = False
        object.__setattr__(self, "columns", columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column. Raises UnknownName with near matches."""
        if name not in self.columns:
            raise UnknownName("column", name, self.columns)
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def take(self, rows: NDArray[Any]) -> Table:
        """Return the table of the given rows (indices or a mask)."""
        return replace(self, columns={name: column[rows] for name, column in self.columns.items()})

    def where(self, **conditions: Any) -> Table:
        """Return the rows where each column equals its value, or is one of its values: where(method="gptq", bits=(2, 3)).

        Raises InputError when nothing is left, naming the values that exist.
        """
        keep = np.ones(len(self), dtype=bool)
        for name, wanted in conditions.items():
            choices = list(wanted) if isinstance(wanted, Collection) and not isinstance(wanted, str) else [wanted]
            match = np.isin(self[name], np.asarray(choices, dtype=str if name in TEXTS else float))
            if not match.any():
                known = ", ".join(str(v) for v in np.unique(self[name])[:12])
                raise InputError(f"No rows of {self.source} have {name} = {wanted!r}. Its values: {known}.")
            keep &= match
        if not keep.any():
            given = ", ".join(f"{name}={value!r}" for name, value in conditions.items())
            raise InputError(f"No rows of {self.source} meet {given} at once. Loosen one of them.")
        return self.take(keep)

    def clusters(self, by: str) -> NDArray[np.int64]:
        """Return for each row the number 0, 1, ... of its `model` or `checkpoint`; rows of a group are related.

        Without a model column, rows of one size are one model; without a checkpoint column, rows of one model with
        the same tokens are one checkpoint.
        """
        if by not in ("model", "checkpoint"):
            raise InputError(f"Rows are grouped by model or checkpoint, not {by!r}.")
        keys = [self.columns["suite"]] if "suite" in self else []
        keys.append(self.columns["model"] if "model" in self else self["parameters"])
        if by == "checkpoint":
            keys += [self.columns[name] for name in ("checkpoint", "step", "tokens") if name in self][:1]
        labels = ["\0".join(str(part) for part in parts) for parts in zip(*keys)]
        return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1].astype(np.int64)

    def one_row_a_checkpoint(self) -> Table:
        """Return the first row of each checkpoint: what a law of the 16-bit loss is fitted to."""
        return self.take(np.sort(np.unique(self.clusters("checkpoint"), return_index=True)[1]))

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, source: str = "table", **parts: Any) -> Table:
        """Return the table of rows (name -> value) that share their names."""
        listed = list(rows)
        names = list(listed[0]) if listed else []
        return cls(columns={name: np.asarray([row[name] for row in listed]) for name in names}, source=source, **parts)

    @classmethod
    def from_measurements(cls, measurements: Iterable[Measurement], *, source: str = "measurements") -> Table:
        """Return the table of the degradations among the measurements; the rest is counted in `left_out`.

        Left out: failed measurements, unquantized baselines (each row carries its baseline loss), checkpoints whose
        tokens or parameters nobody knows, rows whose QiD is not finite.
        """
        rows: list[dict[str, Any]] = []
        left_out: Counter[str] = Counter()
        for m in measurements:
            if reason := _why_not(m):
                left_out[reason] += 1
            else:
                rows.append(_row(m))
        if not rows:
            why = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there were no measurements"
            raise InputError(f"No degradation to fit in {source}: {why}. Measure quantized variants first.")
        add_format_errors(rows)
        for name in ("learning_rate", "peak_learning_rate"):
            if any(row[name] is None for row in rows):
                for row in rows:
                    row[name] = np.nan if row[name] is None else row[name]
        table = cls.from_rows(rows, source=source, left_out=dict(left_out))
        return replace(table, warnings=(*unit_warnings(table.columns), *_setting_warnings(rows)))

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        required: Iterable[str] = REQUIRED,
        names: Mapping[str, str] | None = None,
    ) -> Table:
        """Return the table in a CSV file with a header.

        required: columns that must be there. names: the file's name of a column -> ours. Columns bitlaw does not
        know are ignored. A row whose qid is empty is left out and counted. Raises InputError naming the missing
        columns, or the line of a value that cannot be.
        """
        path = Path(path)
        header, lines = _read_csv(path, dict(names or {}))
        required = tuple(required)
        _require(path, header, required)
        known = [name for name in header if name in NUMBERS or name in TEXTS]
        left_out: Counter[str] = Counter()
        rows = []
        for number, line in lines:
            row = {name: line[name] if name in TEXTS else _number(path, number, name, line[name]) for name in known}
            missing = [name for name in required if name not in TEXTS and np.isnan(row[name])]
            if blanks := [name for name in missing if name in ("qid", "baseline_loss", "loss")]:
                left_out[f"rows without {blanks[0]}"] += 1
                continue
            if "sqnr_db" in row and "format_error" not in row:
                row["format_error"] = 10.0 ** (-float(row["sqnr_db"]) / 10.0)
            check_counts(row, required, f"{path.name}, line {number}")
            rows.append(row)
        if not rows:
            raise InputError(f"{path} has no usable row. Required columns: {', '.join(required)}.")
        table = cls.from_rows(rows, source=path.name, left_out=dict(left_out))
        return replace(table, warnings=unit_warnings(table.columns))


def _why_not(m: Measurement) -> str:
    """Return why a measurement is no degradation to fit, or an empty string."""
    checkpoint = m.asked.checkpoint
    if m.seen.state != "ok":
        return f"failed: {m.seen.reason or 'no reason given'}"
    if m.asked.variant.is_baseline:
        return "unquantized baselines"
    if m.asked.variant.is_probe:
        return "probes of the loss landscape"
    if not m.asked.variant.weights_only:
        return "variants that round activations or the KV cache too"
    if not checkpoint.tokens or not checkpoint.parameters:
        return "checkpoints whose tokens or parameters are unknown or 0"
    return "" if np.isfinite(m.qid) else "rows whose QiD is not finite"


def _setting_warnings(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Say so when one checkpoint, method and format stands in several rows: they differ in options or texts."""
    seen = Counter((row["checkpoint"], row["method"], row["format"], row["evaluation"]) for row in rows)
    repeated = sorted({f"{method} {name}" for (_, method, name, _), count in seen.items() if count > 1})
    if not repeated:
        return ()
    return (
        f"Several settings are taken together: {', '.join(repeated[:6])} stand{'s' if len(repeated) == 1 else ''} more "
        "than once for the same checkpoint, with other options or calibration. Keep them in separate stores, or choose.",
    )


def _row(m: Measurement) -> dict[str, Any]:
    checkpoint, variant = m.asked.checkpoint, m.asked.variant
    return {
        "suite": checkpoint.suite,
        "model": checkpoint.model,
        "family": checkpoint.family,
        "checkpoint": f"{checkpoint.suite}/{checkpoint.model}@{checkpoint.step}",
        "method": variant.method,
        "format": variant.format,
        "schedule": checkpoint.schedule or "unknown",
        "evaluation": m.asked.evaluation.name,
        "step": checkpoint.step,
        "parameters": checkpoint.parameters,
        "tokens": checkpoint.tokens,
        "learning_rate": checkpoint.learning_rate,
        "peak_learning_rate": checkpoint.peak_learning_rate,
        "bits": variant.bits,
        "group_size": variant.group_size,
        "bits_per_weight": np.nan if m.seen.bits_per_weight is None else m.seen.bits_per_weight,
        "qid": m.qid,
        "qid_se": m.qid_se,
        "loss": m.loss,
        "baseline_loss": m.baseline_loss,
        "kl": np.nan if m.seen.kl_nats is None else m.kl,
        "layer_size": m.seen.quantized_parameters / m.seen.quantized_layers if m.seen.quantized_layers else np.nan,
        "sqnr_db": np.nan if m.seen.sqnr_db is None else m.seen.sqnr_db,
    }


def add_format_errors(rows: list[dict[str, Any]]) -> None:
    """Add `format_error` to rows: what rounding these weights to nearest costs, whatever the method made of it.

    Taken from the nearest variant of the same checkpoint and format; where none was measured, the nominal error of an
    integer format; else the row's own.
    """
    nearest = {(r["checkpoint"], r["format"]): r["sqnr_db"] for r in rows if r["method"] == "nearest"}
    for row in rows:
        decibels = nearest.get((row["checkpoint"], row["format"]), np.nan)
        if not np.isfinite(decibels) and INTEGER.match(row["format"]) and row["bits"] > 1:
            symmetric = "_sym" in row["format"]
            row["format_error"] = nominal_error(row["bits"], row["group_size"], symmetric=symmetric)
            continue
        decibels = decibels if np.isfinite(decibels) else row["sqnr_db"]
        row["format_error"] = 10.0 ** (-decibels / 10.0)


def _read_csv(path: Path, names: dict[str, str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [names.get(name.strip(), name.strip()) for name in next(reader, [])]
            lines = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path.name}, line {reader.line_num}: {len(cells)} values under {len(header)} column names."
                    )
                lines.append((reader.line_num, {name: cell.strip() for name, cell in zip(header, cells)}))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the table {path}: {error}. Give a CSV file in UTF-8 with a header.") from error
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path} names column {repeated[0]!r} twice. Each column needs its own name.")
    return header, lines


def _require(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in header]
    if not missing:
        return
    spare = [name for name in header if name not in required]
    said = []
    for name in missing:
        symbol = VARIABLES[name].symbol if name in VARIABLES else name
        near = difflib.get_close_matches(name, spare, n=1, cutoff=0.5) or [s for s in spare if name in s or s in name]
        near = [symbol] if symbol in spare else near
        what = {**NUMBERS, **TEXTS}.get(name, "needed")
        said.append(f"{name!r} ({what}{f'; is it {near[0]!r}?' if near else ''})")
    raise InputError(
        f"{path} lacks column{'s' if len(missing) > 1 else ''} {', '.join(said)}. Its columns: "
        f"{', '.join(header) or 'none'}. Rename them, or map them: --column theirs=ours, in Python names={{'theirs': 'ours'}}."
    )


def _number(path: Path, line: int, name: str, cell: str) -> float:
    if cell == "":
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{path.name}, line {line}: {name} is {cell!r}, which is not a number.") from None
