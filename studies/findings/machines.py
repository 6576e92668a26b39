"""The same questions answered by a GPU and by a CPU: every `studies/NAME/cpu.parquet` against the shipped records of the same content keys."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from saying import FAILS, HOLDS, Claim, Part

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devices import Pair, paired, table

from bitlaw.records import Measurement
from bitlaw.store import read_parquet

CLOSE = 1e-3  # relative difference of QiD that counts as the same


def found(studies: Path, shipped: Mapping[str, Sequence[Measurement]]) -> list[Pair]:
    """Return CPU and GPU answers to the same questions, of every study that has a cpu.parquet."""
    pairs: list[Pair] = []
    for file in sorted(studies.glob("*/cpu.parquet")):
        pairs += paired(read_parquet(file), shipped.get(file.parent.name, ()))
    return pairs


def of_machines(pairs: Sequence[Pair]) -> Part:
    """The section; pairs: CPU first."""
    apart = [p.errors for p in pairs]
    agree = sum(e <= 2.0 for e in apart)
    close = sum(p.relative < CLOSE for p in pairs)
    devices = _listed(p.other.made.device for p in pairs)
    checkpoints = {(p.one.asked.checkpoint.model, p.one.asked.checkpoint.step) for p in pairs}
    part = Part(title="The same on two machines")
    part.claims = [
        Claim(
            claim="QiD does not depend on the hardware (within two standard errors)",
            whose="assumed by everyone",
            verdict=HOLDS if agree == len(pairs) else FAILS,
            evidence=f"{agree} of {len(pairs)} rows of {len(checkpoints)} checkpoints on a CPU and on {devices} agree, {close} of them to {100 * CLOSE:g} %; "
            f"largest difference {max(apart):.2f} standard errors, relative differences {100 * float(np.median([p.relative for p in pairs])):.3f} % in the median and "
            f"{100 * max(p.relative for p in pairs):.1f} % at most",
        )
    ]  # fmt: skip
    part.text = f"""\
Equal content keys: the same weights, texts and variants, measured on a GPU (the shipped records) and again on a CPU (`studies/*/cpu.parquet`, by
`studies/devices.py`; [studies.md](studies.md)). Standard errors are over windows; both score the same tokens, so two of them is a generous measure, and
the relative difference is told beside. One is the CPU:

{table(pairs)}"""
    return part


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(set(names)))
