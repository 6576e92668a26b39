"""The training text as token ids on disk, and the order in which a model sees it.

With T tokens a window, window k reads ids k T .. k T + T: its last label is the first token of the next window, so every
token is predicted once an epoch. Epoch e is the permutation drawn from the generator seeded with (seed, e); the batch of
a step depends on seed and step alone, so a resumed run sees what an undisturbed one does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.suites.suite import TRAINING_DOCUMENTS
from bitlaw.text import corpus_ids, load_tokenizer, open_text, train_tokenizer
from bitlaw.text.windows import token_hash
from bitlaw.train.files import place_folder, replace_file
from bitlaw.train.plan import TrainPlan

TOKENIZER = "tokenizer"
WORK = "work"
IDS = "ids.npy"
TEXT_INFO = "training-text.json"


class Batches:
    """Batches of windows by step: `batch(step)` is int64 [batch_windows, window_tokens + 1], steps counted from 0."""

    def __init__(self, ids: NDArray[np.int32], *, window_tokens: int, batch_windows: int, seed: int) -> None:
        self.windows = (len(ids) - 1) // window_tokens
        if self.windows < 1:
            raise InputError(
                f"The training text has {len(ids)} tokens, but one window needs {window_tokens + 1}. "
                "Use a longer text or shorter windows."
            )
        self._ids = ids
        self._window_tokens = window_tokens
        self._batch_windows = batch_windows
        self._seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            for old in [e for e in self._orders if e < epoch - 1]:
                del self._orders[old]
            self._orders[epoch] = np.random.default_rng([self._seed, epoch]).permutation(self.windows)
        return self._orders[epoch]

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the windows of a step."""
        places = range(step * self._batch_windows, (step + 1) * self._batch_windows)
        starts = np.array([self._order(p // self.windows)[p % self.windows] for p in places]) * self._window_tokens
        return self._ids[starts[:, None] + np.arange(self._window_tokens + 1)].astype(np.int64)


def prepare_text(plan: TrainPlan, out: Path) -> Mapping[str, Any]:
    """Make tokenizer, document hashes and token ids in `out` unless they are there; return what the manifest says of the text."""
    info = out / TEXT_INFO
    ids_file = out / WORK / IDS
    if info.is_file() and ids_file.is_file():
        known: Mapping[str, Any] = json.loads(info.read_text())
        return known
    source = open_text(plan.text)
    if plan.tokenizer == "train":
        place_folder(out / TOKENIZER, lambda folder: train_tokenizer(source, vocabulary=plan.vocabulary, folder=folder))
    elif not (out / TOKENIZER).exists():
        given = load_tokenizer(Path(plan.tokenizer))
        place_folder(out / TOKENIZER, given.save_pretrained)
    tokenizer = load_tokenizer(out / TOKENIZER)
    ids, documents = corpus_ids(tokenizer, source)
    Batches(ids, window_tokens=plan.window_tokens, batch_windows=plan.batch_windows, seed=0)  # long enough, or an error
    replace_file(out / TRAINING_DOCUMENTS, lambda path: _save(path, documents))
    replace_file(ids_file, lambda path: _save(path, ids))
    end = tokenizer.eos_token_id
    text = {
        "source": source.label,
        "documents": len(documents),
        "tokens": len(ids),
        "token_hash": token_hash(ids),
        "vocabulary": max(tokenizer.get_vocab().values()) + 1,
        "end_of_text": -1 if end is None else int(end),
        "window_tokens": plan.window_tokens,
    }
    replace_file(info, lambda path: path.write_text(json.dumps(text, indent=1) + "\n"))
    return text


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
