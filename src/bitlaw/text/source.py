"""Which text: a file, several files or a shipped text, and which part of it: training, evaluation or all.

A document is for evaluation when its 64-bit hash is among the lowest 5 % of all values, otherwise for training:

    hash 0 |== evaluation ==|=================== train ===================| 2^64

The hash sees the content only, so a text that occurs twice, or in two files, is on the same side every time.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError, UnknownName
from bitlaw.text.reading import read_texts

SHIPPED = {"sample": "sample-public-domain.txt.zst"}
"""Texts that come with bitlaw: name -> file in `bitlaw/data`."""
SPLITS = ("train", "evaluation", "all")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text with the hash of its content: the first 8 bytes of BLAKE2b, as an unsigned integer."""

    text: str
    hash: int


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A text and the part of it that is meant.

    `name` is a shipped text, a path, or a pattern such as `corpus/train-*.jsonl.zst` (files in the order of their
    names); `split` is `train`, `evaluation` or `all`; `evaluation_share` is the share of documents kept for evaluation.
    """

    name: str
    split: str = "all"
    evaluation_share: float = 0.05

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UnknownName("text split", self.split, SPLITS)
        if not 0.0 < self.evaluation_share < 1.0:
            raise InputError(f"evaluation_share={self.evaluation_share} is not between 0 and 1. Give for example 0.05.")

    @property
    def label(self) -> str:
        """The source as `open_text` reads it, such as `sample:train`."""
        return self.name if self.split == "all" else f"{self.name}:{self.split}"

    def find_files(self) -> tuple[Path, ...]:
        """Return the files to read. Raises InputError when there is none."""
        if self.name in SHIPPED:
            return (Path(str(resources.files("bitlaw").joinpath("data", SHIPPED[self.name]))),)
        found = sorted(glob.glob(self.name)) if glob.has_magic(self.name) else [self.name]
        files = tuple(Path(name) for name in found)
        if not files or not all(file.is_file() for file in files):
            raise InputError(
                f"No text {self.name!r}. Give a file (.txt, .jsonl, either with .zst), a pattern of files, "
                f"or a shipped text: {', '.join(SHIPPED)}."
            )
        return files

    def documents(self) -> Iterator[Document]:
        """Yield the documents of the split in file order, streaming."""
        threshold = int(self.evaluation_share * 2.0**64)
        for file in self.find_files():
            for text in read_texts(file):
                number = document_hash(text)
                if self.split == "all" or (number < threshold) == (self.split == "evaluation"):
                    yield Document(text=text, hash=number)

    def hashes(self) -> NDArray[np.uint64]:
        """Return the distinct document hashes of the split, sorted."""
        return np.unique(np.fromiter((d.hash for d in self.documents()), dtype=np.uint64))


def document_hash(text: str) -> int:
    """Return the 64-bit content hash of a document: BLAKE2b of its UTF-8 bytes, 8 bytes, big-endian."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def open_text(text: str | Path | TextSource) -> TextSource:
    """Return the source that a string names: `sample:train`, `corpus.jsonl.zst`, `book.txt:evaluation`.

    Without a split the whole text is meant. Raises UnknownName for a split that does not exist and InputError for a
    text that does not.
    """
    if isinstance(text, TextSource):
        source = text
    else:
        name, colon, split = str(text).rpartition(":")
        named = bool(colon) and not set(split) & {"/", "\\"} and not Path(text).exists()
        source = TextSource(name=name, split=split) if named else TextSource(name=str(text))
    source.find_files()  # a missing file is an error here, not at the first document
    return source
