"""Files that are whole or absent, and locks that end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bitlaw.errors import InputError


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, push it to disk and put it in place in one stroke."""
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def place_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` make a folder under a temporary name and put it in place in one stroke, unless it is there already."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    fill(temporary)
    for file in temporary.iterdir():
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    temporary.rename(path)


@contextmanager
def locked(path: Path, *, wait: bool, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on a file. Without `wait` a lock held by another process is an InputError that says `busy`."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise InputError(busy) from error
        yield
