"""Which backend a name means: a path is SQLite; `dataset:NAME` is shipped, read-only; an address with a scheme is a server."""

from __future__ import annotations

import os
from pathlib import Path

from bitlaw.errors import StoreError
from bitlaw.records import Measurement
from bitlaw.store.address import SCHEMES, scheme_of, shown
from bitlaw.store.contract import Filter, Store
from bitlaw.store.shipped import DATASET, ShippedStore
from bitlaw.store.sqlite import SQLiteStore


def open_store(where: str | os.PathLike[str], *, create: bool = True) -> Store:
    """Open the store at a path, making it and its folder if they do not exist.

    `create=True` is for writing: a place that cannot be written is refused now and not after the first measurement.
    `create=False` is for reading: the store must exist, and may be on a read-only disk.
    `postgresql://USER@HOST:PORT/DATABASE` (or `postgres://`, as libpq reads it; extra `postgres`) is a store on a server;
    the database must exist, its tables are made.
    `dataset:NAME` is a dataset that came with bitlaw (bitlaw.datasets): for reading only.
    Raises StoreError if it cannot be opened, is not a bitlaw store, or was written by a newer bitlaw.
    """
    text = os.fspath(where)
    if text.startswith(DATASET):
        return ShippedStore(text.removeprefix(DATASET), create=create)
    if scheme_of(text) in SCHEMES:
        from bitlaw.store.postgres import PostgresStore

        return PostgresStore(text, create=create)
    if scheme_of(text):
        raise StoreError(
            f"No store of kind {scheme_of(text)!r} (given {shown(text)!r}). "
            "Known: a path, kept in SQLite, postgresql://USER@HOST/DATABASE and dataset:NAME."
        )
    if text.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
        raise StoreError(
            "The address of a PostgreSQL store was given as a path, which drops a slash. Give it as a str."
        )
    return SQLiteStore(Path(text), create=create)


def records(store: Store | str | os.PathLike[str], **filters: Filter) -> list[Measurement]:
    """Return the measurements of a store (open, or its path or address) that match every filter, oldest first; see `Store.read`."""
    if isinstance(store, Store):
        return store.read(**filters)
    with open_store(store, create=False) as opened:
        return opened.read(**filters)
