"""Finding a suite by name or by path, and the list of those known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bitlaw.catalog import SUITES
from bitlaw.errors import InputError, UnknownName
from bitlaw.suites.hub import SCHEME, hub_cache, open_hub
from bitlaw.suites.local import open_local
from bitlaw.suites.manifest import MANIFEST
from bitlaw.suites.suite import Suite
from bitlaw.suites.tiny import runs_folder

ON_THE_HUB = {"pythia": "*--pythia-*-deduped/*", "pythia-standard": "*--pythia-*/*", "hub": "*--*/*"}
"""Suites that are downloaded: name -> which folders of the cache hold something of them."""

__all__ = ["SuiteInfo", "open_suite", "runs_folder", "suites"]


@dataclass(frozen=True, kw_only=True)
class SuiteInfo:
    """A known suite: its name, what it is, where it lies (empty for `local`) and whether it, or a part of it, is there."""

    name: str
    summary: str
    where: str
    available: bool


def suites() -> tuple[SuiteInfo, ...]:
    """List the catalog's suites and the folders of the runs folder that hold a manifest."""
    known = {}
    for name, entry in SUITES.items():
        if name in ON_THE_HUB:
            here = any(hub_cache().glob(ON_THE_HUB[name]))
            known[name] = SuiteInfo(name=name, summary=entry.summary, where=str(hub_cache()), available=here)
            continue
        place = runs_folder() / name
        where = "" if name == "local" else str(place)
        known[name] = SuiteInfo(
            name=name, summary=entry.summary, where=where, available=bool(where) and (place / MANIFEST).is_file()
        )
    for manifest in sorted(runs_folder().glob(f"*/{MANIFEST}")):
        name = manifest.parent.name
        if name not in known:
            known[name] = SuiteInfo(
                name=name, summary="trained on this machine", where=str(manifest.parent), available=True
            )
    return tuple(known.values())


def open_suite(suite: str | Path) -> Suite:
    """Return a suite by name (catalog or runs folder), by the path of its folder, or `hub:ORG/NAME@REVISION,...`.

    Raises UnknownName with near matches for what is neither.
    """
    text = str(suite)
    if text.startswith(SCHEME):
        return open_hub(text)
    if isinstance(suite, str) and text in SUITES:
        opened: Suite = SUITES[text].load()(None)
        return opened
    path = Path(suite)
    if path.is_dir():
        return open_local(path)
    if isinstance(suite, str) and os.sep not in text:
        place = runs_folder() / text
        if (place / MANIFEST).is_file():
            return open_local(place)
        raise UnknownName("suite", text, [info.name for info in suites()])
    raise InputError(f"No suite folder {path}. Give a folder with a {MANIFEST}, or a name: {', '.join(SUITES)}.")
