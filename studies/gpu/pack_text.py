"""Tokenize a training text once, here, and pack the ids small enough to travel: a machine with GPUs then has no text to read.

    python studies/gpu/pack_text.py studies/mini-pythia-2/plan.toml FOLDER --parts 2

Run it where the plan's paths lead (a folder with corpus/ and tokenizer/). FOLDER gets `text-0.tar`, ...: each holds a
part of the ids as 16-bit numbers under xz; the first also the tokenizer and what a suite says of its text. `run.py --text`
takes a folder with all of them.
"""

from __future__ import annotations

import argparse
import lzma
import sys
import tarfile
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from archives import extract

from bitlaw.errors import InputError
from bitlaw.suites.suite import TRAINING_DOCUMENTS
from bitlaw.text.windows import token_hash
from bitlaw.train.corpus import IDS, TEXT_INFO, TOKENIZER, WORK, prepare_text
from bitlaw.train.plan import read_train_plan

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1, "dict_size": 1 << 27}]
"""xz for a row of 16-bit numbers: their two bytes are modelled apart."""


def _compressed(task: tuple[str, int, int]) -> bytes:
    path, start, stop = task
    ids = np.load(path, mmap_mode="r")[start:stop]
    return lzma.compress(np.ascontiguousarray(ids).astype("<u2").tobytes(), format=lzma.FORMAT_XZ, filters=FILTERS)


def pack(prepared: Path, out: Path, parts: int) -> None:
    """Pack a suite's prepared text. Raises InputError for a vocabulary that 16 bits do not hold."""
    ids_file = prepared / WORK / IDS
    ids = np.load(ids_file, mmap_mode="r")
    if int(ids.max()) >= 1 << 16:
        raise InputError(f"The vocabulary reaches id {int(ids.max())}; packing holds ids below {1 << 16}.")
    cuts = [len(ids) * part // parts for part in range(parts + 1)]
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        packed = pool.map(_compressed, [(str(ids_file), a, b) for a, b in pairwise(cuts)])
        for number, content in enumerate(packed):
            with tarfile.open(out / f"text-{number}.tar", "w") as archive, tempfile.NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                archive.add(file.name, f"ids-{number}.xz")
                for name in (TOKENIZER, TEXT_INFO, TRAINING_DOCUMENTS) if number == 0 else ():
                    archive.add(prepared / name, name)


def unpack(packed: Path, out: Path) -> Path:
    """Undo `pack`; return the folder, laid out as a suite's. The ids' hash is checked against what the text says of itself."""
    if (out / WORK / IDS).is_file():
        return out
    (out / WORK).mkdir(parents=True, exist_ok=True)
    archives = sorted(packed.glob("text-*.tar"), key=lambda path: int(path.stem.removeprefix("text-")))
    for archive in archives:
        with tarfile.open(archive) as opened:
            extract(opened, out)
    parts = [out / f"ids-{number}.xz" for number in range(len(archives))]
    with ProcessPoolExecutor() as pool:
        ids = np.concatenate(list(pool.map(_read, parts)))
    told = (out / TEXT_INFO).read_text()
    if f'"{token_hash(ids)}"' not in told:
        raise InputError(f"{packed} does not hold all parts of the text that it names.")
    for part in parts:
        part.unlink()
    np.save(out / WORK / IDS, ids)
    return out


def _read(part: Path) -> np.ndarray:
    return np.frombuffer(lzma.decompress(part.read_bytes()), "<u2").astype(np.int32)


def main() -> int:
    """Read the command line, tokenize, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder)
        (prepared / WORK).mkdir()
        prepare_text(read_train_plan(given.plan), prepared)
        pack(prepared, given.out, given.parts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
