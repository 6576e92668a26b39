"""Measurements as CSV: one header line, one line a measurement, floats with all their digits.

None is an empty field in columns of numbers and `\\N` in columns of text, where an empty field is the empty text;
a text that begins with a backslash gets one more. Everything comes back exactly.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, Measurement
from bitlaw.store.contract import Store
from bitlaw.store.files import checked_header, written_whole
from bitlaw.store.rows import DERIVED, Cell, derived_cells, from_row, to_row

csv.field_size_limit(2**31 - 1)  # lists of fallbacks may exceed the default 128 KiB a field


def export_csv(measurements: Iterable[Measurement], path: str | os.PathLike[str]) -> int:
    """Write the measurements (a store, or what `read` returned) to a CSV file -> how many rows it has.

    The file appears complete or not at all. Raises InputError if it cannot be written.
    """
    count = 0
    with (
        written_whole(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *DERIVED])
        quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for m in measurements:
            cells = [_written(c, v) for c, v in to_row(m).items()]
            cells += ["" if v is None else repr(v) for v in derived_cells(m).values()]
            lone_return = any("\r" in cell for cell in cells)  # which Python 3.11 leaves unquoted by itself
            (quoting if lone_return else writer).writerow(cells)
            count += 1
    return count


def import_csv(store: Store, path: str | os.PathLike[str]) -> int:
    """Add every measurement of a CSV file to the store, all or none -> how many were new.

    Derived columns are ignored. Raises InputError naming file, row (the first below the header is 1) and column.
    """
    source = Path(path)
    found: list[Measurement] = []
    try:
        with source.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            checked_header(source, header)
            for number, line in enumerate(reader, start=1):
                if len(line) != len(header):
                    raise InputError(
                        f"{source}, row {number}: {len(line)} fields where the header has {len(header)}. Is it cut off?"
                    )
                try:
                    found.append(_measurement(dict(zip(header, line))))
                except InputError as error:
                    raise InputError(f"{source}, row {number}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read {str(source)!r} as CSV: {error}. Give a file that bitlaw exported.") from error
    return store.add(found)


def _measurement(fields: dict[str, str]) -> Measurement:
    return from_row({column: _read(column, text) for column, text in fields.items() if column in COLUMNS})


def _written(column: str, value: Cell) -> str:
    if value is None:
        return "\\N" if COLUMNS[column] is str else ""
    if isinstance(value, str):
        return "\\" + value if value.startswith("\\") else value
    return repr(value)


def _read(column: str, text: str) -> Cell:
    kind = COLUMNS[column]
    if kind is str:
        if text == "\\N":
            return None
        return text[1:] if text.startswith("\\\\") else text
    if text == "":
        return None
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise InputError(f"column {column!r} holds {text!r}, which is not {wanted}.") from None
