"""Streams: the hidden states of all windows at one depth, as chunks [B, T, H], on the device or in pinned host memory.

A stream on the device is a list of tensors. One on the host gives its chunks to the device one ahead of their use, and
takes them back behind it, on copy queues of their own, so that copies and arithmetic overlap:

    copy in        chunk 1   chunk 2   chunk 3
    block                    chunk 1   chunk 2   chunk 3
    copy out                           chunk 1   chunk 2   chunk 3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import torch

Step = Callable[[torch.Tensor], torch.Tensor]


class HostStream(Sequence[torch.Tensor]):
    """A stream kept on the host; indexing and iterating give chunks on the device."""

    def __init__(self, chunks: Sequence[torch.Tensor], device: torch.device) -> None:
        self.device = device
        self.kept = [_on_host(chunk, device) for chunk in chunks]

    def __len__(self) -> int:
        return len(self.kept)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | list[torch.Tensor]:
        if isinstance(index, slice):
            return [chunk.to(self.device) for chunk in self.kept[index]]
        return self.kept[index].to(self.device)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from _prefetched(self.kept, self.device)

    def moved(self, step: Step, *, in_place: bool) -> HostStream:
        """Return the stream behind `step`; in_place writes it over this one."""
        behind = self if in_place else HostStream([], self.device)
        if not in_place:
            behind.kept = [_on_host(chunk, self.device, copy=False) for chunk in self.kept]
        if self.device.type != "cuda":
            for number, chunk in enumerate(self.kept):
                behind.kept[number].copy_(step(chunk.to(self.device)))
            return behind
        back = _queue(self.device)
        working = torch.cuda.current_stream(self.device)
        for number, chunk in enumerate(_prefetched(self.kept, self.device)):
            made = step(chunk)
            back.wait_stream(working)
            with torch.cuda.stream(back):
                behind.kept[number].copy_(made, non_blocking=True)
            made.record_stream(back)
        back.synchronize()
        return behind


Stream = list[torch.Tensor] | HostStream
"""Hidden states of all windows at one depth: chunks of [B, T, H]."""


def advance(stream: Stream, step: Step, *, keep: bool, host: bool = False) -> Stream:
    """Return the stream behind `step`, chunk by chunk. keep: others still read `stream`; else it may be written over.

    host: the result lives in host memory (a stream that is there already stays there).
    """
    if isinstance(stream, HostStream):
        return stream.moved(step, in_place=not keep)
    if host:
        return HostStream(stream, stream[0].device).moved(step, in_place=True)
    if keep:
        return [step(hidden) for hidden in stream]
    for number in range(len(stream)):
        stream[number] = step(stream[number])
    return stream


def follow(stream: Stream, device: torch.device) -> None:
    """Have a stream give its chunks to another device from now on. One that is on a device goes over chunk by chunk, as blocks read it."""
    if isinstance(stream, HostStream):
        stream.device = device


def _queue(device: torch.device) -> torch.cuda.Stream:
    untyped: Any = torch.cuda.Stream  # torch gives this constructor no types
    queue: torch.cuda.Stream = untyped(device)
    return queue


def _on_host(chunk: torch.Tensor, device: torch.device, *, copy: bool = True) -> torch.Tensor:
    made = torch.empty(chunk.shape, dtype=chunk.dtype, pin_memory=device.type == "cuda")
    return made.copy_(chunk) if copy else made


def _prefetched(chunks: Sequence[torch.Tensor], device: torch.device) -> Iterator[torch.Tensor]:
    """Give the chunks on the device, each copied while the one before it is in use."""
    if device.type != "cuda":
        for chunk in chunks:
            yield chunk.to(device)
        return
    queue = _queue(device)

    def fetch(number: int) -> tuple[torch.Tensor, torch.cuda.Event]:
        with torch.cuda.stream(queue):
            there = chunks[number].to(device, non_blocking=True)
            ready = queue.record_event()
        return there, ready

    ahead = fetch(0) if chunks else None
    for number in range(len(chunks)):
        assert ahead is not None
        there, ready = ahead
        working = torch.cuda.current_stream(device)
        working.wait_event(ready)
        there.record_stream(working)
        # In-place results go out behind the step that read this chunk, so the chunk after it may be fetched now.
        ahead = fetch(number + 1) if number + 1 < len(chunks) else None
        yield there
