"""A process that adds to a store without end, three measurements at a time, and is killed; what must be there afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from bitlaw.records import Measurement
from tests.store.store_samples import sample

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.store.store_samples import sample
from bitlaw.store import open_store
with open_store(sys.argv[2]) as store:
    for number in range(int(sys.argv[3]), 100_000):
        store.add([sample(3 * number), sample(3 * number + 1), sample(3 * number + 2)])
        print(number, flush=True)
"""


def acknowledged(where: object, begin: int, lines: int) -> int:
    """Let a writer add from number `begin` on, kill it with SIGKILL once it has said so many; return the last it said."""
    command = [sys.executable, "-c", WRITER, str(ROOT), str(where), str(begin)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    return said[-1]


def whole_adds(kept: list[Measurement], last: int) -> int:
    """Assert that the store kept what was acknowledged up to `last`, adds whole or not at all; return how many."""
    steps = [m.asked.checkpoint.step for m in kept]
    assert steps == list(range(len(steps)))
    assert len(steps) % 3 == 0
    assert last + 1 <= len(steps) // 3 <= last + 2  # at most the add under way beyond what was said
    assert kept == [sample(n) for n in steps]
    return len(steps) // 3
