"""Independent tasks in worker processes of one torch thread each, results as they come, orphans never left behind.

One thread each, because a result must not depend on how many cores the machine has, and because two processes of one
thread finish small models sooner than one process of two. A worker watches its parent and ends with it: after a
`kill -9` of the driver nothing keeps running. On a GPU, or with one worker, the tasks run in this process.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bitlaw.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
Report = Callable[..., None]
"""Called by a task as `report(done=..., total=..., note=...)`."""

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of a task: its result, or the error that ended it."""

    task: T
    result: R | None
    error: BaseException | None


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[T, Report], R],
    tasks: Sequence[T],
    *,
    workers: int,
    places: Sequence[str] = (),
    put: Callable[[T, str], T] | None = None,
    watch: Callable[[T, dict[str, Any]], None] = lambda task, news: None,
) -> Iterator[Outcome[T, R]]:
    """Run `function(task, report)` for every task and yield outcomes as they come, in any order.

    `function` is a module-level function and tasks can be pickled. With `workers` of 1 or a single task everything runs
    in this process and errors still come as outcomes. `places` names one place (a GPU) for each worker: it takes tasks as
    `put(task, place)` makes them, and outcomes name the tasks as given. `watch(task, news)` gets what a task reports, in this process.
    A worker that dies without an error (killed, out of memory) gives its tasks a RuntimeError outcome that says so.
    """
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            outcome = _run_here(function, put(task, places[0]) if put and places else task, watch)
            yield Outcome(task, outcome.result, outcome.error)
        return
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        news = manager.Queue()
        free = manager.Queue()
        for place in places[:workers]:
            free.put(place)
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)),
            context,
            initializer=_start_worker,
            initargs=(os.getpid(), free if places else None, max(1, usable_cores() // workers) if places else 1),
        )
        try:
            waiting: dict[Future[R], int] = {
                pool.submit(_run_in_worker, function, task, number, news, put): number
                for number, task in enumerate(tasks)
            }
            while waiting:
                done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                while not news.empty():
                    number, what = news.get()
                    watch(tasks[number], what)
                for future in done:
                    yield _outcome(tasks[waiting.pop(future)], future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_on_ray(
    function: Callable[[T, Report], R], tasks: Sequence[T], *, address: str, gpus: float = 0.0
) -> Iterator[Outcome[T, R]]:
    """Run `function(task, report)` for every task on a Ray cluster and yield outcomes as they come, in any order.

    `address` is a cluster's, or `local` to start one on this machine; `gpus` is what a task needs of them. A task whose
    worker is lost is run again by Ray, up to three times; progress inside a task is not shown.
    Raises InputError if Ray is not installed or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed. Run: pip install 'bitlaw[ray]'.") from error
    try:
        ray.init(address=None if address == "local" else address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"No Ray cluster answers at {address!r}: {error}. Give its address, or 'local'.") from error
    try:
        remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=3)(_run_in_ray)
        waiting = {remote.remote(function, task): number for number, task in enumerate(tasks)}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            task = tasks[waiting.pop(done[0])]
            try:
                yield Outcome(task, ray.get(done[0]), None)
            except ray.exceptions.RayTaskError as error:
                yield Outcome(task, None, error.cause if isinstance(error.cause, Exception) else error)
            except ray.exceptions.RayError as error:
                yield Outcome(task, None, RuntimeError(f"Ray lost the task: {error}"))
    finally:
        ray.shutdown()


def _run_in_ray(function: Callable[[T, Report], R], task: T) -> R:
    return function(task, lambda **what: None)


def _run_here(function: Callable[[T, Report], R], task: T, watch: Callable[[T, dict[str, Any]], None]) -> Outcome[T, R]:
    try:
        return Outcome(task, function(task, lambda **what: watch(task, what)), None)
    except Exception as error:
        return Outcome(task, None, error)


def _outcome(task: T, future: Future[R]) -> Outcome[T, R]:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        error = RuntimeError(
            "the worker process died without an error: it was killed, or the machine ran out of memory"
        )
    return Outcome(task, None if error else future.result(), error)


_place = ""  # of this worker process


def _start_worker(parent: int, free: Any, threads: int) -> None:
    import torch

    global _place
    if free is not None:
        _place = free.get()
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _run_in_worker(
    function: Callable[[T, Report], R], task: T, number: int, news: Any, put: Callable[[T, str], T] | None
) -> R:
    return function(put(task, _place) if put and _place else task, lambda **what: news.put((number, what)))
