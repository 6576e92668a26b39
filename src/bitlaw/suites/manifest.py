"""`suite.json`: what a folder of checkpoints holds. Written by training, or by hand.

    {"bitlaw_suite": 1, "name": "mine", "checkpoints": [{"path": "small/step-100", "tokens": 1e6}]}

`path` (relative to the folder) and `tokens` are all that a hand-written entry needs. What else it may say: model, step,
parameters, parameters_total, learning_rate, peak_learning_rate, schedule, training_seed, epochs, native,
weights_sha256. The manifest may name a `tokenizer` folder, for checkpoints that have none, and say what the `training_text` was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bitlaw.errors import InputError, UnknownName, require_count

MANIFEST = "suite.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One checkpoint. None where nobody knows; `tokens` is D; `epochs` is how often the training text was seen.

    `native` names the way a model was trained in few bits (`bitnet1.58`); `none` for 16 bits.
    """

    path: str
    tokens: int
    model: str = ""
    step: int | None = None
    parameters: int | None = None
    parameters_total: int | None = None
    learning_rate: float | None = None
    peak_learning_rate: float | None = None
    schedule: str | None = None
    training_seed: int | None = None
    epochs: float | None = None
    native: str = "none"
    weights_sha256: str | None = None

    @property
    def model_name(self) -> str:
        """The model's name: as given, else the first folder of the path."""
        return self.model or Path(self.path).parts[0]

    @property
    def step_number(self) -> int:
        """The step: as given, else the number at the end of the path (`step-100`), else 0."""
        digits = re.search(r"(\d+)$", self.path)
        return self.step if self.step is not None else int(digits[1]) if digits else 0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of a `suite.json`; `tokenizer` is empty when each checkpoint has its own."""

    name: str
    checkpoints: tuple[ManifestEntry, ...]
    tokenizer: str = ""
    training_text: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder. Raises InputError that names what is missing or wrong."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. A suite is a folder with a {MANIFEST}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("bitlaw_suite") != MANIFEST_VERSION:
        raise InputError(f'{path} does not say "bitlaw_suite": {MANIFEST_VERSION}, the version that is known here.')
    entries = content.get("checkpoints")
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path} has no "checkpoints". List at least one {{"path": ..., "tokens": ...}}.')
    checkpoints = tuple(_entry(path, number, entry) for number, entry in enumerate(entries, start=1))
    paths = [entry.path for entry in checkpoints]
    doubled = sorted({p for p in paths if paths.count(p) > 1})
    if doubled:
        raise InputError(f"{path} lists {doubled[0]!r} more than once.")
    return Manifest(
        name=str(content.get("name") or folder.resolve().name),
        checkpoints=checkpoints,
        tokenizer=str(content.get("tokenizer") or ""),
        training_text=content.get("training_text") or {},
    )


def _entry(path: Path, number: int, entry: Any) -> ManifestEntry:
    known = {f.name: f for f in fields(ManifestEntry)}
    if not isinstance(entry, dict):
        raise InputError(f"{path}: checkpoint {number} is not an object.")
    for key in entry:
        if key not in known:
            raise UnknownName(f"key of checkpoint {number} in {path}", key, known)
    missing = [f.name for f in known.values() if f.default is MISSING and f.name not in entry]
    if missing:
        raise InputError(f"{path}: checkpoint {number} lacks {', '.join(missing)}.")
    values = dict(entry)
    for key, value in values.items():
        text = "str" in str(known[key].type)
        if value is not None and not (isinstance(value, str) if text else isinstance(value, int | float)):
            raise InputError(
                f"{path}: checkpoint {number}: {key}={value!r} should be {'text' if text else 'a number'}."
            )
    for name, what in (("tokens", "training tokens"), ("parameters", "parameters"), ("parameters_total", "parameters")):
        if values.get(name) is not None:
            values[name] = round(require_count(f"{path}: checkpoint {number}: {name}", values[name], what))
    return ManifestEntry(**values)


def write_manifest(
    folder: Path,
    *,
    name: str,
    checkpoints: Sequence[ManifestEntry],
    tokenizer: str,
    training_text: Mapping[str, Any],
) -> None:
    """Write `suite.json` in one stroke: a reader sees the old one or the new one."""
    content = {
        "bitlaw_suite": MANIFEST_VERSION,
        "name": name,
        "tokenizer": tokenizer,
        "training_text": dict(training_text),
        "checkpoints": [asdict(entry) for entry in checkpoints],
    }
    temporary = folder / f"{MANIFEST}.{os.getpid()}"
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(folder / MANIFEST)
