"""Processes that train one model each, as many side by side as there are slots; what they say comes through one queue.

Not `workers.run_tasks`: its pool of processes is lost as a whole when one is killed, which costs a measurement that is made again,
but here would stop trainings of hours. Each of these has a log of its own, whose end says how it died.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitlaw.errors import InputError
from bitlaw.progress import Progress
from bitlaw.train.corpus import WORK
from bitlaw.train.plan import ModelPlan, TrainPlan
from bitlaw.workers import usable_cores

LOG_LINES = 3  # of a dead worker that are told


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """A running process, the model it trains, and the slot (hence the GPU) it has."""

    process: subprocess.Popen[str]
    model: ModelPlan
    slot: int


def train_models(
    plan: TrainPlan,
    models: Sequence[ModelPlan],
    folder: Path,
    *,
    text: Mapping[str, Any],
    device: str,
    workers: int | None,
    state_seconds: float,
    progress: Progress,
    on_checkpoint: Callable[[], None],
) -> dict[str, str]:
    """Train models side by side, the longest first; return the reason for each that failed, by name."""
    devices = find_devices(device)
    count = workers or (usable_cores() if devices == ("cpu",) else len(devices))
    slots = list(range(min(len(models), count)))
    waiting = sorted(models, key=lambda m: cost(m, text["vocabulary"]))
    events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
    running: dict[str, _Worker] = {}
    failures: dict[str, str] = {}
    kept: dict[str, int] = {}
    try:
        while waiting or running:
            while waiting and slots:
                model, slot = waiting.pop(), slots.pop(0)
                job = {
                    "plan": plan.as_dict(),
                    "model": model.name,
                    "out": str(folder),
                    "text": dict(text),
                    "device": devices[slot % len(devices)],
                    "threads": 1 if devices == ("cpu",) else 0,
                    "state_seconds": state_seconds,
                }
                process = _start(job, _log(folder, model.name), events)
                running[model.name] = _Worker(process=process, model=model, slot=slot)
            name, event = events.get()
            if "exit" in event:
                slots.append(running.pop(name).slot)
                if event["exit"] and name not in failures:
                    failures[name] = _last_words(event["exit"], _log(folder, name))
                if name in failures:
                    progress.log(f"train {name}: failed: {failures[name]}")
                on_checkpoint()
            elif "error" in event:
                failures[name] = event["error"]
            else:
                model = running[name].model
                _show(plan, model, event, progress)
                passed = sum(step <= event["step"] for step in plan.steps(model))
                if passed != kept.get(name):
                    kept[name] = passed
                    on_checkpoint()
    finally:
        for worker in running.values():
            worker.process.kill()
    return failures


def find_devices(device: str) -> tuple[str, ...]:
    """Return the devices meant: `auto` is every CUDA device, or the CPU if there is none; `cuda` is every one."""
    if device == "cpu":
        return ("cpu",)
    import torch

    found = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    if device == "auto":
        return found or ("cpu",)
    chosen = found if device == "cuda" else tuple(name for name in found if name == device)
    if not chosen:
        raise InputError(f"No device {device!r} here. Known: auto, {', '.join(('cpu', *found))}.")
    return chosen


def cost(model: ModelPlan, vocabulary: int) -> float:
    """Return about how long a model takes, in multiplications: tokens times weights; only the order matters."""
    return model.tokens * model.width * (12 * model.layers * model.width + vocabulary)


def _log(folder: Path, name: str) -> Path:
    return folder / WORK / f"{name}.log"


def _start(job: Mapping[str, Any], log: Path, events: queue.Queue[tuple[str, dict[str, Any]]]) -> subprocess.Popen[str]:
    environment = os.environ | ({"OMP_NUM_THREADS": str(job["threads"])} if job["threads"] else {})
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bitlaw.train.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )
    threading.Thread(target=_listen, args=(process, json.dumps(job), job["model"], events), daemon=True).start()
    return process


def _listen(
    process: subprocess.Popen[str], job: str, name: str, events: queue.Queue[tuple[str, dict[str, Any]]]
) -> None:
    """Give the worker its job, pass on its events, then its exit code. Its input stays open: it ends when that closes."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a worker is started with pipes")
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()
        for line in process.stdout:
            events.put((name, json.loads(line)))
    except (BrokenPipeError, ValueError):
        process.kill()  # it takes no job, or its events cannot be read: its exit code and log say why
    finally:
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        events.put((name, {"exit": process.returncode}))


def _last_words(code: int, log: Path) -> str:
    """Say how a worker died that gave no reason of its own: signal or exit code, and the end of its log."""
    how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = [line.strip() for line in log.read_text().splitlines() if line.strip()][-LOG_LINES:]
    return f"{how}{': ' if lines else ''}{' | '.join(lines)}"


def _show(plan: TrainPlan, model: ModelPlan, event: Mapping[str, Any], progress: Progress) -> None:
    total = plan.last_step(model) * plan.step_tokens
    note = f"{event['tokens_per_second'] / 1e3:.1f}k tokens/s, loss {event['loss']:.3f}"
    progress.update(f"train {model.name}", done=event["step"] * plan.step_tokens, total=total, note=note)
