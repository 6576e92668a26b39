"""Kill the demo three times at random moments (kill -9), go on, and compare its store with an undisturbed run's.

    python benchmarks/demo_kill.py [--undisturbed runs/demo/demo.db] [--kills 3] [--seed 0]

Prints when each kill came, how much was measured by then, and both digests (what was asked and seen, not when).
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bitlaw.store import open_store


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "bitlaw.cli.main", "demo", "--out", str(folder), "--progress", "none"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def held(folder: Path) -> str:
    checkpoints = len(list(folder.glob("tiny/*/step-*")))
    rows = 0
    if (folder / "demo.db").exists():
        with open_store(folder / "demo.db", create=False) as store:
            rows = store.count()
    return f"{checkpoints} checkpoints, {rows} measurements"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--undisturbed", type=Path, help="store of an undisturbed demo (default: run one)")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--longest", type=float, default=120.0, help="a kill comes after 2 to this many seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed = given.undisturbed
        if undisturbed is None:
            undisturbed = Path(scratch) / "whole" / "demo.db"
            start(undisturbed.parent).wait()
        folder = Path(scratch) / "killed"
        for _ in range(given.kills):
            process = start(folder)
            seconds = moments.uniform(2.0, given.longest)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < seconds:
                time.sleep(0.1)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                print(f"killed after {seconds:.1f} s: {held(folder)}", flush=True)
            process.wait()
        code = start(folder).wait()
        print(f"went on to the end (exit code {code}): {held(folder)}")
        with open_store(undisturbed, create=False) as a, open_store(folder / "demo.db", create=False) as b:
            print(f"undisturbed {a.digest()}\nkilled      {b.digest()}\nequal: {a.digest() == b.digest()}")


if __name__ == "__main__":
    main()
