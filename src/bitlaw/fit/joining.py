"""Several tables as one: the columns that all of them have, the rows one after the other.

both = joined([public_table("tiny-suite"), public_table("pythia-digitised")])
fit("bitlaw-sensitivity", both, offsets=("suite",))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.table import Table


def joined(tables: Sequence[Table], *, source: str = "") -> Table:
    """Return one table. What was left out of each is added up. Raises InputError if there is none or no column in common."""
    if not tables:
        raise InputError("Give at least one table to join.")
    names = [name for name in tables[0].columns if all(name in table for table in tables)]
    if not names:
        raise InputError(f"{', '.join(table.source for table in tables)} have no column in common: nothing to join.")
    left_out: Counter[str] = Counter()
    for table in tables:
        left_out.update(table.left_out)
    return Table(
        columns={name: np.concatenate([table[name] for table in tables]) for name in names},
        source=source or " and ".join(table.source for table in tables),
        left_out=dict(left_out),
        warnings=tuple(dict.fromkeys(warning for table in tables for warning in table.warnings)),
    )
