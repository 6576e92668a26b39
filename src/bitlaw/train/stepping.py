"""One step of training: loss, gradients, clipping, AdamW. On a GPU the whole step becomes one CUDA graph.

A small model's step is some hundred short kernels, and launching them from Python takes longer than running them. The
first steps run one kernel at a time (which also compiles); then a step is recorded once and replayed from there on. What
changes between steps, the batch and the learning rate, is copied into the tensors that the recording reads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch

from bitlaw.errors import NonFiniteError
from bitlaw.train.plan import Optimizer

LossOf = Callable[[torch.Tensor], torch.Tensor]
STEPS_BEFORE_RECORDING = 3


def adamw(settings: Optimizer, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return AdamW with decay on matrices only: norms and biases have one dimension."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
        capturable=parameters[0].is_cuda,
    )


class _Graph(Protocol):
    """What is needed of torch.cuda.CUDAGraph, which no machine without a GPU can make."""

    def replay(self) -> None: ...


class _Recorded:
    """A step as a CUDA graph, the batch that it reads and the loss that it writes."""

    def __init__(self, graph: _Graph, batch: torch.Tensor, loss: torch.Tensor) -> None:
        self._graph, self._batch, self._loss = graph, batch, loss
        self._proven = False

    def replay(self, batch: torch.Tensor) -> torch.Tensor:
        """Take the step. Raises NonFiniteError when the first replay writes no loss: nothing was recorded."""
        self._batch.copy_(batch)
        if not self._proven:
            self._loss.fill_(math.nan)
        self._graph.replay()
        loss = self._loss.clone()
        if not self._proven and bool(loss.isnan()):
            raise NonFiniteError(f"A recorded training step gave no loss on {loss.device}. Set compile = 'no'.")
        self._proven = True
        return loss


class Stepper:
    """Steps of one model: call it with a batch and a learning rate, get the loss of the step as a tensor on the device."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_of: LossOf,
        *,
        clip: float,
        record: bool,
    ) -> None:
        """`loss_of` takes a batch on the model's device. `record` replays a recorded step; it needs a GPU."""
        self._model, self._optimizer, self._loss_of, self._clip = model, optimizer, loss_of, clip
        self._device = next(model.parameters()).device
        self._on_gpu = self._device.type == "cuda"
        self._record = record and self._on_gpu
        self._done = 0
        self._recorded: _Recorded | None = None
        if self._on_gpu:  # a saved state may have brought the learning rate as a number, or on the CPU
            for group in optimizer.param_groups:
                group["lr"] = torch.zeros((), device=self._device)
                group["capturable"] = True

    def __call__(self, batch: torch.Tensor, learning_rate: float) -> torch.Tensor:
        """Train on a batch of ids on the CPU, [windows, window_tokens + 1]; return its loss before the step."""
        # Memory that is not pinned would make the copy wait for the steps before.
        there = batch.pin_memory().to(self._device, non_blocking=True) if self._on_gpu else batch
        self._set_rate(learning_rate)
        if self._record and self._recorded is None and self._done >= STEPS_BEFORE_RECORDING:
            self._recorded = self._capture(there)
        self._done += 1
        return self._step(there) if self._recorded is None else self._recorded.replay(there)

    def _set_rate(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            if self._on_gpu:
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def _step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self._loss_of(batch)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self._clip:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        self._optimizer.step()
        return loss.detach()

    def _capture(self, batch: torch.Tensor) -> _Recorded | None:
        """Record a step, which does not run it; where the GPU cannot record it, say so and return None."""
        read = batch.clone()
        graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)  # gradients belong to the graph's own memory
        torch.cuda.synchronize(self._device)
        # What is recorded is one stream's work. Left to itself torch takes a stream of the first GPU that ever recorded, in all
        # of the process: on another GPU the step would run and the graph be empty.
        new_stream: Any = torch.cuda.Stream  # torch does not type its constructor
        recording: Any = torch.cuda.graph(graph, stream=new_stream(self._device), capture_error_mode="thread_local")
        try:
            with torch.cuda.device(self._device), recording:
                loss = self._step(read)
        except RuntimeError as error:
            warnings.warn(
                f"A training step could not be recorded, so it is launched anew each time: {error}", stacklevel=2
            )
            self._record = False
            self._optimizer.zero_grad(set_to_none=True)
            return None
        return _Recorded(graph, read, loss)
