"""What a reader must know before using a dataset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Card:
    """A dataset's card: `text` is Markdown (how made, device, versions, licences, known defects); `study` the plan's folder."""

    name: str
    summary: str
    licence: str
    study: str
    text: str
