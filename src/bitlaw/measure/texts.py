"""Windows of texts that a process has tokenized, kept for its next call: a validation text takes longer than a small model's variants."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path

from bitlaw.suites import SuiteCheckpoint
from bitlaw.text import TextSource, Windows, token_windows

KEPT = 16
_made: OrderedDict[Hashable, Windows] = OrderedDict()


def _tokenizer_hash(folder: Path) -> str:
    """Return the SHA-256 of a tokenizer's file, or its folder's path where it has none."""
    file = folder / "tokenizer.json"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else str(folder)


def kept_windows(
    checkpoint: SuiteCheckpoint, source: TextSource, window_tokens: int, *, windows: int | None, seed: int | None = None
) -> Windows:
    """Return `token_windows` by the checkpoint's tokenizer, made once a process while tokenizer and text files are the same."""
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in source.find_files()]
    key = (_tokenizer_hash(checkpoint.tokenizer_folder), source, tuple(files), window_tokens, windows, seed)
    if key not in _made:
        tokenizer = checkpoint.load_tokenizer()
        _made[key] = token_windows(tokenizer, source, window_tokens, windows=windows, seed=seed)
        while len(_made) > KEPT:
            _made.popitem(last=False)
    _made.move_to_end(key)
    return _made[key]
