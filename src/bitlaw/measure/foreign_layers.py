"""Layers that another tool quantized, seen from outside: in one way for all tools, whatever their kernels and files.

The weights a layer computes with are its outputs for the identity matrix; the bits it takes are those of its tensors in the
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bitlaw.errors import CheckpointError
from bitlaw.suites.hqq_folder import hqq_bytes, is_hqq_folder
from bitlaw.suites.weights import folder_bytes
from bitlaw.sweep import Decoder
from bitlaw.sweep.layers import LinearLayer, linear_layers

SAME_WEIGHT = 2.0**-8  # relative difference up to which a weight was only cast to 16 bits


def block_layers(model: nn.Module) -> list[LinearLayer]:
    """Return the linear layers of all decoder blocks, in order. Raises CheckpointError for a mixture of experts."""
    decoder = Decoder(model)
    layers = [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]
    if any(layer.stacked for layer in layers):
        raise CheckpointError(
            f"{type(model).__name__} is a mixture of experts: experts in another tool's layout cannot be compared with it yet. "
            "Measure it with bitlaw's own methods."
        )
    return layers


@torch.no_grad()
def effective_weight(module: Any, in_features: int, *, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Return the weights a linear layer of any kind computes with, [out, in] float32: its outputs for the identity.

    Rounding the inputs of a layer (W8A8) does not change them: a row of the identity is one largest value and zeros.
    """
    bias = getattr(module, "bias", None)
    kept = None if bias is None else bias.detach().clone()
    try:
        if bias is not None:
            bias.zero_()  # in place: tools that keep parameters elsewhere let none be taken away
        outputs: torch.Tensor = module(torch.eye(in_features, dtype=dtype, device=device)[None])[0]
        if bias is not None and module.bias.any():  # it was a copy
            outputs = outputs - module.bias
    finally:
        if bias is not None:
            bias.copy_(kept)
    return outputs.T.float()


def weights_seen(layers: Sequence[LinearLayer], foreign: Any) -> dict[str, Any]:
    """Return how many layers and parameters differ from the original by more than a cast, and the SQNR over all."""
    count = parameters = 0
    signal = noise = 0.0
    for layer in layers:
        weight = layer.weight.float()
        found = effective_weight(
            foreign.get_submodule(layer.name), weight.shape[1], dtype=foreign.dtype, device=str(weight.device)
        )
        if found.shape != weight.shape:
            raise CheckpointError(f"{layer.name} is {list(found.shape)} there, {list(weight.shape)} in the original.")
        signal += float(weight.double().square().sum())
        if torch.allclose(found, weight, rtol=SAME_WEIGHT, atol=0.0):
            continue
        count += 1
        parameters += weight.numel()
        noise += float((found - weight).double().square().sum())
    return {
        "quantized_layers": count,
        "quantized_parameters": parameters,
        "sqnr_db": float(10.0 * np.log10(signal / noise)) if noise else float("inf"),
    }


def stored_bits(folder: Path, layers: Sequence[LinearLayer]) -> float | None:
    """Return the bits that the layers' tensors take in the files, biases apart, over their weights; None if not found."""
    sizes = hqq_bytes(folder) if is_hqq_folder(folder) else folder_bytes(folder)
    bits = 0
    for layer in layers:
        own = [n for name, n in sizes.items() if name.startswith(f"{layer.name}.") and name != f"{layer.name}.bias"]
        if not own:
            return None
        bits += 8 * sum(own)
    return bits / sum(layer.stored.numel() for layer in layers)
