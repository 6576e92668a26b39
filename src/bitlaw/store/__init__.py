"""Keeps measurements: one row a measurement, written once, read back exactly. SQLite by default.

    with open_store("runs.db") as store:                 # or postgresql://me@server/bitlaw, for several writers
        store.add(measurements)                      # how many were new
        ok = store.read(state="ok", method=["none", "gptq"])
    export_csv(ok, "runs.csv")

To add a backend: write its file in this room with a class that implements the abstract methods of `Store`
(contract.py; of `SQLStore`, sql.py, where it speaks SQL), give it one line in `open_store`, and add it to BACKENDS in
tests/store/conftest.py: the whole contract runs on it. To change the columns: change `records.py` and append one step to
MIGRATIONS in schema.py.
"""

from bitlaw.store.address import shown
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
    "shown",
    "to_row",
]
