"""A causal language model taken apart where the sweep needs it: embed, each block alone, head. Found by structure.

The blocks are the outermost ModuleList that holds the most parameters, inside what the model itself calls its decoder
(`get_decoder`: the text tower of a multimodal model). What a block is called with (masks, rotary
angles, position ids) is recorded from the model's own forward, with every block replaced by one that passes its input
on; the head is the model's own forward with the blocks replaced by the hidden states to score. So no family needs a
table of names, and the arithmetic is transformers' own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitlaw.errors import CheckpointError, InputError
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep.compiled import CompiledBlocks, Inputs
from bitlaw.sweep.moving import moved
from bitlaw.sweep.residency import Residency

CACHE_KEYWORDS = ("past_key_values", "layer_past", "past_key_value")
"""What the families of transformers call a block's key-value cache."""


@dataclass(frozen=True)
class BlockCall:
    """What one block is called with besides its hidden states."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class _Stand(nn.Module):
    """Stands in for a block: calls `act(hidden, arguments, keywords)`; other attributes are the real block's."""

    def __init__(self, real: nn.Module, act: Callable[..., Any]) -> None:
        super().__init__()
        self._real = [real]  # in a list, so that it is not a submodule
        self._act = act

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._real[0], name)

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        hidden, rest, keywords = _split_hidden(arguments, keywords)
        return self._act(hidden, rest, keywords)


def _split_hidden(
    arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    if arguments:
        return arguments[0], arguments[1:], keywords
    return keywords["hidden_states"], (), {k: v for k, v in keywords.items() if k != "hidden_states"}


class Decoder:
    """A model in evaluation mode, cut at its blocks. Shapes: B windows, T tokens, H width, V vocabulary."""

    def __init__(self, model: nn.Module | StreamedModel) -> None:
        whole = model.model if isinstance(model, StreamedModel) else model
        self.model: nn.Module = whole.eval()
        self._path = find_blocks(self.model)
        self.blocks: list[nn.Module] = list(self.model.get_submodule(self._path).children())
        self._residency: Residency | None = None
        if isinstance(model, StreamedModel):
            model.begin(self._path)
            self._residency = Residency(model, self.blocks)
        self.places = [self.device if self.streamed else _place(block, self.device) for block in self.blocks]
        """Where each block computes; another device than the model's where blocks are spread (spreading.py)."""
        self._returns_tuple: bool | None = None
        self._calls: dict[tuple[int, ...], list[BlockCall]] = {}
        self._chained: dict[tuple[int, ...], bool] = {}
        self.kept: frozenset[int] = frozenset()
        """Modules, by id, whose weights are never quantized though they are in a block."""
        self.compiled: CompiledBlocks | None = None
        """What runs blocks where no hook need see inside; None runs them eagerly."""

    @property
    def device(self) -> torch.device:
        """Where token ids enter and logits leave; all of the model, unless blocks are spread. `meta` for one of shapes alone."""
        places = (p.device for p in self.model.parameters() if not p.is_meta)
        return next(places, torch.device("meta"))

    @property
    def streamed(self) -> bool:
        """Whether a block has weights only inside `with decoder.block(index)`."""
        return self._residency is not None

    @contextmanager
    def block(self, index: int) -> Iterator[nn.Module]:
        """Have a block's weights at hand for a while; of a streamed model one block at a time has them, the next is being read.

        May be nested for the same block. For a model that is all in memory this does nothing.
        """
        if self._residency is None:
            yield self.blocks[index]
            return
        self._residency.acquire(index)
        try:
            yield self.blocks[index]
        finally:
            self._residency.release(index)

    def block_name(self, index: int) -> str:
        """Qualified name of a block, such as `gpt_neox.layers.3`."""
        return f"{self._path}.{index}"

    @torch.no_grad()
    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the hidden states that enter the first block. ids [B, T] -> [B, T, H]."""
        entered: list[torch.Tensor] = []
        calls: list[BlockCall] = []
        passed_on: list[bool] = []

        def act(hidden: torch.Tensor, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            if not entered:
                entered.append(hidden)
            passed_on.append(hidden is entered[0])
            calls.append(BlockCall(arguments, keywords))
            if self._returns_tuple is None:
                with self.block(0) as first:
                    self._returns_tuple = isinstance(first(hidden, *arguments, **keywords), tuple | list)
            return (hidden,) if self._returns_tuple else hidden

        with self._replaced(act):
            self.model(input_ids=ids, use_cache=False)
        self._calls[tuple(ids.shape)] = self._at_blocks(calls)
        self._chained[tuple(ids.shape)] = len(calls) == len(self.blocks) and all(passed_on)
        return entered[0]

    def _at_blocks(self, calls: list[BlockCall]) -> list[BlockCall]:
        """Return the calls with what each block is given on the block's device."""
        if len(calls) != len(self.places):
            return calls
        known: dict[torch.device, dict[int, torch.Tensor]] = {place: {} for place in self.places}
        return [
            BlockCall(moved(call.arguments, place, known[place]), moved(call.keywords, place, known[place]))
            for call, place in zip(calls, self.places, strict=True)
        ]

    def is_chain(self, shape: tuple[int, ...]) -> bool:
        """Whether, when windows of this shape were embedded, each block was called once, with what the one before returned."""
        return self._chained[shape]

    @torch.no_grad()
    def run_block(self, index: int, hidden: torch.Tensor, cache: object | None = None) -> torch.Tensor:
        """Run one block eagerly. hidden [B, T, H] -> [B, T, H]; windows of this shape must have been embedded before.

        cache: what attention hands keys and values to (`update(keys, values, ...)`) and reads them back from.
        """
        hidden, call = self._entering(index, hidden)
        if cache is not None:
            call = self._with_cache(index, call, cache)
        output = self.blocks[index](hidden, *call.arguments, **call.keywords)
        result: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
        return result

    @torch.no_grad()
    def move(self, index: int, hidden: torch.Tensor, cache: object | None = None) -> torch.Tensor:
        """As `run_block`, compiled where the sweep compiles: then hooks on the block's layers are not called."""
        if self.compiled is None:
            return self.run_block(index, hidden, cache)
        assert cache is None, "a sweep that rounds a cache is not compiled"
        hidden, call = self._entering(index, hidden)
        return self.compiled.run(self.blocks[index], hidden, call.arguments, call.keywords)

    @torch.no_grad()
    def layer_inputs(
        self, index: int, names: Sequence[str], hidden: torch.Tensor, *, through: bool
    ) -> tuple[Inputs, torch.Tensor | None]:
        """Return what layers of a block read, compiled; names are qualified, in the order of the calls.

        hidden [B, T, H] -> by name [..., in], and with `through` what the block makes [B, T, H], else None.
        """
        assert self.compiled is not None
        hidden, call = self._entering(index, hidden)
        prefix = f"{self.block_name(index)}."
        inside = [name.removeprefix(prefix) for name in names]
        found, behind = self.compiled.inputs(
            self.blocks[index], inside, hidden, call.arguments, call.keywords, through=through
        )
        return {f"{prefix}{name}": inputs for name, inputs in found.items()}, behind

    def _entering(self, index: int, hidden: torch.Tensor) -> tuple[torch.Tensor, BlockCall]:
        """Return hidden states [B, T, H] where the block is, and what the block is called with besides."""
        return hidden.to(self.places[index]), self._calls[tuple(hidden.shape[:2])][index]

    def _with_cache(self, index: int, call: BlockCall, cache: object) -> BlockCall:
        """Return the call with the cache where this family's block takes it. Raises InputError if it takes none."""
        block = self.blocks[index]
        parameters = list(inspect.signature(block.forward).parameters)
        for keyword in CACHE_KEYWORDS:
            place = parameters.index(keyword) - 1 if keyword in parameters else len(call.arguments)
            if place < len(call.arguments):
                return BlockCall((*call.arguments[:place], cache, *call.arguments[place + 1 :]), call.keywords)
            if keyword in parameters or keyword in call.keywords:
                return BlockCall(call.arguments, {**call.keywords, keyword: cache})
        raise InputError(
            f"{self.block_name(index)} ({type(block).__name__}) takes no key-value cache: none of "
            f"{', '.join(CACHE_KEYWORDS)} is among its arguments ({', '.join(parameters)}). Leave kv_cache at none."
        )

    @torch.no_grad()
    def head(self, ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits of the hidden states that left the last block. ids [B, T], hidden [B, T, H] -> [B, T, V]."""

        last = hidden.to(self.device)

        def act(_: torch.Tensor, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            return (last,) if self._returns_tuple else last

        with self._replaced(act):
            logits: torch.Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits

    @contextmanager
    def _replaced(self, act: Callable[..., Any]) -> Iterator[None]:
        parent_name, _, own_name = self._path.rpartition(".")
        parent = self.model.get_submodule(parent_name)
        real = parent.get_submodule(own_name)
        setattr(parent, own_name, nn.ModuleList([_Stand(block, act) for block in self.blocks]))
        try:
            yield
        finally:
            setattr(parent, own_name, real)


def _place(block: nn.Module, otherwise: torch.device) -> torch.device:
    """Return the device of a block's weights."""
    return next((p.device for p in block.parameters() if not p.is_meta), otherwise)


def decoder_of(model: nn.Module) -> str:
    """Return the name of what the model itself calls its decoder (the text tower of a multimodal model), or none."""
    get_decoder: Any = getattr(model, "get_decoder", None)
    own = model if get_decoder is None else get_decoder()
    return next((name for name, module in model.named_modules() if module is own), "")


def find_blocks(model: nn.Module) -> str:
    """Return the name of the decoder's outermost ModuleList with the most parameters. Raises CheckpointError if there is none."""
    found: dict[str, int] = {}
    decoder = decoder_of(model)
    inside = f"{decoder}." if decoder else ""
    for name, module in model.named_modules():
        if not name.startswith(inside):
            continue
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = sum(p.numel() for p in module.parameters())
    if not found:
        raise CheckpointError(
            f"{type(model).__name__} has no list of decoder blocks (no torch.nn.ModuleList). "
            "Give a causal language model that transformers loads with AutoModelForCausalLM."
        )
    return max(found, key=lambda name: found[name])
