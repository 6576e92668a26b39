"""The driver: texts -> windows, plan -> jobs, what the store has is skipped, each result is stored the moment it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bitlaw.errors import InputError
from bitlaw.measure.job import Job, put_job, run_job, small
from bitlaw.measure.placing import choose_devices, gpu_places, spread_over, visible_gpus
from bitlaw.measure.plan import MeasurePlan
from bitlaw.measure.streaming import check_stream
from bitlaw.measure.texts import kept_windows
from bitlaw.progress import Progress
from bitlaw.records import Measurement
from bitlaw.store import Store, open_store
from bitlaw.suites import Suite, SuiteCheckpoint, open_suite
from bitlaw.text import Windows, open_text
from bitlaw.workers import Outcome, run_on_ray, run_tasks, usable_cores


@dataclass(kw_only=True)
class MeasureSummary:
    """What one call of `measure` did: numbers of measurements, and a line for every failure.

    `duplicates`: variants left out because another of the plan, their value, is the same under another name.
    """

    measured: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    duplicates: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return vars(self).copy()


def measure(
    suite: Suite | str | Path,
    plan: MeasurePlan,
    store: Store | str | Path,
    *,
    models: Sequence[str] = (),
    steps: Sequence[int] = (),
    device: str = "auto",
    dtype: str = "float32",
    workers: int = 0,
    shard: str = "0/1",
    ray: str = "none",
    stream: str = "auto",
    memory: int = 0,
    progress: Progress | None = None,
) -> MeasureSummary:
    """Measure every variant of the plan on every checkpoint of the suite that the store does not hold yet.

    models, steps: only these (default all). dtype: of weights and activations, `float32` or `bfloat16`. workers: processes;
    0 chooses (the cores, for small models on a CPU; one for each GPU that `cuda` sees, a checkpoint at a time).
    shard `i/n`: every n-th checkpoint starting with the i-th, for job
    arrays. ray: address of a Ray cluster whose machines see the suite's folder, `local` to start one, `none` to run
    here; this process alone writes the store. stream: read a checkpoint block by block, `yes` or `no`; `auto` does where
    its weights would take more than half of the device's free memory. memory: bytes on the device that activations and
    work may take, 0 for what is free: what does not fit waits in host memory, and variants are walked in groups.
    Each checkpoint's measurements are stored as soon as it ends, so an interruption loses at most the
    checkpoints under way. A failed measurement is stored as such and tried again by the next call.
    Raises InputError for a suite, text, plan or store that cannot be used, before anything is measured; an error in
    one checkpoint is raised after the others have been measured.
    """
    check_stream(stream)
    opened = store if isinstance(store, Store) else open_store(store)
    try:
        return _measure(
            suite if isinstance(suite, Suite) else open_suite(suite),
            plan,
            opened,
            models=models,
            steps=steps,
            device=choose_devices(device),
            dtype=dtype,
            workers=workers,
            shard=shard,
            ray=ray,
            stream=stream,
            memory=memory,
            progress=progress or Progress(),
        )
    finally:
        if opened is not store:
            opened.close()


def _measure(
    suite: Suite,
    plan: MeasurePlan,
    store: Store,
    *,
    models: Sequence[str],
    steps: Sequence[int],
    device: str,
    dtype: str,
    workers: int,
    shard: str,
    ray: str,
    stream: str,
    memory: int,
    progress: Progress,
) -> MeasureSummary:
    summary = MeasureSummary(duplicates=dict(plan.duplicates))
    held = store.keys(state="ok")
    jobs: list[Job] = []
    for checkpoint in _chosen(suite, models, steps, shard):
        evaluation, calibration = _windows(plan, suite, checkpoint)
        everything = Job(
            checkpoint=checkpoint,
            variants=plan.variants,
            evaluation=evaluation,
            calibration=calibration,
            batch_windows=plan.batch_windows,
            device=device,
            dtype=dtype,
            stream=stream,
            memory=memory,
            compile=plan.compile,
        )
        missing = tuple(v for v in plan.variants if everything.asked(v).key not in held)
        summary.skipped += len(plan.variants) - len(missing)
        if missing:
            jobs.append(Job(**{**vars(everything), "variants": missing}))
    if not jobs:
        return summary
    jobs.sort(key=lambda job: -job.checkpoint.checkpoint.parameters)
    total = sum(len(job.variants) for job in jobs)
    if ray != "none" and "," in device:
        raise InputError(f"--device {device} names devices of this machine, and Ray has its own. Give --device cuda.")
    places = [] if ray != "none" else gpu_places(device, workers, visible_gpus())
    wide, jobs = _spread(jobs, places)
    processes = len(places) or workers or (usable_cores() if device == "cpu" and all(map(small, jobs)) else 1)
    progress.update("measure", done=0, total=total)
    first_error: BaseException | None = None
    if ray == "none":
        outcomes = _run(wide, jobs, processes, places)
    else:
        outcomes = run_on_ray(run_job, jobs, address=ray, gpus=1.0 if device.startswith("cuda") else 0.0)
    for outcome in outcomes:
        if outcome.error is not None:
            first_error = first_error or outcome.error
            summary.failures.append(f"{outcome.task.name}: {outcome.error}")
            progress.log(f"{outcome.task.name}: {outcome.error}")
        done = outcome.result or []
        store.add(done)
        count_outcomes(summary, done, progress)
        progress.update("measure", done=summary.measured + summary.failed, total=total, note=outcome.task.name)
    if first_error is not None:
        raise first_error
    return summary


def _run(
    wide: Sequence[Job], alone: Sequence[Job], processes: int, places: Sequence[str]
) -> Iterator[Outcome[Job, list[Measurement]]]:
    """Run the jobs that take several devices one after the other in this process, then the others side by side."""
    if wide:
        yield from run_tasks(run_job, wide, workers=1)
        torch.cuda.empty_cache()  # what this process keeps for itself the others would miss
    yield from run_tasks(run_job, alone, workers=processes, places=places, put=put_job)


def _spread(jobs: Sequence[Job], places: Sequence[str]) -> tuple[list[Job], list[Job]]:
    """Return the jobs whose model is spread over several of the places, with those, and the jobs that go to one place each."""
    wide: list[Job] = []
    alone: list[Job] = []
    for job in jobs:
        known = job.checkpoint.checkpoint
        numbers = job.checkpoint.described.parameters_total or known.parameters
        size = numbers * int(getattr(torch, job.dtype).itemsize)
        several = "" if job.stream == "yes" else spread_over(size, places)
        (wide if several else alone).append(put_job(job, several) if several else job)
    return wide, alone


def count_outcomes(summary: MeasureSummary, done: Sequence[Measurement], progress: Progress) -> None:
    """Add measurements to a summary, and a line for each that failed."""
    for m in done:
        if m.seen.state == "ok":
            summary.measured += 1
            continue
        summary.failed += 1
        line = f"{m.asked.checkpoint.model} step {m.asked.checkpoint.step}, {m.asked.variant.label}: {m.seen.reason}"
        summary.failures.append(line)
        progress.log(f"failed: {line}")


def _chosen(suite: Suite, models: Sequence[str], steps: Sequence[int], shard: str) -> list[SuiteCheckpoint]:
    known = {c.described.model for c in suite.checkpoints}
    for model in models:
        if model not in known:
            raise InputError(f"Suite {suite.name!r} has no model {model!r}. Its models: {', '.join(sorted(known))}.")
    index, slash, count = shard.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise InputError(f"shard={shard!r} is not of the form i/n with 0 <= i < n, such as 0/8.")
    taken = {c.described.step for c in suite.checkpoints}
    for step in steps:
        if step not in taken:
            near = min(taken, key=lambda known: abs(known - step))
            raise InputError(f"Suite {suite.name!r} has no step {step}. The nearest is {near}.")
    chosen = [
        c
        for c in suite.checkpoints
        if (not models or c.described.model in models) and (not steps or c.described.step in steps)
    ]
    return chosen[int(index) :: int(count)]


def evaluation_windows_of(plan: MeasurePlan, suite: Suite) -> Windows:
    """Return the plan's evaluation windows for the suite's first checkpoint, as `measure` takes them."""
    evaluation, _ = _windows(plan, suite, suite.checkpoints[0])
    return evaluation


LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""What the families' configs call the longest window; a model with ALiBi may have none."""
LONGEST_WINDOW = 2048  # tokens, where the plan leaves the length to the model


def _windows(plan: MeasurePlan, suite: Suite, checkpoint: SuiteCheckpoint) -> tuple[Windows, Windows]:
    """Return evaluation and calibration windows. Raises InputError for text the suite was trained on or too short."""
    checkpoint.ready()
    length = window_length(plan.window_tokens, checkpoint, suite)
    evaluation = kept_windows(checkpoint, open_text(plan.evaluation), length, windows=plan.evaluation_windows or None)
    suite.check_no_overlap(evaluation)
    calibration = kept_windows(
        checkpoint, open_text(plan.calibration), length, windows=plan.calibration_windows, seed=plan.calibration_seed
    )
    return evaluation, calibration


def window_length(asked: int, checkpoint: SuiteCheckpoint, suite: Suite) -> int:
    """Return the tokens of a window: as asked, or for 0 what the suite was trained on, else the model's own length.

    The model's own is taken up to LONGEST_WINDOW.
    """
    told = asked or int(suite.training_text.get("window_tokens") or 0)
    if told:
        return told
    config = json.loads((checkpoint.path / "config.json").read_text())
    own = next((int(config[name]) for name in LENGTHS if config.get(name)), LONGEST_WINDOW)
    return min(own, LONGEST_WINDOW)
