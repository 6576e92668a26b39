"""Mixtures of experts that keep all experts in one parameter: each expert's matrix is a layer of its own.

    experts.gate_up_proj [experts, out, in]   ->   experts.gate_up_proj.0, .1, ... each [out, in]
    experts.down_proj    [experts, out, in]   ->   experts.down_proj.0, ...

What an expert reads are the tokens routed to it. They are seen where its matrix is used: transformers' plain loop over
experts multiplies the routed tokens with a view of the parameter, and that product is watched. The faster kernels come back
when nobody watches. Routers, and gates of shared experts, decide where tokens go and stay 16 bit, as in every checkpoint
that tools publish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bitlaw.errors import CheckpointError

_LINEAR = (torch.nn.functional.linear,)
_PRODUCTS = (torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.__matmul__)

Tap = Callable[[int, torch.Tensor], torch.Tensor | None]
"""Called with (expert, inputs [tokens, in]); what it returns, if anything, is read instead."""


SMALL_SHARE = 0.1
"""Of a block's parameters: matrices in a layout that nobody tells stay 16 bit, as norms do, if they are fewer."""


def stacked_matrices(module: nn.Module, block_parameters: int) -> Mapping[str, bool]:
    """Return the parameters of a module that hold one matrix for each expert, name -> whether they are kept [in, out].

    transformers marks such modules: `is_transposed` says the layout. Raises CheckpointError for a module that has a
    large part of the block's parameters as several matrices in one parameter and does not say it; a small part, such as
    the gates of a recurrence, stays as it is.
    """
    own = [name for name, p in module._parameters.items() if p is not None and p.dim() == 3 and min(p.shape) > 1]
    if not own or type(module).__module__.startswith("torch.nn."):
        return {}
    transposed = getattr(module, "is_transposed", None)
    if transposed is None and (getattr(module, "output_size", 0), getattr(module, "input_size", 0)) == tuple(
        module.get_parameter(own[0]).shape[1:]
    ):
        transposed = False
    if transposed is None and sum(module.get_parameter(n).numel() for n in own) < SMALL_SHARE * block_parameters:
        return {}
    if transposed is None:
        raise CheckpointError(
            f"{type(module).__name__} keeps several matrices in one parameter ({own[0]} "
            f"{list(module.get_parameter(own[0]).shape)}) and does not say in which layout (`is_transposed`): its weights cannot "
            "be quantized. Load the model in a version of transformers that says it."
        )
    return dict.fromkeys(own, bool(transposed))


def routers(block: nn.Module) -> frozenset[str]:
    """Return the names of linear layers that decide how much of a token goes where: they lie beside experts, not in them.

    Beside a module of stacked experts, or a list of like modules, those that stand alone, or alone in their module, with
    one output for each expert or a single one (the gate of a shared expert).
    """
    found = set()
    for name, module in block.named_modules():
        counts = {1, *(n for n in map(_experts_in, module.children()) if n)}
        if len(counts) == 1:
            continue
        for own, child in module.named_children():
            inside = [(n, m) for n, m in child.named_modules(prefix=own) if isinstance(m, nn.Linear)]
            if not _experts_in(child) and len(inside) == 1 and inside[0][1].out_features in counts:
                found.add(f"{name}.{inside[0][0]}" if name else inside[0][0])
    return frozenset(found)


def _experts_in(module: nn.Module) -> int:
    """Return how many experts a module holds, 0 if it is not one of experts."""
    if isinstance(module, nn.ModuleList):
        kinds = {type(child) for child in module}
        return len(module) if len(module) > 1 and len(kinds) == 1 and not isinstance(module[0], nn.Linear) else 0
    own = [p.shape[0] for p in module._parameters.values() if p is not None and p.dim() == 3 and min(p.shape) > 1]
    return own[0] if own and not type(module).__module__.startswith("torch.nn.") else 0


def expert_of(block: nn.Module, name: str) -> int | None:
    """Return the number of the expert that a submodule of the block is a part of, where experts are a list of modules."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        if parts[end].isdigit() and _experts_in(block.get_submodule(".".join(parts[:end]))):
            return int(parts[end])
    return None


class _Watching(TorchFunctionMode):
    """Lets taps see, and change, what is multiplied with a view of a stacked parameter."""

    def __init__(self, taps: Sequence[tuple[nn.Parameter, Tap]]) -> None:
        super().__init__()
        self._taps = taps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LINEAR or func in _PRODUCTS:
            inputs, weight = args[0], args[1]
            place = weight.untyped_storage().data_ptr()
            for parameter, tap in self._taps:
                if parameter.untyped_storage().data_ptr() == place:
                    expert, within = divmod(weight.storage_offset() - parameter.storage_offset(), parameter.stride(0))
                    assert within == 0, "a product with a part of an expert's matrix"
                    changed = tap(expert, inputs)
                    args = (inputs if changed is None else changed, *args[1:])
        return func(*args, **(kwargs or {}))


@contextmanager
def watched_experts(taps: Sequence[tuple[nn.Module, nn.Parameter, Tap]]) -> Iterator[None]:
    """Call each tap with what every expert of its parameter is about to read. Experts are computed one by one meanwhile."""
    if not taps:
        yield
        return
    with ExitStack() as stack:
        for module, _, _ in taps:
            stack.enter_context(plain_experts(module))
        with _Watching([(parameter, tap) for _, parameter, tap in taps]):
            yield


@contextmanager
def plain_experts(model: nn.Module) -> Iterator[None]:
    """Have the experts inside a model, or a module of them, computed one by one for a while."""
    configs: dict[int, Any] = {}
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(module, "is_transposed") and hasattr(config, "_experts_implementation_internal"):
            configs[id(config)] = config
    before = {key: config._experts_implementation_internal for key, config in configs.items()}
    try:
        for config in configs.values():
            config._experts_implementation_internal = "eager"
        yield
    finally:
        for key, config in configs.items():
            config._experts_implementation_internal = before[key]
