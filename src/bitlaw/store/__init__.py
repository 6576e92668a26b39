"""Keeps measurements: one row a measurement, written once, read back exactly. SQLite is the default.

    with open_store("runs.db") as store:
        store.add(measurements)                      # how many were new
        ok = store.read(state="ok", method=["none", "gptq"])
    export_csv(ok, "runs.csv")

To add a backend: write its file in this room with a class that implements the abstract methods of `Store`
(contract.py), give it one line in `open_store`, and add it to BACKENDS in tests/store/test_contract.py, which runs the
whole contract on it. To change the columns: change `records.py` and append one step to MIGRATIONS in sqlite.py.
"""

from bitlaw.store.contract import Store
from bitlaw.store.csv_file import export_csv, import_csv
from bitlaw.store.opening import open_store, records
from bitlaw.store.parquet_file import export_parquet, import_parquet, read_parquet
from bitlaw.store.rows import DERIVED, from_row, to_row
from bitlaw.store.shipped import ShippedStore, shipped_file, shipped_names

__all__ = [
    "DERIVED",
    "ShippedStore",
    "Store",
    "export_csv",
    "export_parquet",
    "from_row",
    "import_csv",
    "import_parquet",
    "open_store",
    "read_parquet",
    "records",
    "shipped_file",
    "shipped_names",
    "to_row",
]
