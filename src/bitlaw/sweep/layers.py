"""The linear layers of a block: which there are, which read the same input, and the statistics of those inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitlaw.quantize.statistics import InputStatistics
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.experts import Tap, expert_of, routers, stacked_matrices, watched_experts
from bitlaw.sweep.streams import Stream, advance

Note = Callable[["LinearLayer", torch.Tensor], None]
"""What is done with a layer's input just before the layer reads it."""


@dataclass(frozen=True)
class LinearLayer:
    """One linear layer; `name` is qualified in the model. Its module keeps the weight in whatever layout it computes with.

    parameter    the module's parameter that holds the weight
    transposed   it holds [in, out] (GPT-2's Conv1D)
    expert       which expert of a mixture it is, None outside of one; an expert reads only the tokens routed to it
    stacked      the parameter holds [experts, ...], and this layer is one of them
    """

    name: str
    module: nn.Module
    parameter: str = "weight"
    transposed: bool = False
    expert: int | None = None
    stacked: bool = False

    @property
    def weight(self) -> torch.Tensor:
        """The weight [out, in], contiguous: the module's own tensor, or a copy of one kept transposed. Not to be written to."""
        return self.from_stored(self.stored.data)

    @property
    def stored(self) -> nn.Parameter:
        """The module's own parameter, in its own layout, of all experts where they are stacked."""
        return self.module.get_parameter(self.parameter)

    @property
    def parameter_name(self) -> str:
        """Qualified name of the parameter; experts that are stacked share it."""
        return self.name.rpartition(".")[0] if self.stacked else f"{self.name}.{self.parameter}"

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.stored.shape[-2 if self.transposed else -1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.stored.shape[-1 if self.transposed else -2]

    def to_stored(self, weight: torch.Tensor) -> torch.Tensor:
        """Return a weight [out, in] in the module's layout; of a stacked layer, its own part of that."""
        return (weight.T if self.transposed else weight).contiguous()  # a compiled block has been told its layout

    def from_stored(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return something in the parameter's layout, such as its gradient, as [out, in]."""
        own = tensor[self.expert] if self.stacked else tensor
        return own.T.contiguous() if self.transposed else own


def linear_layers(decoder: Decoder, index: int) -> list[LinearLayer]:
    """Return the linear layers of a block in the order they were defined, of experts one after the other. Routers are left out."""
    prefix = decoder.block_name(index)
    block = decoder.blocks[index]
    left_out, size = routers(block), sum(p.numel() for p in block.parameters())
    found = []
    for name, module in block.named_modules():
        full = f"{prefix}.{name}" if prefix else name
        if name in left_out or id(module) in decoder.kept:
            continue
        if isinstance(module, nn.Linear):
            found.append(LinearLayer(full, module, expert=expert_of(block, name)))
        elif _keeps_transposed(module):
            found.append(LinearLayer(full, module, transposed=True, expert=expert_of(block, name)))
        elif stacks := stacked_matrices(module, size):
            for expert in range(module.get_parameter(next(iter(stacks))).shape[0]):
                for own, transposed in stacks.items():
                    found.append(LinearLayer(f"{full}.{own}.{expert}", module, own, transposed, expert, stacked=True))
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
    found = [members for _, members in seen]
    called = {layer.name for members in found for layer in members}
    waiting = [[layer] for layer in linear_layers(decoder, index) if layer.name not in called]
    return [*found, *waiting]  # experts that got none of this chunk's tokens read some of another


def stages(groups: Sequence[Sequence[LinearLayer]]) -> list[list[Sequence[LinearLayer]]]:
    """Return the groups in steps, each of which reads what the steps before it make: experts side by side, others one by one.

    An expert's matrices come one after the other, in their own order; experts read nothing of each other.
    """
    steps: list[list[Sequence[LinearLayer]]] = []
    place: dict[str, int] = {}
    for group in groups:
        kind = group[0].parameter_name if group[0].stacked else ""
        if kind and kind in place:
            steps[place[kind]].append(group)
            continue
        if kind:
            place[kind] = len(steps)
        steps.append([group])
    return steps


class _Enough(Exception):
    """Raised inside a block behind the last input that is wanted: the rest of the block need not run."""


def collect(
    decoder: Decoder,
    index: int,
    groups: Sequence[Sequence[LinearLayer]],
    stream: Stream,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    full_precision: Stream | None = None,
) -> list[InputStatistics]:
    """Run a block on a calibration stream as far as its last wanted input; return the statistics of each group's input.

    groups are in the order in which the block calls them. weights: other weights of the block's layers, by name, for
    this run. full_precision: the 16-bit network's stream at this depth, whose inputs (with the block's own weights) are
    counted beside the stream's as drift.
    """
    counted = _Counted(decoder, index, groups)
    beside: dict[str, torch.Tensor] = {}
    truth = iter(full_precision) if full_precision is not None else None
    layers = linear_layers(decoder, index)
    for hidden in stream:
        if truth is not None:
            counted.read(next(truth), lambda layer, inputs: beside.update({layer.name: inputs}))
        with replaced_weights(layers, weights or {}):
            counted.read(hidden, counted.note(beside))
    return counted.statistics


def collect_through(
    decoder: Decoder, index: int, groups: Sequence[Sequence[LinearLayer]], stream: Stream
) -> tuple[list[InputStatistics], Stream]:
    """Run a block on a calibration stream; return the statistics of each group's input and the stream behind the block."""
    counted = _Counted(decoder, index, groups)
    note = counted.note({})
    behind = advance(stream, lambda hidden: counted.read_through(hidden, note), keep=True)
    return counted.statistics, behind


class _Counted:
    """The statistics of each group of a block, counted at the group's first layer."""

    def __init__(self, decoder: Decoder, index: int, groups: Sequence[Sequence[LinearLayer]]) -> None:
        self._decoder, self._index = decoder, index
        self._firsts = [group[0] for group in groups]
        self.statistics = [InputStatistics(layer.in_features, layer.stored.device) for layer in self._firsts]
        self._of_layer = {layer.name: s for layer, s in zip(self._firsts, self.statistics, strict=True)}
        self._by_graph = decoder.compiled is not None and decoder.compiled.for_inputs
        # Which expert reads last differs from chunk to chunk.
        self._ordered = all(layer.expert is None for group in groups for layer in group)

    def note(self, beside: Mapping[str, torch.Tensor]) -> Note:
        """Return what counts an input, with what `beside` holds of it."""

        def act(layer: LinearLayer, inputs: torch.Tensor) -> None:
            # An expert's tokens in the 16-bit network are others, so nothing stands beside its inputs.
            self._of_layer[layer.name].add(inputs, None if layer.expert is not None else beside.get(layer.name))

        return act

    def read(self, hidden: torch.Tensor, note: Note) -> None:
        """Run the block as far as the last wanted input, and call `note` with each."""
        if self._by_graph:
            self._compiled(hidden, note, through=False)
            return

        def act(layer: LinearLayer, inputs: torch.Tensor) -> None:
            note(layer, inputs)
            if self._ordered and layer is self._firsts[-1]:
                raise _Enough

        with watched(self._firsts, act), suppress(_Enough):
            self._decoder.run_block(self._index, hidden)

    def read_through(self, hidden: torch.Tensor, note: Note) -> torch.Tensor:
        """Run the block, call `note` with each wanted input, and return what it makes. hidden [B, T, H] -> [B, T, H]."""
        if self._by_graph:
            behind = self._compiled(hidden, note, through=True)
            assert behind is not None
            return behind
        with watched(self._firsts, note):
            return self._decoder.run_block(self._index, hidden)

    def _compiled(self, hidden: torch.Tensor, note: Note, *, through: bool) -> torch.Tensor | None:
        names = [layer.name for layer in self._firsts]
        inputs, behind = self._decoder.layer_inputs(self._index, names, hidden, through=through)
        for layer in self._firsts:
            note(layer, inputs.pop(layer.name))
        return behind


@contextmanager
def replaced_weights(layers: Sequence[LinearLayer], weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Give the layers named in `weights` other weights [out, in] for a while; the originals come back at the end."""
    changed = [layer for layer in layers if layer.name in weights]
    originals = {id(layer.stored): (layer.stored, layer.stored.data) for layer in changed}
    copied: set[int] = set()
    try:
        for layer in changed:
            if layer.stacked:
                if id(layer.stored) not in copied:
                    layer.stored.data = layer.stored.data.clone()
                    copied.add(id(layer.stored))
                layer.stored.data[layer.expert] = layer.to_stored(weights[layer.name])
            else:
                layer.stored.data = layer.to_stored(weights[layer.name])
        yield
    finally:
        for parameter, original in originals.values():
            parameter.data = original


@contextmanager
def watched(layers: Sequence[LinearLayer], note: Note) -> Iterator[None]:
    """Call `note(layer, inputs)` whenever one of the layers is about to read its inputs."""

    def act(layer: LinearLayer, inputs: torch.Tensor) -> None:
        note(layer, inputs)

    with tapped(layers, act):
        yield


@contextmanager
def tapped(
    layers: Sequence[LinearLayer], act: Callable[[LinearLayer, torch.Tensor], torch.Tensor | None]
) -> Iterator[None]:
    """Call `act(layer, inputs)` whenever one of the layers is about to read its inputs; it reads what comes back, if anything."""

    def hook(layer: LinearLayer) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            changed = act(layer, inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        return before

    stacks: dict[int, dict[int, LinearLayer]] = {}
    with ExitStack() as stack:
        for layer in layers:
            if layer.stacked:
                assert layer.expert is not None
                stacks.setdefault(id(layer.stored), {})[layer.expert] = layer
            else:
                stack.callback(layer.module.register_forward_pre_hook(hook(layer)).remove)
        stack.enter_context(watched_experts([_tap(experts, act) for experts in stacks.values()]))
        yield


def _tap(
    experts: Mapping[int, LinearLayer], act: Callable[[LinearLayer, torch.Tensor], torch.Tensor | None]
) -> tuple[nn.Module, nn.Parameter, Tap]:
    """Return what `watched_experts` watches for layers that are stacked in one parameter."""
    any_of_them = next(iter(experts.values()))

    def tap(expert: int, inputs: torch.Tensor) -> torch.Tensor | None:
        return act(experts[expert], inputs) if expert in experts else None

    return any_of_them.module, any_of_them.stored, tap
