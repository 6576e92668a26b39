"""Folders that the hqq package saves: config.json, and qmodel.pt with the tensors and settings of every layer.

transformers has its own words for HQQ checkpoints (`quant_method: hqq`) but can neither write nor read one in the versions
that bitlaw is tested with, so these folders are loaded by hqq itself.

    qmodel.pt   layer name -> {W_q: codes, scale, zero, bias, nbits: 4, group_size: 64, axis: 1, ...} or {weight, bias}
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlaw.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HQQ_FILE = "qmodel.pt"
PARAMETERS = ("W_q", "scale", "zero")
"""What of a layer takes bits: codes, scales and zero points."""


def is_hqq_folder(folder: Path) -> bool:
    """Whether the hqq package saved the folder."""
    return (folder / HQQ_FILE).is_file()


def read_hqq_layers(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the quantized layers of a folder by name. Raises CheckpointError for a file that is not whole."""
    import torch

    try:
        stored = torch.load(folder / HQQ_FILE, map_location="cpu", weights_only=True, mmap=True)
        layers = {name: state for name, state in stored.items() if "W_q" in state}
    except Exception as error:  # a damaged archive raises whatever its reader happens to trip over
        raise CheckpointError(
            f"{folder / HQQ_FILE} cannot be read as an HQQ checkpoint: {str(error).splitlines()[0]}"
        ) from error
    if not layers:
        raise CheckpointError(f"{folder / HQQ_FILE} has no quantized layer (no tensor named W_q).")
    return layers


def hqq_settings(folder: Path) -> Mapping[str, Any]:
    """Return the settings of a folder as transformers words them, `quant_config` with `nbits` and `group_size`.

    Layers with settings of their own are told by leaving `weight_quant_params` out.
    """
    layers = read_hqq_layers(folder).values()
    told = {(int(state["nbits"]), int(state["group_size"] or 0)) for state in layers}
    if len(told) > 1:
        return {"quant_config": {}}
    ((bits, size),) = told
    return {"quant_config": {"weight_quant_params": {"nbits": bits, "group_size": size}}}


def hqq_bytes(folder: Path) -> Mapping[str, int]:
    """Return `layer.tensor` -> bytes of what the quantized layers keep beside their biases."""
    return {
        f"{name}.{part}": state[part].numel() * state[part].element_size()
        for name, state in read_hqq_layers(folder).items()
        for part in PARAMETERS
        if hasattr(state.get(part), "numel")
    }


def load_hqq_model(folder: Path, dtype: str, device: str) -> PreTrainedModel:
    """Return the model as hqq loads it. Raises ImportError without the package, CheckpointError for a folder it cannot load."""
    import torch
    from hqq.models.hf.base import AutoHQQHFModel

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            loaded: PreTrainedModel = AutoHQQHFModel.from_quantized(
                str(folder), compute_dtype=getattr(torch, dtype), device=device
            )
    except Exception as error:  # hqq raises bare exceptions
        raise CheckpointError(f"hqq cannot load {folder}: {type(error).__name__}: {error}") from error
    return loaded
