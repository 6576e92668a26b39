"""What CSV and Parquet files share: the header they must have, and files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.records import COLUMNS, LATER_COLUMNS
from bitlaw.store.rows import DERIVED


def checked_header(path: Path, header: Sequence[str]) -> None:
    """Raise InputError unless the header holds each column of COLUMNS once and else only DERIVED ones, in any order.

    Files older than LATER_COLUMNS may lack those.
    """
    missing = [c for c in COLUMNS if c not in header and c not in LATER_COLUMNS]
    unknown = [c for c in header if c not in COLUMNS and c not in DERIVED]
    twice = sorted({c for c in header if header.count(c) > 1})
    if missing or unknown or twice:
        faults = [
            f"{what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
            for what, names in (("missing", missing), ("unknown", unknown), ("twice", twice))
            if names
        ]
        raise InputError(f"{path} has other columns than a bitlaw export ({'; '.join(faults)}).")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes its place, on failure it is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. Choose a path where you may write."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
