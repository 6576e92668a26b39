"""Blocks run through torch.compile: one graph for all blocks of a kind, all variants, and the next checkpoint of that shape.

Weights are inputs of the graph, so another block or other weights need no other. The number of windows is symbolic, so the
smaller last batch needs none either; the length of a window is not: texts of two lengths make two graphs. Whether a graph
fits is decided by torch's guards, which look at everything the block's code has read but the hooks on its layers. So hooks have no
say here: what layers read is an output of a graph of its own, which ends at the last input that is wanted.

A variant that rounds activations or its KV cache acts between layers and is run eagerly, and then all of the sweep is: a paired
difference needs one arithmetic on both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from bitlaw.errors import InputError

COMPILE = ("auto", "yes", "no")
WORTH_OPERATIONS = 5e16
"""Of the forward passes, from which on `auto` compiles: compiling took 9 to 10 s on an H100 and saved a twelfth of a sweep's time (docs/performance.md), so this is
where one checkpoint pays it back; the next one of its shape compiles nothing."""
WORTH_FOR_INPUTS = 2.5e16
"""Of the calibration's passes alone, from which on `auto` makes the graph of layer inputs too."""
GRAPHS_AT_MOST = 64
"""Of one kind in one process: every shape of a model and of a window has its own."""

Inputs = dict[str, torch.Tensor]
"""What layers read, by the layer's name inside the block."""


class CompileError(Exception):
    """A block could not be compiled, or its compiled form fails. It never leaves the sweep: the blocks are run eagerly instead."""


def check_compile(how: str) -> None:
    """Raise InputError unless it is one of COMPILE."""
    if how not in COMPILE:
        raise InputError(f"compile={how!r} is not known. Accepted: {', '.join(COMPILE)}.")


def evaluation_operations(block_parameters: int, tokens: int, variants: int) -> float:
    """Return the operations of the evaluation's forward passes without attention: the variants' and the baseline's.

    block_parameters of all blocks; 2 operations for each parameter and token.
    """
    return 2.0 * block_parameters * tokens * (variants + 1)


def calibration_operations(block_parameters: int, tokens: int, own: int) -> float:
    """Return the operations of the calibration's forward passes: one that is shared, two for each of `own` variants with its own."""
    return 2.0 * block_parameters * tokens * (1 + 2 * own)


class CompiledBlocks:
    """Runs blocks compiled. Shapes: B windows, T tokens, H width. Every method raises CompileError for what torch cannot do.

    for_inputs: whether layer inputs are to be asked of `inputs`; else hooks on an eager block are to see them.
    """

    def __init__(self, *, for_inputs: bool = True) -> None:
        self.for_inputs = for_inputs
        self._run: Callable[..., torch.Tensor] = torch.compile(_run, fullgraph=True, dynamic=False)
        self._inputs: Callable[..., tuple[Inputs, torch.Tensor | None]] = torch.compile(
            _inputs, fullgraph=True, dynamic=False
        )
        self._taps: list[torch.Tensor] = []

    def run(
        self, block: nn.Module, hidden: torch.Tensor, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return what the block makes of hidden [B, T, H]; hooks on its layers are not called."""
        behind: torch.Tensor = _called(self._run, hidden, arguments, keywords, block)
        return behind

    def inputs(
        self,
        block: nn.Module,
        names: Sequence[str],
        hidden: torch.Tensor,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        *,
        through: bool,
    ) -> tuple[Inputs, torch.Tensor | None]:
        """Return what the named layers of the block read, [..., in] each, and with `through` what the block makes, else None.

        names: in the order in which the block calls them.
        """
        self._taps.clear()
        hooks = [
            block.get_submodule(name).register_forward_pre_hook(partial(_tap, self._taps), prepend=True)
            for name in names
        ]
        try:
            first = block, self._taps, tuple(names), through
            made: tuple[Inputs, torch.Tensor | None] = _called(self._inputs, hidden, arguments, keywords, *first)
            return made
        finally:
            for hook in hooks:
                hook.remove()
            self._taps.clear()


def _run(block: nn.Module, hidden: torch.Tensor, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> torch.Tensor:
    output = block(hidden, *arguments, **keywords)
    result: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
    return result


def _inputs(
    block: nn.Module,
    taps: list[torch.Tensor],
    names: tuple[str, ...],
    through: bool,
    hidden: torch.Tensor,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> tuple[Inputs, torch.Tensor | None]:
    # Hooks are part of this graph and not of its guards; the names are, as they are read here.
    behind = _run(block, hidden, arguments, keywords)
    return dict(zip(names, taps, strict=True)), behind if through else None


def _tap(taps: list[torch.Tensor], _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    taps.append(inputs[0])


def _called(
    function: Callable[..., Any],
    hidden: torch.Tensor,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    *first: Any,
) -> Any:
    for given in (hidden, *arguments, *keywords.values()):
        _mark_windows(given, hidden.shape[0])
    try:
        with torch._dynamo.config.patch(recompile_limit=GRAPHS_AT_MOST), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about itself
            return function(*first, hidden, arguments, keywords)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever it is: eager blocks are asked next, and say what is wrong with themselves
        raise CompileError(f"{type(error).__name__}: {_first_line(error)}") from error


def _mark_windows(given: Any, windows: int) -> None:
    """Make the first dimension of all tensors that hold one row a window symbolic. A single window is a shape of its own to torch."""
    if isinstance(given, torch.Tensor):
        if windows > 1 and given.dim() and given.shape[0] == windows:
            torch._dynamo.maybe_mark_dynamic(given, 0)
    elif isinstance(given, tuple | list):
        for one in given:
            _mark_windows(one, windows)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
