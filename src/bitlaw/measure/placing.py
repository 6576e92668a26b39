"""Which devices measure what: one checkpoint a GPU; one that is too large for a GPU and not for several, spread over those."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bitlaw.errors import InputError
from bitlaw.measure.streaming import LARGEST_SHARE, free_bytes


def choose_device(device: str) -> str:
    """Return `cuda` or `cpu` for `auto`; anything else is checked. Raises InputError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" or (device.startswith("cuda") and torch.cuda.is_available()):
        return device
    raise InputError(f"Device {device!r} is not available here. Use 'cpu' or 'auto'.")


def choose_devices(devices: str) -> str:
    """As `choose_device`, of several with commas between them, such as `cuda:0,cuda:2`."""
    return ",".join(choose_device(device.strip()) for device in devices.split(","))


def visible_gpus() -> int:
    """Return how many GPUs this process sees."""
    return torch.cuda.device_count()


def gpu_places(device: str, workers: int, gpus: int) -> list[str]:
    """Return the device of each worker process where there are several, else nothing.

    Several are named (`cuda:0,cuda:2`), or `cuda` is and the process sees two or more: one process each, or as many as
    `workers` says, in turn. A single one that is named (`cuda:1`) and workers=1 stay in one process.
    """
    several = device.split(",") if "," in device else [f"cuda:{n}" for n in range(gpus)] if device == "cuda" else []
    if len(several) < 2 or workers == 1:
        return []
    return [several[number % len(several)] for number in range(workers or len(several))]


def capacity(device: str) -> int:
    """Return the bytes of weights that a device may hold whole: LARGEST_SHARE of a GPU's memory, or of what is free elsewhere."""
    # Asking a GPU for what is free takes memory on it, in this process; its size does not.
    size = torch.cuda.get_device_properties(device).total_memory if device.startswith("cuda") else free_bytes(device)
    return int(LARGEST_SHARE * size)


def spread_over(weight_bytes: int, places: Sequence[str]) -> str:
    """Return the devices, with commas, that together hold what no single one does: the first few. Empty if one does, or not all do."""
    several = list(dict.fromkeys(places)) if all(place.startswith("cuda") for place in places) else list(places)
    held = 0
    for number, place in enumerate(several):
        held += capacity(place)
        if held >= weight_bytes:
            return ",".join(several[: number + 1]) if number else ""
    return ""
