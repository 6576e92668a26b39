"""Addresses of stores on a server, `postgresql://user:password@host/database?option=value`: shown without their secrets."""

from __future__ import annotations

import os
import re

from bitlaw.errors import StoreError

SCHEMES = ("postgresql", "postgres")

_USER_PASSWORD = re.compile(
    r"^([\w.+-]+://)([^:@]*):(.*)@", re.DOTALL
)  # to the last @: hides too much rather than too little
_SECRET_OPTION = re.compile(r"([?&][^=&]*(?:pass|secret|%)[^=&]*=)[^&]*", re.IGNORECASE)


def scheme_of(where: str) -> str:
    """Return what stands before `://`, empty for a path."""
    scheme, mark, _ = where.partition("://")
    return scheme if mark else ""


def shown(where: str | os.PathLike[str]) -> str:
    """Return the name of a store as it may be printed: an address without its password, anything else as it is."""
    text = os.fspath(where)
    if not scheme_of(text):
        return text
    return _SECRET_OPTION.sub(r"\1***", _USER_PASSWORD.sub(r"\1\2@", text))


def require_plain(where: str) -> None:
    """Raise StoreError where `@` or `/` stand between the user and the host.

    PostgreSQL's library would take a part of the password for the host or the database, and say it in its errors.
    """
    found = _USER_PASSWORD.match(where)
    if found and re.search("[@/]", found[2] + found[3]):
        raise StoreError(
            f"In the address {shown(where)!r} it is unclear where the password ends. Write '@' as %40 and '/' as %2F, "
            "or leave the password out and put it into ~/.pgpass or the variable PGPASSWORD."
        )
