"""Windows of token ids: what a model is trained, calibrated or scored on.

Documents are tokenized one by one and laid end to end, each closed by the end-of-text token if the tokenizer has one.
The row is cut into windows that do not overlap; the tail that fills no window is dropped. No token is put in front.

    document 1          E document 2    E document 3                 E
    |--- window 0 ---|--- window 1 ---|--- window 2 ---|   (dropped)
     s...............  s...............                    s: first token, not scored; the others are

Bytes of a token are those between the end of the token before it and its own end, so spaces that an offset leaves out
still count and the bytes of a document's tokens add up to the document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.records import TextSet
from bitlaw.text.source import Document, TextSource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_DOCUMENTS = 256


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Token ids [windows, window_tokens] of one text, and what is needed to score them honestly.

    `bytes_scored` [windows] counts the text bytes of tokens 1.. of each window, for bits per byte; `documents` are the
    sorted distinct hashes of the documents the windows touch; `end_of_text` is the joining token's id, -1 for none.
    """

    name: str
    ids: NDArray[np.int32]
    bytes_scored: NDArray[np.int64]
    documents: NDArray[np.uint64]
    end_of_text: int

    @property
    def token_hash(self) -> str:
        """SHA-256 of the shape and the ids."""
        return token_hash(self.ids)

    @property
    def text_set(self) -> TextSet:
        """The windows as a record names them."""
        windows, window_tokens = self.ids.shape
        return TextSet(name=self.name, token_hash=self.token_hash, windows=windows, window_tokens=window_tokens)


def token_hash(ids: NDArray[Any]) -> str:
    """Return the SHA-256 of an array of ids: its shape in ASCII, then little-endian int32."""
    digest = hashlib.sha256(str(tuple(ids.shape)).encode())
    digest.update(np.ascontiguousarray(ids, dtype="<i4").tobytes())
    return digest.hexdigest()


def token_windows(
    tokenizer: PreTrainedTokenizerBase,
    source: TextSource,
    window_tokens: int,
    *,
    windows: int | None = None,
    seed: int | None = None,
) -> Windows:
    """Return windows of a text: all, the first `windows`, or with a `seed` that many chosen at random, in text order.

    Raises InputError when the text holds fewer windows than asked, or not one.
    """
    if window_tokens < 2:
        raise InputError(f"window_tokens={window_tokens} scores nothing. Give at least 2.")
    if windows is not None and windows < 1:
        raise InputError(f"windows={windows} is not a number of windows. Give at least 1.")
    end = _end_of_text(tokenizer)
    enough = windows * window_tokens if windows is not None and seed is None else None
    ids, ends, _ = _read(tokenizer, source, end, enough)
    available = len(ids) // window_tokens
    if available < (windows or 1):
        raise InputError(
            f"{source.label} has {len(ids)} tokens: {available} windows of {window_tokens}, but {windows or 1} are needed. "
            "Use a longer text, shorter windows or fewer of them."
        )
    chosen = np.arange(available if windows is None else windows)
    if windows is not None and seed is not None:
        chosen = np.sort(np.random.default_rng(seed).choice(available, size=windows, replace=False))
    return _assemble(tokenizer, source, end, ids, ends, chosen, window_tokens)


def corpus_ids(tokenizer: PreTrainedTokenizerBase, source: TextSource) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Return all token ids of a text in a row, and the sorted distinct hashes of its documents."""
    ids, _, hashes = _read(tokenizer, source, _end_of_text(tokenizer), None)
    return ids, np.unique(np.array(hashes, dtype=np.uint64))


def _end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    end = tokenizer.eos_token_id
    return -1 if end is None else int(end)


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"{type(tokenizer).__name__} has no fast tokenizer, which windows need. Save a tokenizer.json."
        )
    return backend


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, BATCH_DOCUMENTS)):
        yield batch


def _read(
    tokenizer: PreTrainedTokenizerBase, source: TextSource, end: int, enough: int | None
) -> tuple[NDArray[np.int32], list[int], list[int]]:
    """Return the ids in a row, where each document ends in it, and the documents' hashes; stop at `enough` ids."""
    backend = _backend(tokenizer)
    parts: list[NDArray[np.int32]] = []
    ends: list[int] = []
    hashes: list[int] = []
    total = 0
    for batch in _batches(source.documents()):
        for document, encoding in zip(
            batch, backend.encode_batch_fast([d.text for d in batch], add_special_tokens=False)
        ):
            part = np.array(encoding.ids + ([end] if end >= 0 else []), dtype=np.int32)
            total += len(part)
            parts.append(part)
            ends.append(total)
            hashes.append(document.hash)
        if enough is not None and total >= enough:
            break
    return (np.concatenate(parts) if parts else np.zeros(0, np.int32)), ends, hashes


def _assemble(
    tokenizer: PreTrainedTokenizerBase,
    source: TextSource,
    end: int,
    ids: NDArray[np.int32],
    ends: list[int],
    chosen: NDArray[np.int64],
    window_tokens: int,
) -> Windows:
    """Cut the chosen windows and, reading their documents once more, count bytes per token."""
    first = np.searchsorted(ends, chosen * window_tokens, side="right")
    last = np.searchsorted(ends, chosen * window_tokens + window_tokens - 1, side="right")
    touched = np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last)]))
    wanted = set(touched.tolist())
    token_bytes = np.zeros(len(ids), dtype=np.int64)
    hashes: list[int] = []
    numbered = enumerate(islice(source.documents(), int(touched[-1]) + 1))
    for number, document in numbered:
        if number in wanted:
            counts = _bytes_of_tokens(tokenizer, document.text, end)
            token_bytes[ends[number] - len(counts) : ends[number]] = counts
            hashes.append(document.hash)
    at = chosen[:, None] * window_tokens + np.arange(window_tokens)
    return Windows(
        name=source.label,
        ids=ids[at],
        bytes_scored=token_bytes[at][:, 1:].sum(axis=1),
        documents=np.unique(np.array(hashes, dtype=np.uint64)),
        end_of_text=end,
    )


def _bytes_of_tokens(tokenizer: PreTrainedTokenizerBase, text: str, end: int) -> NDArray[np.int64]:
    """Return the bytes of each token of a document [tokens]; what no token covers goes to the last one."""
    encoding = _backend(tokenizer).encode(text, add_special_tokens=False)
    code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    widths = 1 + (code_points >= 0x80).astype(np.int64) + (code_points >= 0x800) + (code_points >= 0x10000)
    position = np.concatenate([[0], np.cumsum(widths)])
    reached = position[np.maximum.accumulate([offset[1] for offset in encoding.offsets] or [0])]
    reached = np.concatenate([reached[: len(encoding.ids)], [position[-1]] if end >= 0 else []]).astype(np.int64)
    if len(reached):
        reached[-1] = position[-1]
    return np.diff(reached, prepend=0)
