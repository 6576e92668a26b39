"""Which blocks of a streamed model have weights: the one in use, and the next on its way.

acquire(3)   block 3 gets its weights (waiting for them if they are on their way), block 4 is read by another thread
release(3)   block 3 may go: it does when another block is acquired, or at once if it is the last
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import nn

from bitlaw.suites.streamed import StreamedModel, put_tensors


class Residency:
    """Gives blocks their weights and takes them away again. At most one block has weights, one more waits in CPU memory."""

    def __init__(self, source: StreamedModel, blocks: Sequence[nn.Module]) -> None:
        self._source = source
        self._blocks = blocks
        self._empty = [dict(block.state_dict(keep_vars=True)) for block in blocks]
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blocks")
        self._next: tuple[int, Future[Mapping[str, torch.Tensor]]] | None = None
        self._held: int | None = None
        self._users = 0
        self.reads = 0
        source.let_go = self.close

    def acquire(self, index: int) -> None:
        """Give a block its weights and start reading the next. Raises CheckpointError for weights that are not there."""
        if self._held == index:
            self._users += 1
            return
        assert not self._users, f"block {self._held} is in use: one block at a time"
        self._drop()
        tensors = self._take(index)
        if index + 1 < len(self._blocks):
            self.reads += 1
            self._next = (index + 1, self._reader.submit(self._source.read, index + 1))
        device = self._source.device
        put_tensors(self._blocks[index], {name: t.to(device, non_blocking=True) for name, t in tensors.items()})
        self._held, self._users = index, 1

    def release(self, index: int) -> None:
        """Say that a block is no longer in use, once for each `acquire`."""
        assert self._held == index
        assert self._users > 0
        self._users -= 1
        if not self._users and index + 1 == len(self._blocks):
            self._drop()

    def close(self) -> None:
        """Take all weights away and end the reading thread."""
        if self._next is not None:
            self._next[1].cancel()
            self._next = None
        self._users = 0
        self._drop()
        self._reader.shutdown(wait=True)

    def _take(self, index: int) -> Mapping[str, torch.Tensor]:
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == index:
            return ahead[1].result()
        if ahead is not None and not ahead[1].cancel():
            ahead[1].result()  # let it end: one reader at a time
        self.reads += 1
        return self._source.read(index)

    def _drop(self) -> None:
        if self._held is not None:
            put_tensors(self._blocks[self._held], self._empty[self._held])
            self._held = None
