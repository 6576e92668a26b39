"""Which backend a name means: a path is SQLite; `dataset:NAME` is shipped, read-only; an address with a scheme is a server."""

from __future__ import annotations

import os
from pathlib import Path

from bitlaw.errors import StoreError
from bitlaw.records import Measurement
from bitlaw.store.contract import Filter, Store
from bitlaw.store.shipped import DATASET, ShippedStore
from bitlaw.store.sqlite import SQLiteStore


def open_store(where: str | os.PathLike[str], *, create: bool = True) -> Store:
    """Open the store at a path, making it and its folder if they do not exist.

    `create=True` is for writing: a place that cannot be written is refused now and not after the first measurement.
    `create=False` is for reading: the store must exist, and may be on a read-only disk.
    `dataset:NAME` is a dataset that came with bitlaw (bitlaw.datasets): for reading only.
    Raises StoreError if it cannot be opened, is not a bitlaw store, or was written by a newer bitlaw.
    """
    text = os.fspath(where)
    if text.startswith(DATASET):
        return ShippedStore(text.removeprefix(DATASET), create=create)
    scheme, mark, _ = text.partition("://")
    if mark:
        raise StoreError(
            f"No store of kind {scheme!r} (given {text!r}). Known: a path, kept in SQLite, and dataset:NAME. "
            "For several machines, let each write its own file and join them with import."
        )
    return SQLiteStore(Path(text), create=create)


def records(store: Store | str | os.PathLike[str], **filters: Filter) -> list[Measurement]:
    """Return the measurements of a store (open, or its path) that match every filter, oldest first; see `Store.read`."""
    if isinstance(store, Store):
        return store.read(**filters)
    with open_store(store, create=False) as opened:
        return opened.read(**filters)
