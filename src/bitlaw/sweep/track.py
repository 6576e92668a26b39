"""One variant on its way through the blocks: its streams, its method, and what is counted of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bitlaw.errors import HessianError, NonFiniteError
from bitlaw.formats import Format, quantize_groups
from bitlaw.quantize import InputStatistics, Method, WeightGradients, find_method
from bitlaw.quantize.method import PAIRS, NoOptions, Quantized, format_bits
from bitlaw.records import Seen, Variant
from bitlaw.sweep.activations import ActivationFormat, ZeroCount
from bitlaw.sweep.kv_cache import RoundedCache
from bitlaw.sweep.layers import LinearLayer, Stream
from bitlaw.sweep.score import Tally

_UNTOUCHED = Method(name="none", options=NoOptions, function=lambda weight, *_: weight)
"""The method of variants that round activations or KV cache and leave weights as they are."""


def method_of(variant: Variant) -> Method:
    """Return the variant's method; for `none`, one that is never asked to quantize, as there is no format."""
    return _UNTOUCHED if variant.method == "none" else find_method(variant.method)


@dataclass
class Track:
    """One variant on its way through the blocks. A layer whose format is None keeps its weight."""

    variant: Variant
    method: Method
    format: Format | None
    options: Any
    evaluation: Stream
    calibration: Stream
    activations: ActivationFormat | None = None
    cache: RoundedCache | None = None
    chosen: dict[str, Format | None] = field(default_factory=dict)
    gradients: dict[str, WeightGradients] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    layers: int = 0
    parameters: int = 0
    quantized_parameters: int = 0
    stored_bits: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    fallbacks: list[str] = field(default_factory=list)
    kernel: ZeroCount = field(default_factory=ZeroCount)
    tally: Tally = field(default_factory=Tally)

    @property
    def own_calibration(self) -> bool:
        """Whether the method's inputs come from the network quantized so far."""
        return self.method.calibrated and self.options.upstream == "quantized"

    @property
    def pairs(self) -> bool:
        """Whether the method compares its inputs with those of the 16-bit network."""
        return PAIRS in self.method.needs(self.options)

    @property
    def static(self) -> bool:
        """Whether activation scales come from the calibration stream."""
        return self.activations is not None and self.activations.scale == "static"

    def quantize(self, layer: LinearLayer, statistics: InputStatistics | WeightGradients | None) -> torch.Tensor:
        """Return the layer's quantized weight, [out, in] in the layer's dtype, and keep count of it."""
        original = layer.weight
        weight = original.float()
        if not torch.isfinite(weight).all():
            raise NonFiniteError(f"{layer.name} holds NaN or infinite weights")
        format = self.chosen.get(layer.name, self.format)
        self.parameters += weight.numel()
        self.signal += float(weight.double().square().sum())
        if format is None:
            self.stored_bits += weight.numel() * 16.0
            return original
        try:
            quantized = self.method.quantize(weight, statistics, format, self.options, layer.name)
        except HessianError as error:
            if self.options.on_failure == "raise":
                raise HessianError(f"{layer.name}: {error}") from error
            rounded = quantize_groups(weight, format, layer.name)
            quantized = Quantized(weight=rounded, stored_bits=format_bits(weight, format, layer.name))
            self.fallbacks.append(f"{layer.name} rounded to nearest: {error}")
        self.layers += 1
        self.quantized_parameters += weight.numel()
        self.stored_bits += quantized.stored_bits
        self.noise += float((quantized.weight - weight).double().square().sum())
        return quantized.weight.to(original.dtype)

    def seen(self) -> Seen:
        """Return what was counted, or the state `failed`."""
        if not self.reason and self.tally.non_finite_tokens:
            tally = self.tally
            self.reason = f"{tally.non_finite_tokens} of {tally.tokens_scored} scored tokens have a non-finite loss"
        if self.reason:
            return Seen(state="failed", reason=self.reason, non_finite_tokens=self.tally.non_finite_tokens)
        ratio = self.signal / self.noise if self.noise else torch.inf
        return Seen(
            **asdict(self.tally),
            quantized_layers=self.layers,
            quantized_parameters=self.quantized_parameters,
            bits_per_weight=self.stored_bits / self.parameters if self.parameters else 16.0,
            sqnr_db=None
            if self.format is None
            else 10.0 * float(torch.log10(torch.tensor(ratio, dtype=torch.float64))),
            fallback_layers=len(self.fallbacks),
            fallbacks="; ".join(self.fallbacks),
            activation_kernel=self.kernel.share(),
        )
