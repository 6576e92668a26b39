"""Text out of files, streaming: plain or JSONL, with or without zstd. Nothing is held but one block.

Plain text has no documents, so it is cut into blocks: at the first blank line after 16 kB, at the first line end after
32 kB, or at the last space before 32 kB of a longer line. Blocks joined again are the text, to the last character.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from bitlaw.errors import InputError

BLOCK_CHARACTERS = 16_384
LONGEST_BLOCK = 2 * BLOCK_CHARACTERS
CHUNK_BYTES = 1 << 18


def read_texts(path: Path) -> Iterator[str]:
    """Yield the documents of a file: one a JSON line for `.jsonl`, blocks of about 16 kB otherwise.

    Raises InputError for a file that is missing, not UTF-8, truncated, or has a line without a text.
    """
    name = path.name.removesuffix(".zst")
    try:
        if name.endswith((".jsonl", ".json")):
            yield from _json_texts(path, _lines(_chunks(path), longest=None))
        else:
            yield from _blocks(_lines(_chunks(path), longest=LONGEST_BLOCK))
    except OSError as error:
        raise InputError(f"Cannot read the text {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.object[error.start]:#04x}). Convert it first."
        ) from error


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, decompressed if its name ends in .zst; a frame without its end is an error."""
    with path.open("rb") as file:
        if not path.name.endswith(".zst"):
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            return
        import zstandard

        frame = None
        while chunk := file.read(CHUNK_BYTES):
            while chunk:
                frame = frame or zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
                try:
                    yield frame.decompress(chunk)
                except zstandard.ZstdError as error:
                    raise InputError(f"{path} is not readable as zstd: {error}.") from error
                chunk, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise InputError(f"{path} is truncated: its zstd frame has no end. Copy the file again.")


def _lines(chunks: Iterator[bytes], *, longest: int | None) -> Iterator[str]:
    """Yield lines with their line feed; with `longest` (characters) a longer line comes in pieces, cut after a space."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            *pieces, tail = _pieces(line + "\n", longest)
            yield from pieces
            yield tail
        *pieces, rest = _pieces(rest, longest)
        yield from pieces
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _pieces(line: str, longest: int | None) -> list[str]:
    """Return a line in pieces no longer than `longest`; where it is cut depends on what stands before the cut only."""
    pieces = []
    while longest is not None and len(line) > longest:
        cut = line.rfind(" ", 1, longest) + 1 or longest
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _json_texts(path: Path, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path} line {number} is not JSON: {error.msg}.") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise InputError(f'{path} line {number} has no text. Each line must be like {{"text": "..."}}.')
        if entry["text"]:
            yield entry["text"]


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    block: list[str] = []
    size = 0
    for line in lines:
        if block and size + len(line) > LONGEST_BLOCK:
            yield "".join(block)
            block, size = [], 0
        block.append(line)
        size += len(line)
        if size >= BLOCK_CHARACTERS and not line.strip():
            yield "".join(block)
            block, size = [], 0
    if block:
        yield "".join(block)
