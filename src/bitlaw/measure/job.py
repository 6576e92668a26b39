"""One job: a checkpoint and the variants of it that are missing. Pure in the store's sense: it returns measurements and writes nothing."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import bitlaw
from bitlaw.errors import MeasurementError
from bitlaw.kernels import available
from bitlaw.measure.streaming import read_by_blocks
from bitlaw.records import Asked, Made, Measurement, Seen, TextSet, Variant
from bitlaw.suites import SuiteCheckpoint
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import SweptVariant, reads_calibration, spread, sweep
from bitlaw.text import Windows
from bitlaw.workers import Report


@dataclass(frozen=True, kw_only=True)
class Job:
    """A checkpoint, what is missing of it, and the texts. Shapes of the windows: [windows, window_tokens]."""

    checkpoint: SuiteCheckpoint
    variants: tuple[Variant, ...]
    evaluation: Windows
    calibration: Windows
    batch_windows: int
    device: str
    dtype: str
    stream: str = "auto"
    memory: int = 0
    compile: str = "auto"

    @property
    def name(self) -> str:
        """Model and step, for progress lines."""
        return f"{self.checkpoint.checkpoint.model} step {self.checkpoint.checkpoint.step}"

    def asked(self, variant: Variant) -> Asked:
        """What is asked of one variant; one that looks at no calibration text has none."""
        calibrated = reads_calibration(variant)
        return Asked(
            checkpoint=self.checkpoint.checkpoint,
            variant=variant,
            calibration=self.calibration.text_set if calibrated else TextSet(),
            evaluation=self.evaluation.text_set,
        )


def put_job(job: Job, device: str) -> Job:
    """Return the job for one device of several, or for several with commas between them."""
    return dataclasses.replace(job, device=device)


def run_job(job: Job, report: Report) -> list[Measurement]:
    """Measure the job's variants in one pass; `report(done=, total=, note=)` is called along the way.

    A baseline whose loss is not finite makes every variant `failed`. Raises CheckpointError for weights that cannot be
    loaded and InputError for a format that cannot serve a layer.
    """
    started = time.perf_counter()
    threads = torch.get_num_threads()
    if job.device == "cpu" and small(job):
        torch.set_num_threads(1)  # the same sums, in the same order, whatever the machine's cores
    try:
        job.checkpoint.fetch()
        devices = job.device.split(",")
        by_blocks = len(devices) == 1 and read_by_blocks(job.stream, job.checkpoint, job.device, job.dtype)
        how = ", block by block" if by_blocks else f", over {len(devices)} devices" if len(devices) > 1 else ""
        note = f"{job.name}{how}"
        try:
            with _opened(job, by_blocks) as model:
                swept = sweep(
                    model,
                    job.variants,
                    _ids(job.evaluation.ids),
                    _ids(job.calibration.ids),
                    batch_windows=job.batch_windows,
                    memory=job.memory,
                    compile=job.compile,
                    watch=lambda done, total: report(done=done, total=total, note=note),
                )
            seen = {id(s.variant): s for s in swept}
        except MeasurementError as error:
            failed = Seen(state="failed", reason=str(error))
            seen = {id(v): SweptVariant(variant=v, seen=failed, seconds=0.0) for v in job.variants}
    finally:
        job.checkpoint.release()
        torch.set_num_threads(threads)
    shared = (time.perf_counter() - started - sum(s.seconds for s in seen.values())) / len(job.variants)
    return [_measurement(job, seen[id(variant)], shared) for variant in job.variants]


@contextmanager
def _opened(job: Job, by_blocks: bool) -> Iterator[nn.Module | StreamedModel]:
    """Have the job's model for a while: whole, over several devices, or to be read block by block."""
    first, *others = job.device.split(",")
    if others:
        opened, _ = job.checkpoint.stream(first, job.dtype)
        with closing(opened):
            model = spread(opened, [first, *others])
        yield model
        return
    if not by_blocks:
        yield job.checkpoint.load(job.device, job.dtype)[0]
        return
    streamed, _ = job.checkpoint.stream(job.device, job.dtype)
    with closing(streamed):
        yield streamed


SMALL_PARAMETERS = 50_000_000


def small(job: Job) -> bool:
    """Whether the model is small enough that one thread a process is the faster way to use the cores."""
    return job.checkpoint.checkpoint.parameters < SMALL_PARAMETERS


def _ids(ids: NDArray[np.int32]) -> torch.Tensor:
    return torch.from_numpy(ids.astype(np.int64))


def _measurement(job: Job, swept: SweptVariant, shared: float) -> Measurement:
    seen = swept.seen
    if seen.state == "ok":
        fields = {**vars(seen), "bytes_scored": int(job.evaluation.bytes_scored.sum())}
        seen = Seen(**fields)
    made = Made(
        bitlaw_version=bitlaw.__version__,
        torch_version=torch.__version__,
        transformers_version=version("transformers"),
        device=device_name(job.device),
        dtype=job.dtype,
        kernel=_kernel(job, swept),
        seconds=swept.seconds + shared,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=swept.notes,
    )
    return Measurement(asked=job.asked(swept.variant), seen=seen, made=made)


def _kernel(job: Job, swept: SweptVariant) -> str:
    """Return what computed: `torch` or `triton`, and `compiled` or `whole-model` where blocks were run in that way."""
    kernel = "triton" if available(torch.device(job.device.partition(",")[0])) else "torch"
    return kernel + " compiled" * swept.compiled + " whole-model" * bool(swept.whole_model)


def device_name(device: str) -> str:
    """Return the hardware's name: the GPU's, or `cpu`; of several with commas between them `2 x` their name, once for each kind."""
    names = [torch.cuda.get_device_name(one) if one.startswith("cuda") else "cpu" for one in device.split(",")]
    counts = Counter(names)
    return ", ".join(name if len(names) == 1 else f"{count} x {name}" for name, count in counts.items())
