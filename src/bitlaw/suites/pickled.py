"""Weights in PyTorch's pickle format, rewritten as safetensors: older revisions on hubs have nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bitlaw.errors import CheckpointError


def to_safetensors(folder: Path, names: Sequence[str]) -> None:
    """Replace the pickled weight files of a folder by one `model.safetensors`. Only tensors are unpickled, no code is run.

    Tensors that share memory are stored once a name. Raises CheckpointError for a file that holds anything else.
    """
    import torch
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        try:
            held = torch.load(folder / name, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle, zip and torch errors of many kinds: a file that is not weights
            raise CheckpointError(f"{folder / name} does not hold plain weights: {type(error).__name__}.") from error
        tensors |= {key: value.contiguous().clone() for key, value in held.items() if isinstance(value, torch.Tensor)}
    temporary = folder / ".model.safetensors.partial"
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(folder / "model.safetensors")
    for name in (*names, "pytorch_model.bin.index.json"):
        (folder / name).unlink(missing_ok=True)
