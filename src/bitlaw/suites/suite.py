"""A suite: its checkpoints in order of model size and tokens, and the text they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.suites.checkpoint import SuiteCheckpoint
from bitlaw.text import Windows

TRAINING_DOCUMENTS = "training-documents.npy"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Checkpoints of one study. `training_text` is what the manifest says of it, empty where unknown."""

    name: str
    folder: Path
    checkpoints: tuple[SuiteCheckpoint, ...]
    training_text: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, smallest first."""
        return tuple(dict.fromkeys(c.described.model for c in self.checkpoints))

    def training_documents(self) -> NDArray[np.uint64] | None:
        """Return the sorted hashes of the documents trained on, or None where the suite does not say."""
        path = self.folder / TRAINING_DOCUMENTS
        return np.load(path) if path.is_file() else None

    def check_no_overlap(self, windows: Windows) -> bool:
        """Return True if no document of the windows was trained on, False if nobody can know; raise InputError if some were."""
        trained = self.training_documents()
        if trained is None:
            return False
        shared = len(np.intersect1d(trained, windows.documents))
        if shared:
            raise InputError(
                f"{windows.name} shares {shared} of its {len(windows.documents)} documents with the training text of "
                f"suite {self.name!r}. Evaluate on another text, for example its evaluation split."
            )
        return True
