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
    """One linear layer; `name` is qualified in the model. Its module keeps the weight in whatever layout it computes with.

    transposed   the module keeps [in, out] (GPT-2's Conv1D)
    """

    name: str
    module: nn.Module
    transposed: bool = False

    @property
    def weight(self) -> torch.Tensor:
        """The weight [out, in], contiguous: the module's own tensor, or a copy of one kept transposed. Not to be written to."""
        stored = self.stored.data
        return stored.T.contiguous() if self.transposed else stored

    @property
    def stored(self) -> nn.Parameter:
        """The module's own parameter, in its own layout."""
        parameter = self.module.weight
        assert isinstance(parameter, nn.Parameter)
        return parameter

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.stored.shape[0 if self.transposed else 1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.stored.shape[1 if self.transposed else 0]

    def to_stored(self, weight: torch.Tensor) -> torch.Tensor:
        """Return a weight [out, in] in the module's layout."""
        return weight.T.contiguous() if self.transposed else weight

    def from_stored(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return something in the module's layout, such as its gradient, as [out, in]."""
        return tensor.T.contiguous() if self.transposed else tensor


def linear_layers(decoder: Decoder, index: int) -> list[LinearLayer]:
    """Return the linear layers of a block in the order they were defined."""
    prefix = decoder.block_name(index)
    found = []
    for name, module in decoder.blocks[index].named_modules():
        if isinstance(module, nn.Linear):
            found.append(LinearLayer(f"{prefix}.{name}", module))
        elif _keeps_transposed(module):
            found.append(LinearLayer(f"{prefix}.{name}", module, transposed=True))
    return found


def _keeps_transposed(module: nn.Module) -> bool:
    """Whether a module is transformers' Conv1D: x W + b with W [in, out], `nf` its outputs."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 2 and getattr(module, "nf", None) == weight.shape[1]


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
    statistics = [InputStatistics(layer.in_features, decoder.device) for layer in firsts]
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
    """Give the layers named in `weights` other weights [out, in] for a while; the originals come back at the end."""
    originals = {layer.name: layer.stored.data for layer in layers if layer.name in weights}
    try:
        for layer in layers:
            if layer.name in weights:
                layer.stored.data = layer.to_stored(weights[layer.name])
        yield
    finally:
        for layer in layers:
            if layer.name in originals:
                layer.stored.data = originals[layer.name]


@contextmanager
def watched(layers: Sequence[LinearLayer], note: Callable[[LinearLayer, torch.Tensor], None]) -> Iterator[None]:
    """Call `note(layer, inputs)` whenever one of the layers is about to read its inputs."""

    def hook(layer: LinearLayer) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, inputs: note(layer, inputs[0])

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.module.register_forward_pre_hook(hook(layer)).remove)
        yield
