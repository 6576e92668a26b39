"""Fake quantization of the KV cache: keys and values rounded where attention would store them, once a token and head.

A block is called with an object in place of its cache; attention hands it new keys and values (after the rotary
turn) and goes on with what it returns. Nothing is kept: the windows are read from their beginning in one go. The current token's own
key and value are rounded too, as they are read back from the cache.

    int8_token   int4_token   fp8_e4m3_token     one scale for each token of each head, from head_dim numbers
"""

from __future__ import annotations

import re
from typing import Any

import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import Format, parse_format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.sweep.decoder import Decoder

EXAMPLES = ("none", "int8_token", "int6_token", "int4_token", "int3_token", "int2_token", "fp8_e4m3_token")


class RoundedCache:
    """Stands in for a key-value cache: returns what it is given, rounded. `updates` counts calls."""

    def __init__(self, format: Format) -> None:
        self._format = format
        self.updates = 0

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values rounded. Both [B, heads, T, head_dim]."""
        self.updates += 1
        return self._rounded(keys), self._rounded(values)

    def get_seq_length(self, *_: Any) -> int:
        """Tokens held: none, ever."""
        return 0

    def _rounded(self, states: torch.Tensor) -> torch.Tensor:
        return quantize_groups(states.reshape(-1, states.shape[-1]), self._format).reshape(states.shape)


def parse_kv_cache(name: str) -> RoundedCache | None:
    """Return the cache that rounds as a name says; None for `none`, which rounds nothing.

    Raises UnknownName with the nearest example, InputError for an element that bitlaw.formats does not have.
    """
    if name == "none":
        return None
    if not (match := re.fullmatch(r"(int\d+|fp\d+_e\d+m\d+)_token", name)):
        raise UnknownName("KV cache format", name, EXAMPLES)
    element = match.group(1)
    return RoundedCache(parse_format(f"{element}_row" + "_sym" * element.startswith("int")))


def check_cache(decoder: Decoder, ids: torch.Tensor, name: str) -> None:
    """Raise InputError, naming the block, if a block takes no cache or does not hand keys and values to it.

    ids [1, T], any few tokens: they are run through all blocks.
    """
    hidden = decoder.embed(ids)
    for index in range(len(decoder.blocks)):
        probe = parse_kv_cache(name)
        try:
            with decoder.block(index):
                hidden = decoder.run_block(index, hidden, probe)
        except (AttributeError, TypeError) as error:
            raise InputError(_refused(decoder, index, name, f"its attention asks more of a cache: {error}")) from error
        if probe is not None and not probe.updates:
            raise InputError(_refused(decoder, index, name, "it takes a cache and puts nothing into it"))


def _refused(decoder: Decoder, index: int, name: str, why: str) -> str:
    block = type(decoder.blocks[index]).__name__
    return f"kv_cache={name} cannot serve {decoder.block_name(index)} ({block}): {why}. Leave kv_cache at none."
