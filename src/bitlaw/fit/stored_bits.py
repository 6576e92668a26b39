"""The k-bit frontier (Dettmers and Zettlemoyer 2022): which measured model and format has the least loss for its stored bits?

    for row in frontier(table): ...        the rows no other row beats in both stored bits and loss

Stored bits are bits_per_weight x parameters, scales and zero points counted: of the quantized weights only.
"""

from __future__ import annotations

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.table import Table
from bitlaw.laws.law import Array


def total_bits(table: Table) -> Array:
    """Return the stored bits of the quantized weights of each row. Raises InputError without bits_per_weight."""
    if "bits_per_weight" not in table or not np.all(np.isfinite(table["bits_per_weight"])):
        raise InputError(f"{table.source} lacks bits_per_weight in some rows: stored bits cannot be counted.")
    return np.asarray(table["bits_per_weight"] * table["parameters"], dtype=float)


def frontier(table: Table) -> Table:
    """Return the rows that no other row beats, fewest stored bits first; of equal rows, the first."""
    bits, loss = total_bits(table), np.asarray(table["loss"], dtype=float)
    kept, least = [], np.inf
    for row in np.lexsort((loss, bits)):
        if loss[row] < least:
            kept.append(int(row))
            least = float(loss[row])
    return table.take(np.array(kept, dtype=int))
