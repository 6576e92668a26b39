"""A process that measures whatever unit is free, on the one GPU it sees, into a store of its own, until told to stop.

    python measurer.py WORK DEVICE NUMBER [late] STUDY.toml ...

`late` waits until all training has ended, so that training has the GPUs to itself and one measurer beside it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from work import Ledger, Study, Unit, present_units, read_study

from bitlaw.measure import measure
from bitlaw.suites import Suite

STOP, TRAINED = "stop", "trained"
AT_ONCE = 3  # checkpoints of a study and pass measured by one call: the texts are tokenized once for them
LONG = 20  # variants of a pass from which on one checkpoint a call is enough
POLL_SECONDS = 1.0
MEASURERS = "BITLAW_MEASURERS_A_GPU"  # how many of these processes share the GPU, told by run.py
SHARED = 0.6  # of a GPU's memory; the rest is for training and for what an estimate forgets


def free_units(studies: list[Study], folder: Path, ledger: Ledger, turn: int = 0) -> list[Unit]:
    """Claim up to AT_ONCE units of one study and pass, the first that are free: first passes of all studies come first.

    `turn` is the study to begin with, so that processes that begin with different ones bring all studies forward.
    """
    order = [*studies[turn % len(studies) :], *studies[: turn % len(studies)]]
    by_suite = {s.suite: s.train for s in studies if s.train is not None}
    present = {s.name: list(present_units(s, folder / s.suite, by_suite[s.suite])) for s in studies}
    for number in range(max(len(s.passes) for s in studies)):
        for study in order:
            mine = [u for u in present[study.name] if study.passes[number : number + 1] == (u.measuring,)]
            taken: list[Unit] = []
            for unit in mine:
                most = 1 if len(unit.measuring.plan.variants) > LONG else AT_ONCE
                if len(taken) < most and ledger.claim(unit.name):
                    taken.append(unit)
            if taken:
                return taken
    return []


def memory_share(device: str) -> int:
    """Return the bytes of its GPU that this process may take beside the others that measure on it; 0 on a CPU."""
    if not device.startswith("cuda"):
        return 0
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    return int(SHARED * total / int(os.environ.get(MEASURERS, "1")))


def measure_units(units: list[Unit], store: Path, device: str, ledger: Ledger) -> None:
    """Measure claimed units and mark them done; an error is told, and its units stay claimed until the next run."""
    first = units[0]
    suite = Suite(
        name=first.suite.name,
        folder=first.suite.folder,
        checkpoints=tuple(u.checkpoint for u in units),
        training_text=first.suite.training_text,
    )
    started = time.monotonic()
    try:
        summary = measure(
            suite, first.measuring.plan, store, device=device, workers=1, stream="no", memory=memory_share(device)
        )
    except Exception:
        traceback.print_exc()
        return
    for unit in units:
        ledger.finish(unit.name)
    names = ", ".join(f"{u.checkpoint.described.model}@{u.checkpoint.described.step}" for u in units)
    took = time.monotonic() - started
    print(f"{first.study} {first.measuring.name}: {names}: {summary.measured} in {took:.1f} s", flush=True)
    for line in summary.failures:
        print(f"failed: {line}", flush=True)


def main(arguments: list[str]) -> int:
    """Measure until the stop file appears, or training has ended and nothing is left."""
    folder, device, number = Path(arguments[0]), arguments[1], arguments[2]
    late = arguments[3] == "late"
    studies = [read_study(Path(p)) for p in arguments[3 + late :]]
    ledger = Ledger(folder)
    (folder / "stores").mkdir(exist_ok=True)
    store = folder / "stores" / f"{number}.db"
    while not (folder / STOP).exists():
        ended = (folder / TRAINED).exists()  # asked before looking, so that the last checkpoints are seen
        units = [] if late and not ended else free_units(studies, folder, ledger, int(number))
        if units:
            measure_units(units, store, device, ledger)
        elif ended:
            return 0
        else:
            time.sleep(POLL_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
