"""The verb `records`: look at a store, take measurements out and bring them in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bitlaw.cli.output import table
from bitlaw.cli.verb import Verb
from bitlaw.cli.where import add_where, filters
from bitlaw.errors import InputError

ACTIONS = ("list", "export", "import", "digest")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("file", nargs="?", help="for export and import: a .csv or .parquet file")
    parser.add_argument(
        "--store", required=True, help="a store: an SQLite file, postgresql://USER@HOST/DATABASE or dataset:NAME"
    )
    add_where(parser)


def _run(given: argparse.Namespace) -> Any:
    from bitlaw.store import export_csv, export_parquet, import_csv, import_parquet, open_store, shown, to_row
    from bitlaw.store.rows import derived_cells

    kind = Path(given.file).suffix if given.file else ""
    if given.action in ("export", "import") and kind not in (".csv", ".parquet"):
        raise InputError(f"records {given.action} needs a .csv or .parquet file; given {given.file!r}.")
    chosen = filters(given.where)
    with open_store(given.store, create=given.action == "import") as store:
        if given.action == "digest":
            return {"digest": store.digest(), "measurements": store.count()}
        if given.action == "import":
            added = (import_csv if kind == ".csv" else import_parquet)(store, given.file)
            return {"added": added, "store": shown(given.store)}
        found = store.read(**chosen)
        if given.action == "export":
            (export_csv if kind == ".csv" else export_parquet)(found, given.file)
            return {"exported": len(found), "file": given.file}
        return [{**to_row(m), **derived_cells(m)} for m in found]


def _text(data: Any) -> str:
    if isinstance(data, list):
        rounded = [c for c in ("activations", "kv_cache") if any(row[c] != "none" for row in data)]
        numbers = ("state", "loss", "qid", "qid_se", "kl", "agreement")
        columns = ("model", "step", "tokens", "method", "format", *rounded, *numbers)
        return f"{table(data, columns)}\n{len(data)} measurements (--json prints every column)"
    return ", ".join(f"{name} {value}" for name, value in data.items())


RECORDS = Verb(
    name="records",
    summary="list, export, import or fingerprint the measurements of a store",
    teach="""\
A digest covers what was asked and what was seen: two runs that measured the same numbers have the same digest.

  bitlaw records list --store tiny.db --where method=gptq --where bits=2
  bitlaw records export tiny.parquet --store tiny.db
  bitlaw records import others.csv --store tiny.db
  bitlaw records digest --store tiny.db""",
    arguments=_arguments,
    run=_run,
    text=_text,
)
