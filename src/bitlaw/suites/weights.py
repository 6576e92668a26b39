"""What safetensors files say about a checkpoint without loading it: are they whole, how many parameters, which hash.

A file is 8 bytes (length n of the header, little-endian), n bytes of JSON (name -> dtype, shape, data_offsets), data.

N, non-embedding parameters, follows Pythia (Biderman et al. 2023, table 1): all parameters but the input embedding, the
output head and learned position embeddings; norms and biases count. Pythia-160M: 85,056,000.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitlaw.errors import CheckpointError

EMBEDDINGS = re.compile(
    r"(^|\.)(embed_in|embed_tokens|wte|tok_embeddings|word_embeddings|wpe|embed_positions|embed_out|lm_head)\.(weight|bias)$"
)
BUFFERS = re.compile(r"\.(attention\.bias|attn\.bias|attn\.masked_bias|masked_bias|rotary_emb\.inv_freq)$")
HASH_CACHE = ".bitlaw-weights.json"


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Parameters of a checkpoint: N non-embedding, and all of them."""

    non_embedding: int
    total: int


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a checkpoint, sorted. Raises CheckpointError when one is missing."""
    if not folder.is_dir():
        raise CheckpointError(f"No checkpoint folder {folder}.")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is not an index of weights. Download the checkpoint again.") from error
        files = tuple(folder / name for name in names)
    else:
        files = tuple(sorted(folder.glob("*.safetensors")))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing)}, which its index names. Download the checkpoint again."
        )
    if not files:
        other = " It has pytorch_model.bin: save it as safetensors first." if list(folder.glob("*.bin")) else ""
        raise CheckpointError(f"No weights in {folder}: expected model.safetensors.{other}")
    return files


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as a file's header tells it: its shape and the bytes it takes."""

    shape: tuple[int, ...]
    size_bytes: int


def read_header(file: Path) -> Mapping[str, StoredTensor]:
    """Return tensor name -> what is stored, from a file's header. Raises CheckpointError when the file is not whole."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 0 < length <= size - 8 else b""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        stored = {
            name: StoredTensor(
                shape=tuple(entry["shape"]), size_bytes=entry["data_offsets"][1] - entry["data_offsets"][0]
            )
            for name, entry in tensors.items()
        }
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{file} has no readable safetensors header: truncated, or not such a file.") from error
    if size != 8 + length + end:
        raise CheckpointError(f"{file} is truncated: {size} bytes where its header says {8 + length + end}.")
    return stored


def read_shapes(file: Path) -> Mapping[str, tuple[int, ...]]:
    """Return tensor name -> shape from a file's header. Raises CheckpointError when the file is not whole."""
    return {name: stored.shape for name, stored in read_header(file).items()}


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> ParameterCount:
    """Return the counts for tensors by name. A head tied to the embedding is stored once, or left out by its name."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items() if not BUFFERS.search(name)}
    embeddings = sum(size for name, size in sizes.items() if EMBEDDINGS.search(name))
    total = sum(sizes.values())
    return ParameterCount(non_embedding=total - embeddings, total=total)


def folder_shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Return tensor name -> shape over all weight files of a checkpoint."""
    return {name: shape for file in weight_files(folder) for name, shape in read_shapes(file).items()}


def folder_bytes(folder: Path) -> Mapping[str, int]:
    """Return tensor name -> bytes over all weight files of a checkpoint."""
    return {name: stored.size_bytes for file in weight_files(folder) for name, stored in read_header(file).items()}


def weights_sha256(folder: Path, files: tuple[Path, ...] = ()) -> str:
    """Return the SHA-256 over the weight files in the order of their names: what a checkpoint is, wherever it lies.

    files: those of another kind than safetensors. Kept in `.bitlaw-weights.json` beside them under size and modification time, when the folder can be written.
    """
    files = files or weight_files(folder)
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    cache = folder / HASH_CACHE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no usable cache: hash the files
        known = json.loads(cache.read_text())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    with contextlib.suppress(OSError):  # a folder that cannot be written is hashed each time
        temporary = folder / f"{HASH_CACHE}.{os.getpid()}"
        temporary.write_text(json.dumps({"stamp": stamp, "sha256": digest.hexdigest()}))
        temporary.replace(cache)
    return digest.hexdigest()
