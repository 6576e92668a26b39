"""Tensors inside tuples, lists and dicts, put on another device."""

from __future__ import annotations

from typing import Any

import torch


def moved(given: Any, device: torch.device, known: dict[int, torch.Tensor] | None = None) -> Any:
    """Return the same with all tensors on the device; anything else inside stays as it is.

    known: by id, what was moved to it before and is still held; a tensor that stands in several places is moved once.
    """
    if isinstance(given, torch.Tensor):
        if given.device == device:
            return given
        found = given.to(device) if known is None or id(given) not in known else known[id(given)]
        if known is not None:
            known[id(given)] = found
        return found
    if type(given) in (tuple, list):
        return type(given)(moved(one, device, known) for one in given)
    if type(given) is dict:
        return {name: moved(one, device, known) for name, one in given.items()}
    return given
