"""Measurements as Parquet: the columns of the CSV with their types, for pandas, DuckDB, Polars and the like."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, NULLABLE, Measurement
from bitlaw.store.contract import Store
from bitlaw.store.files import checked_header, written_whole
from bitlaw.store.rows import DERIVED, derived_cells, from_row, to_row


def export_parquet(measurements: Iterable[Measurement], path: str | os.PathLike[str]) -> int:
    """Write the measurements (a store, or what `read` returned) to a Parquet file -> how many rows it has.

    Text is string, whole numbers int64, numbers float64. The file appears complete or not at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema(
        [pa.field(c, kinds[kind], nullable=c in NULLABLE) for c, kind in COLUMNS.items()]
        + [pa.field(c, pa.float64()) for c in DERIVED]
    )
    rows = [{**to_row(m), **derived_cells(m)} for m in measurements]
    with written_whole(Path(path)) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
    return len(rows)


def import_parquet(store: Store, path: str | os.PathLike[str]) -> int:
    """Add every measurement of a Parquet file to the store, all or none -> how many were new; see `read_parquet`."""
    return store.add(read_parquet(path))


def read_parquet(path: str | os.PathLike[str]) -> list[Measurement]:
    """Return every measurement of a Parquet file, in its order.

    Derived columns are ignored. Raises InputError naming file, row (the first is 1) and column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = Path(path)
    try:
        table = pq.ParquetFile(source).read()
    except (OSError, pa.ArrowException) as error:
        text = str(error).splitlines()[0]
        raise InputError(f"Cannot read {str(source)!r} as Parquet: {text} Give a file that bitlaw exported.") from error
    checked_header(source, table.column_names)
    found: list[Measurement] = []
    for number, row in enumerate(table.select([c for c in COLUMNS if c in table.column_names]).to_pylist(), start=1):
        try:
            found.append(from_row(row))
        except InputError as error:
            raise InputError(f"{source}, row {number}: {error}") from None
    return found
