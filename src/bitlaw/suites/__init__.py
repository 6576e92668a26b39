"""Suites: which checkpoints exist, what is known about each, and how one is loaded.

To add a suite, write a file with a function `open_<name>(folder: Path | None) -> Suite` and add one line to `SUITES` in
`catalog.py`. Any folder with a `suite.json` (see `manifest.py`) is a suite without that.
"""

from bitlaw.suites.checkpoint import SuiteCheckpoint
from bitlaw.suites.manifest import MANIFEST, ManifestEntry, read_manifest, write_manifest
from bitlaw.suites.opening import SuiteInfo, open_suite, runs_folder, suites
from bitlaw.suites.suite import Suite

__all__ = [
    "MANIFEST",
    "ManifestEntry",
    "Suite",
    "SuiteCheckpoint",
    "SuiteInfo",
    "open_suite",
    "read_manifest",
    "runs_folder",
    "suites",
    "write_manifest",
]
