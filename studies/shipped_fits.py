"""Fits the law that `bitlaw predict` answers from beside the published ones: python studies/shipped_fits.py."""

from __future__ import annotations

from bitlaw.datasets import load
from bitlaw.fit import Fit, Table, fit
from bitlaw.predict.shipped import DATASETS, FILE
from bitlaw.report.ouyang2024.rows import main_rows, usable

LAW = "ouyang2024-unified"


def made() -> Fit:
    """Return the unified law fitted to the rows of the datasets that stand for the first paper's."""
    rows = main_rows(usable(m for name in DATASETS for m in load(name))).rows
    return fit(LAW, Table.from_measurements(rows, source=f"the datasets {' and '.join(DATASETS)}"))


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    made().to_json(FILE)
    print(FILE)
