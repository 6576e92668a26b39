"""Stores to test: a place for every backend, and a PostgreSQL server where one is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.postgres_server import Server, programs

Place = Callable[[Path], str]

BACKENDS = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if programs() is None:
        pytest.skip("no PostgreSQL server is installed: neither initdb on PATH nor /usr/lib/postgresql/*/bin")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (extra postgres)")
    started = Server()
    try:
        yield started
    finally:
        started.remove()


@pytest.fixture(scope="session", params=BACKENDS)
def place(request: pytest.FixtureRequest) -> Place:
    """What names the store that belongs to a folder, as a user would."""
    if request.param == "sqlite":
        return lambda folder: str(folder / "runs.db")
    place: Place = request.getfixturevalue("server").place
    return place
