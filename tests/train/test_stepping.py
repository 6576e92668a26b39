"""A recorded step: its first replay must write a loss, or nothing was recorded."""

from collections.abc import Callable

import pytest
import torch

from bitlaw.errors import NonFiniteError
from bitlaw.train.stepping import _Recorded


class Graph:
    """A graph that needs no GPU: what it replays is given."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def replay(self) -> None:
        self.work()


def test_a_replay_reads_the_batch_and_gives_the_loss() -> None:
    read, loss = torch.zeros(2), torch.zeros(())
    recorded = _Recorded(Graph(lambda: loss.copy_(read.sum())), read, loss)
    first = recorded.replay(torch.tensor([1.0, 2.0]))
    assert (first.item(), recorded.replay(torch.tensor([3.0, 4.0])).item()) == (3.0, 7.0)
    assert first.item() == 3.0  # not overwritten by the next


def test_an_empty_recording_is_an_error() -> None:
    with pytest.raises(NonFiniteError, match="gave no loss"):
        _Recorded(Graph(lambda: None), torch.zeros(2), torch.zeros(())).replay(torch.ones(2))
