"""Unpacking of archives that come from another machine: files and folders inside the target, nothing else."""

from __future__ import annotations

import tarfile
from pathlib import Path


def extract(archive: tarfile.TarFile, out: Path) -> None:
    """Unpack. Raises tarfile.TarError for a member that is no file or folder, or that would lie outside `out`."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(out, filter="data")
        return
    for member in archive.getmembers():  # Python before 3.11.4 has no filters
        inside = (out / member.name).resolve().is_relative_to(out.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is not a file or folder inside the archive.")
    archive.extractall(out)
