"""Whether a checkpoint is read whole or block by block: as asked, or by how much of the device's free memory its weights take."""

from __future__ import annotations

import math
import os

import torch

from bitlaw.errors import InputError
from bitlaw.suites import SuiteCheckpoint
from bitlaw.suites.weights import folder_shapes

STREAM = ("auto", "yes", "no")
LARGEST_SHARE = 0.5
"""Of free memory, for weights that are kept whole; the rest is for activations, statistics and the variants' weights."""


def check_stream(how: str) -> None:
    """Raise InputError unless it is one of STREAM."""
    if how not in STREAM:
        raise InputError(f"stream={how!r} is not known. Accepted: {', '.join(STREAM)}.")


def read_by_blocks(how: str, checkpoint: SuiteCheckpoint, device: str, dtype: str) -> bool:
    """Whether to read a checkpoint block by block: `yes`, `no`, or `auto`, if its weights take over half of what is free."""
    if how != "auto":
        return how == "yes"
    return weight_bytes(checkpoint, dtype) > LARGEST_SHARE * free_bytes(device)


def weight_bytes(checkpoint: SuiteCheckpoint, dtype: str) -> int:
    """Return the bytes of all weights in that dtype."""
    numbers = sum(math.prod(shape) for shape in folder_shapes(checkpoint.path).values())
    return numbers * int(getattr(torch, dtype).itemsize)


def free_bytes(device: str) -> int:
    """Return the bytes free on a device: of the GPU, or of main memory that programs may still take."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as facts:
            available = next(line.split()[1] for line in facts if line.startswith("MemAvailable:"))
        return int(available) * 1024
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
