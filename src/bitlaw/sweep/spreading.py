"""One model over several devices: contiguous ranges of blocks, embeddings and head on the first.

    cuda:0   embeddings, norm, head, blocks 0 to 13
    cuda:1   blocks 14 to 29               hidden states go over once at each boundary, and home behind the last block

Each device gets about the same bytes. Blocks are read from disk straight to theirs. The walk does a block's work where the block
is, so devices take turns: more of them hold a larger model, they do not make it faster. The model's own forward pass works too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from bitlaw.errors import InputError
from bitlaw.suites.streamed import StreamedModel, put_tensors
from bitlaw.sweep.decoder import find_blocks
from bitlaw.sweep.moving import moved


def spread(streamed: StreamedModel, devices: Sequence[str | torch.device]) -> nn.Module:
    """Return the streamed model with all its weights, its blocks over the devices; the first is the one it was opened on.

    `streamed` may be closed afterwards. Raises CheckpointError for weights that the files lack, InputError for no device or another first one.
    """
    places = [torch.device(device) for device in devices]
    if not places or places[0] != streamed.device:
        raise InputError(
            f"A model opened on {streamed.device} is spread over devices that begin there, given {places}."
        )
    path = find_blocks(streamed.model)
    streamed.begin(path)
    blocks = list(streamed.model.get_submodule(path).children())
    outside = _bytes(streamed.model) - sum(map(_bytes, blocks))
    placed = ranges([_bytes(block) for block in blocks], outside, len(places))
    for index, (block, number) in enumerate(zip(blocks, placed, strict=True)):
        put_tensors(block, {name: t.to(places[number]) for name, t in streamed.read(index).items()})
        block.to(places[number])  # buffers that no file holds
        block.register_forward_pre_hook(partial(_come, places[number]), with_kwargs=True)
    blocks[-1].register_forward_hook(partial(_go_home, places[0]))
    model: nn.Module = streamed.model
    return model


def ranges(blocks: Sequence[int], outside: int, devices: int) -> list[int]:
    """Return the number of each block's device, rising from 0; bytes of the blocks, and of what lies outside on the first device.

    A block goes where its middle falls when all bytes are laid end to end and cut into equal parts.
    """
    total = outside + sum(blocks)
    middles = [outside + end - size / 2 for end, size in zip(accumulate(blocks), blocks, strict=True)]
    return [min(int(middle * devices / total), devices - 1) for middle in middles]


def describe_places(places: Sequence[torch.device]) -> str:
    """Return which blocks are where in words, such as `blocks 0 to 15 on cuda:0, 16 to 31 on cuda:1`; empty for one device."""
    if len(set(places)) < 2:
        return ""
    starts = [n for n, place in enumerate(places) if n == 0 or place != places[n - 1]]
    ends = [*(start - 1 for start in starts[1:]), len(places) - 1]
    return "blocks " + ", ".join(f"{a} to {b} on {places[a]}" for a, b in zip(starts, ends, strict=True))


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _come(
    place: torch.device, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return moved(arguments, place), moved(keywords, place)


def _go_home(home: torch.device, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
    return moved(output, home)
