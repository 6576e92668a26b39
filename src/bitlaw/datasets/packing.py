"""Measurements -> the compressed Parquet file that is shipped: only stored columns, sorted, so that equal rows give equal bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, NULLABLE, Measurement, flatten


def pack(measurements: Iterable[Measurement], path: str | os.PathLike[str]) -> int:
    """Write the measurements to `path` as zstd Parquet -> how many rows.

    Sorted by size, model, tokens, method, format, options and calibration. Raises InputError for a measurement that occurs twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [flatten(m) for m in sorted(measurements, key=_order)]
    keys = [row["key"] for row in rows]
    if len(set(keys)) < len(keys):
        raise InputError(f"{len(keys) - len(set(keys))} of {len(keys)} measurements occur twice. Pack each once.")
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([pa.field(c, kinds[kind], nullable=c in NULLABLE) for c, kind in COLUMNS.items()])
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        Path(path),
        compression="zstd",
        compression_level=19,
        use_dictionary=[c for c, kind in COLUMNS.items() if kind is str and c != "key"],
        use_byte_stream_split=[c for c, kind in COLUMNS.items() if kind is float],
    )
    return len(rows)


def _order(m: Measurement) -> tuple[str | int | float, ...]:
    checkpoint, variant = m.asked.checkpoint, m.asked.variant
    options = str(sorted(variant.options.items()))
    named = (variant.method, variant.format, options, m.asked.calibration.token_hash)
    return (checkpoint.parameters, checkpoint.model, checkpoint.tokens or 0, checkpoint.step, *named)
