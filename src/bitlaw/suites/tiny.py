"""The demo's suite: three GPT-NeoX models, trained on this machine by the shipped plan `tiny`; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.suites.local import open_local
from bitlaw.suites.manifest import MANIFEST
from bitlaw.suites.suite import Suite


def runs_folder() -> Path:
    """Return where trained suites are kept: $BITLAW_RUNS, else `runs` in the current folder."""
    return Path(os.environ.get("BITLAW_RUNS") or "runs")


def open_tiny(folder: Path | None = None) -> Suite:
    """Return the trained tiny suite from `folder`, by default `tiny` in the runs folder."""
    place = runs_folder() / "tiny" if folder is None else folder
    if not (place / MANIFEST).is_file():
        raise InputError(
            f"The suite 'tiny' is not trained yet: no {place / MANIFEST}. Run: bitlaw train tiny --out {place}"
        )
    return open_local(place)
