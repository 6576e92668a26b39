"""The linear layers of a block: which there are, which read the same input, and the statistics of those inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitlaw.quantize.statistics import InputStatistics
from bitlaw.sweep.decoder import Decoder

Stream = list[torch.Tensor]
"""Hidden states of all windows at one depth: chunks of [B, T, H]."""


@dataclass(frozen=True)
class LinearLayer:
    """One linear layer; `name` is qualified in the model, `module.weight` is [out, in]."""

    name: str
    module: nn.Linear


def linear_layers(decoder: Decoder, index: int) -> list[LinearLayer]:
    """Return the linear layers of a block in the order they were defined."""
    prefix = decoder.block_name(index)
    modules = decoder.blocks[index].named_modules()
    return [LinearLayer(f"{prefix}.{name}", module) for name, module in modules if isinstance(module, nn.Linear)]


def input_groups(decoder: Decoder, index: int, hidden: torch.Tensor) -> list[list[LinearLayer]]:
    """Return the layers of a block grouped by the input they read, in the order they are called.

    hidden [B, T, H] is one chunk at the block's entry. Query, key and value share one input, and so one Hessian.
    """
    seen: list[tuple[torch.Tensor, list[LinearLayer]]] = []

    def note(layer: LinearLayer, inputs: torch.Tensor) -> None:
        for other, members in seen:
            if other is inputs:
                members.append(layer)
                return
        seen.append((inputs, [layer]))

    with watched(linear_layers(decoder, index), note):
        decoder.run_block(index, hidden)
    return [members for _, members in seen]


def collect(
    decoder: Decoder,
    index: int,
    groups: Sequence[Sequence[LinearLayer]],
    stream: Stream,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    full_precision: Stream | None = None,
) -> tuple[list[InputStatistics], Stream]:
    """Run a block on a calibration stream; return the statistics of each group's input and the stream behind the block.

    weights: other weights of the block's layers, by name, for this run. full_precision: the 16-bit network's stream at
    this depth, whose inputs (with the block's own weights) are counted beside the stream's as drift.
    """
    firsts = [group[0] for group in groups]
    statistics = [InputStatistics(layer.module.in_features, decoder.device) for layer in firsts]
    of_layer = {layer.name: s for layer, s in zip(firsts, statistics, strict=True)}
    beside: dict[str, torch.Tensor] = {}

    def note(layer: LinearLayer, inputs: torch.Tensor) -> None:
        of_layer[layer.name].add(inputs, beside.get(layer.name))

    behind = []
    for number, hidden in enumerate(stream):
        if full_precision is not None:
            with watched(firsts, lambda layer, inputs: beside.update({layer.name: inputs})):
                decoder.run_block(index, full_precision[number])
        with replaced_weights(linear_layers(decoder, index), weights or {}), watched(firsts, note):
            behind.append(decoder.run_block(index, hidden))
    return statistics, behind


@contextmanager
def replaced_weights(layers: Sequence[LinearLayer], weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Give the layers named in `weights` other weights for a while; the originals come back at the end."""
    originals = {layer.name: layer.module.weight.data for layer in layers if layer.name in weights}
    try:
        for layer in layers:
            if layer.name in weights:
                layer.module.weight.data = weights[layer.name]
        yield
    finally:
        for layer in layers:
            if layer.name in originals:
                layer.module.weight.data = originals[layer.name]


@contextmanager
def watched(layers: Sequence[LinearLayer], note: Callable[[LinearLayer, torch.Tensor], None]) -> Iterator[None]:
    """Call `note(layer, inputs)` whenever one of the layers is about to read its inputs."""

    def hook(layer: LinearLayer) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, inputs: note(layer, inputs[0])

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.module.register_forward_pre_hook(hook(layer)).remove)
        yield
