"""Native low bit: linear layers of BitNet b1.58 (Ma et al., arXiv 2402.17764), trained from scratch with ternary weights.

    scale = mean |W|,  W' = scale clamp(round(W / scale), -1, 1)            equations 1-3, one scale a matrix
    x' = clamp(round(x 127 / max |x|), -128, 127) max |x| / 127             one scale a token (`bitnet1.58-a8` only)
    y = x' W'^T + bias,  dy/dW = dy/dW',  dy/dx = dy/dx'                    straight through (Bengio et al. 2013)

The optimizer moves the latent weights W; W' is made anew in every step. Embeddings, norms, biases and the output head stay
in full precision. What BitNet's own models have besides, a norm before each linear layer, is left out: the architecture
is that of the 16-bit twin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitlaw.catalog import find
from bitlaw.errors import InputError
from bitlaw.formats.ternary import TernaryFormat

TERNARY = TernaryFormat(group_size=0, per_tensor=True)
LARGEST_ACTIVATION = 127  # of 8 bits, signed


@dataclass(frozen=True, kw_only=True)
class Native:
    """A way to train in few bits: whether the inputs of linear layers are rounded to 8 bits a token."""

    round_inputs: bool


BITNET = Native(round_inputs=False)
BITNET_A8 = Native(round_inputs=True)


def ternary(weight: torch.Tensor) -> torch.Tensor:
    """Return the ternary weights times their scale: a new tensor, without a gradient. Any shape, any float dtype."""
    flat = weight.detach().flatten()
    return TERNARY.round(flat, TERNARY.choose(flat)).view_as(weight)


def round_per_token(inputs: torch.Tensor) -> torch.Tensor:
    """Return the inputs rounded to 8 bits with one scale a token, without a gradient. [..., width] -> same."""
    values = inputs.detach()
    scale = values.abs().amax(-1, keepdim=True).clamp_min(1e-5) / LARGEST_ACTIVATION
    return (values / scale).round().clamp(-LARGEST_ACTIVATION - 1, LARGEST_ACTIVATION) * scale


def straight_through(rounded: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Return exactly `rounded`, with the gradient going to `original` unchanged."""
    return rounded + (original - original.detach())


class BitLinear(nn.Linear):
    """A linear layer that computes with ternary weights; `weight` [out, in] holds the latent ones."""

    def __init__(self, linear: nn.Linear, native: Native) -> None:
        """Take over the weights of a linear layer."""
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight = linear.weight
        self.bias = linear.bias
        self.native = native

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return x' W'^T + bias. [..., in] -> [..., out]."""
        if self.native.round_inputs:
            input = straight_through(round_per_token(input), input)
        return nn.functional.linear(input, straight_through(ternary(self.weight), self.weight), self.bias)


def make_native(model: Any, name: str) -> None:
    """Replace the linear layers of a transformers model's blocks by those of a native way by its catalog name."""
    native: Native = find("native", name).load()
    body: nn.Module = model.base_model  # all but the output head
    found = [(path, module) for path, module in body.named_modules() if isinstance(module, nn.Linear)]
    if not found:
        raise InputError(
            f"native={name!r} needs torch.nn.Linear layers, and {type(model).__name__} has none in its blocks. "
            "Use another architecture."
        )
    for path, linear in found:
        parent, _, own = path.rpartition(".")
        setattr(body.get_submodule(parent), own, BitLinear(linear, native))


@contextmanager
def effective_weights(model: nn.Module) -> Iterator[None]:
    """Within it, native layers hold the weights they compute with, as a plain model of them must; the latent ones return."""
    latent = [(m, m.weight.data) for m in model.modules() if isinstance(m, BitLinear)]
    try:
        for module, weight in latent:
            module.weight.data = ternary(weight)
        yield
    finally:
        for module, weight in latent:
            module.weight.data = weight
