"""`--where column=value[,value]` as filters."""

from __future__ import annotations

import argparse

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS

Value = str | int | float


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare `--where`."""
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE[,VALUE]",
        help="only rows with these values, such as method=gptq or bits=2,3; may be given several times",
    )


def filters(given: list[str]) -> dict[str, list[Value]]:
    """Return column -> accepted values. Raises InputError for text that is no condition or a value of the wrong type."""
    found: dict[str, list[Value]] = {}
    for text in given:
        column, equals, values = text.partition("=")
        if not equals or not values:
            raise InputError(f"--where {text!r} is not of the form COLUMN=VALUE, such as method=gptq.")
        kind = COLUMNS.get(column, str)
        try:
            found[column] = [kind(value) for value in values.split(",")]
        except ValueError:
            raise InputError(f"--where {text!r}: column {column!r} holds numbers.") from None
    return found
