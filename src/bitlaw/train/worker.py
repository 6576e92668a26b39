"""A process that trains one model: `python -m bitlaw.train.worker`, started by `run.py`.

It reads its job as one line of JSON on standard input and writes what happens as lines of JSON on standard output. Its
standard input stays open as long as its parent lives: when it closes, the worker ends at once, so a killed run leaves
nothing running.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

from bitlaw.errors import BitlawError
from bitlaw.train.corpus import WORK
from bitlaw.train.files import locked
from bitlaw.train.plan import TrainPlan, train_plan


def run_job(job: dict[str, Any], channel: TextIO) -> int:
    """Train the model of a job, sending progress to `channel`; return the exit code."""

    def send(**event: Any) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    plan: TrainPlan = train_plan(job["plan"])
    model = next(m for m in plan.models if m.name == job["model"])
    out = Path(job["out"])
    try:
        with locked(out / WORK / f"{model.name}.lock", wait=True):
            import torch
            from transformers.utils import logging

            from bitlaw.train.loop import train_model

            bars: Any = logging  # transformers gives it no types
            bars.disable_progress_bar()
            if job["threads"]:
                torch.set_num_threads(job["threads"])
            train_model(
                plan,
                model,
                out,
                text=job["text"],
                device=job["device"],
                state_seconds=job["state_seconds"],
                report=lambda step, loss, rate: send(step=step, loss=loss, tokens_per_second=rate),
            )
    except (BitlawError, OSError) as error:
        send(error=str(error))
        return 1
    except Exception as error:  # the parent reports it and lets the other models finish
        traceback.print_exc()
        send(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock a finishing interpreter waits for
        pass
    os._exit(3)


def main() -> int:
    """Run the job given on standard input."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log, not between the events
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return run_job(job, channel)


if __name__ == "__main__":
    sys.exit(main())
