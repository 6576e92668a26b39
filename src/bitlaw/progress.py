"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when asked. Work reports; this file draws.

with open_progress("auto") as progress:
    progress.update("train neox-100k", done=4096, total=2_500_000, note="19.2k tokens/s, loss 5.31")
    progress.log("neox-100k: checkpoint at step 40")
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from bitlaw.errors import InputError

if TYPE_CHECKING:
    from rich.progress import TaskID

PLAIN_SECONDS = 10.0  # between two plain lines of one task


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


class Progress:
    """Shows nothing; the base of the two that do. A task is named; `done` and `total` share a unit."""

    def update(self, task: str, *, done: float, total: float, note: str = "") -> None:
        """Say how far a task is."""

    def log(self, line: str) -> None:
        """Say one thing that happened."""

    def close(self) -> None:
        """Stop drawing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class PlainProgress(Progress):
    """One line when a task starts, at most one every ten seconds, and one when it ends; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started: dict[str, float] = {}
        self._printed: dict[str, float] = {}

    def update(self, task: str, *, done: float, total: float, note: str = "") -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        started = self._started.setdefault(task, now)
        ended = done >= total
        if not ended and now - self._printed.get(task, -PLAIN_SECONDS) < PLAIN_SECONDS:
            return
        self._printed[task] = now
        elapsed = now - started
        left = f", {clock(elapsed / done * (total - done))} left" if 0 < done < total and elapsed > 0 else ""
        share = 100.0 * done / total if total else 100.0
        extra = f", {note}" if note else ""
        self.log(f"{task}: {share:3.0f} % after {clock(elapsed)}{left}{extra}")
        if ended:
            self._started.pop(task, None)
            self._printed.pop(task, None)

    def log(self, line: str) -> None:
        """Print the line."""
        print(line, file=self._stream, flush=True)


class RichProgress(Progress):
    """A live bar for each task."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def update(self, task: str, *, done: float, total: float, note: str = "") -> None:
        """Move the bar of the task, making it at the first call."""
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total, note="")
        self._bars.update(self._tasks[task], completed=done, total=total, note=note)

    def log(self, line: str) -> None:
        """Print the line above the bars."""
        self._bars.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the bars as they are and stop redrawing."""
        self._bars.stop()


def open_progress(kind: str = "auto", stream: TextIO | None = None) -> Progress:
    """Return a progress display: `auto` (bars if stderr is a terminal, else plain lines), `bars`, `plain` or `none`."""
    target = sys.stderr if stream is None else stream
    if kind == "auto":
        kind = "bars" if target.isatty() else "plain"
    if kind == "bars":
        return RichProgress()
    if kind == "plain":
        return PlainProgress(target)
    if kind == "none":
        return Progress()
    raise InputError(f"Unknown progress display {kind!r}. Known: auto, bars, plain, none.")
