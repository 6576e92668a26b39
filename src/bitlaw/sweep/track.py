"""One variant on its way through the blocks: its streams, its method, and what is counted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bitlaw.errors import HessianError, NonFiniteError, UnreadError
from bitlaw.formats import Format, quantize_groups
from bitlaw.quantize import Method, find_method
from bitlaw.quantize.method import PAIRS, NoOptions, Quantized, format_bits
from bitlaw.quantize.statistics import InputStatistics, Statistics
from bitlaw.records import Seen, Variant
from bitlaw.sweep.activations import ActivationFormat, ZeroCount
from bitlaw.sweep.curvature import TaylorTerms
from bitlaw.sweep.kv_cache import RoundedCache
from bitlaw.sweep.layers import LinearLayer, Stream
from bitlaw.sweep.probes import Reuse, made_alike
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
    of_weights: Mapping[str, Statistics] = field(default_factory=dict)
    reuse: Reuse = field(default_factory=Reuse)
    taylor: TaylorTerms | None = None
    reason: str = ""
    seconds: float = 0.0
    layers: int = 0
    parameters: int = 0
    quantized_parameters: int = 0
    stored_bits: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    zeros: float = 0.0
    fallbacks: list[str] = field(default_factory=list)
    kernel: ZeroCount = field(default_factory=ZeroCount)
    tally: Tally = field(default_factory=Tally)
    least_expert_tokens: int | None = None

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

    def quantize(self, layer: LinearLayer, statistics: Statistics) -> torch.Tensor:
        """Return the layer's quantized weight, [out, in] in the layer's dtype, and keep count of it."""
        original = layer.weight
        weight = original.float()
        if not torch.isfinite(weight).all():
            raise NonFiniteError(f"{layer.name} holds NaN or infinite weights")
        format = self.chosen.get(layer.name, self.format)
        if layer.expert is not None and isinstance(statistics, InputStatistics):
            known = self.least_expert_tokens
            self.least_expert_tokens = statistics.tokens if known is None else min(known, statistics.tokens)
        self.parameters += weight.numel()
        if format is not None or not self.method.probe:
            self.signal += float(weight.double().square().sum())
        if format is None:
            self.stored_bits += weight.numel() * 16.0
            return original
        try:
            quantized = self._make(weight, statistics, format, layer.name)
        except HessianError as error:
            if self.options.on_failure == "raise" and not isinstance(error, UnreadError):
                raise HessianError(f"{layer.name}: {error}") from error
            rounded = quantize_groups(weight, format, layer.name)
            quantized = Quantized(weight=rounded, stored_bits=format_bits(weight, format, layer.name))
            self.fallbacks.append(f"{layer.name} rounded to nearest: {error}")
        self.layers += 1
        self.quantized_parameters += weight.numel()
        self.stored_bits += quantized.stored_bits
        self.noise += float((quantized.weight - weight).double().square().sum())
        self.zeros += float((quantized.weight == 0).sum())
        return quantized.weight.to(original.dtype)

    def _make(self, weight: torch.Tensor, statistics: Statistics, format: Format, layer: str) -> Quantized:
        """Return what the method makes of a layer; the quantization that a probe lies along is made once for all of them."""
        method, options = self.method, self.options
        if method.quantizer is None or method.shift is None:
            own, of_own = method, options
        else:
            own, of_own = method.quantizer(options)
        if own.probe or self.own_calibration:
            return own.quantize(weight, statistics, format, of_own, layer)
        made = self.reuse.quantized(
            made_alike(own, format.name, of_own), layer, lambda: own.quantize(weight, statistics, format, of_own, layer)
        )
        return made if method.shift is None else method.shift(weight, made, options)

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
            weight_kernel=self.zeros / self.quantized_parameters
            if self.quantized_parameters and not self.method.probe
            else None,
            weight_norm=self.signal**0.5 if self.parameters else None,
            gradient_along=self.taylor.gradient if self.taylor else None,
            curvature_along=self.taylor.curvature if self.taylor else None,
            least_expert_tokens=self.least_expert_tokens,
        )
