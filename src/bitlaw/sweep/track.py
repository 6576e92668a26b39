"""One variant on its way through the blocks: its streams, its method, and what is counted of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bitlaw.errors import HessianError, NonFiniteError, UnreadError
from bitlaw.formats import Format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize import Method, find_method
from bitlaw.quantize.method import PAIRS, NoOptions, Quantized, format_bits
from bitlaw.quantize.statistics import CalibratedDirection, Direction, InputStatistics, Statistics
from bitlaw.records import Seen, Variant
from bitlaw.sweep.activations import ActivationFormat, ZeroCount
from bitlaw.sweep.curvature import TaylorTerms
from bitlaw.sweep.kv_cache import RoundedCache
from bitlaw.sweep.layers import LinearLayer
from bitlaw.sweep.probes import Reuse, made_alike
from bitlaw.sweep.score import Tally
from bitlaw.sweep.streams import Stream

_UNTOUCHED = Method(name="none", options=NoOptions, function=lambda weight, *_: weight)
"""The method of variants that round activations or KV cache and leave weights as they are."""


def method_of(variant: Variant) -> Method:
    """Return the variant's method; for `none`, one that is never asked to quantize, as there is no format."""
    return _UNTOUCHED if variant.method == "none" else find_method(variant.method)


@dataclass(frozen=True, kw_only=True)
class LayerWeight:
    """A layer's weight as variants read it: [out, in], in its dtype and in float32, and its sum of squares."""

    layer: LinearLayer
    original: torch.Tensor
    weight: torch.Tensor
    signal: float


def read_weight(layer: LinearLayer) -> LayerWeight:
    """Return the layer's weight, read once for all variants. Raises NonFiniteError for NaN or infinite weights."""
    original = layer.weight
    weight = original.float()
    signal = float(weight.double().square().sum())
    if not math.isfinite(signal):
        raise NonFiniteError(f"{layer.name} holds NaN or infinite weights")
    return LayerWeight(layer=layer, original=original, weight=weight, signal=signal)


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
    noise: list[torch.Tensor] = field(default_factory=list)  # of each layer, where it is until they are read
    zeros: list[torch.Tensor] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    on_host: bool = False
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

    def format_of(self, layer: LinearLayer) -> Format | None:
        """The layer's format; None where it keeps its weight."""
        return self.chosen.get(layer.name, self.format)

    @property
    def maker(self) -> tuple[Method, Any]:
        """The method and options that make Q(w): the variant's own, or those of the quantization that a probe lies along."""
        return self.method.quantizer(self.options) if self.method.quantizer is not None else (self.method, self.options)

    def alike(self, layer: LinearLayer) -> Hashable:
        """Return what decides Q(w) of the layer, equal for a quantization and the probes along it."""
        method, options = self.maker
        format = self.format_of(layer)
        return made_alike(method, "none" if format is None else format.name, options)

    def count_tokens(self, layer: LinearLayer, statistics: Statistics) -> None:
        """Keep the tokens that the expert with the fewest of them read."""
        if layer.expert is not None and isinstance(statistics, InputStatistics):
            known = self.least_expert_tokens
            self.least_expert_tokens = statistics.tokens if known is None else min(known, statistics.tokens)

    def quantize(self, given: LayerWeight, statistics: Statistics) -> torch.Tensor:
        """Return the layer's quantized weight, [out, in] in the layer's dtype, and keep count of it."""
        format = self.format_of(given.layer)
        if format is None:
            return self.keep(given, None)
        try:
            made = self._make(given, statistics, format)
        except HessianError as error:
            return self.keep(given, error)
        return self.keep(given, made)

    def _make(self, given: LayerWeight, statistics: Statistics, format: Format) -> Quantized:
        """Return Q(w) of a layer; a quantization that several variants need is made once for all of them."""
        method, options = self.maker
        direction = self.of_weights.get(given.layer.name)
        if isinstance(statistics, InputStatistics) and isinstance(direction, Direction):
            statistics = CalibratedDirection(inputs=statistics, direction=direction)

        def make() -> Quantized:
            return method.quantize(given.weight, statistics, format, options, given.layer.name)

        if method.probe or self.own_calibration:
            return make()
        return self.reuse.quantized(self.alike(given.layer), given.layer.name, make)

    def keep(self, given: LayerWeight, made: Quantized | torch.Tensor | HessianError | None) -> torch.Tensor:
        """Count what was made of a weight and return it, [out, in] in the layer's dtype; None leaves the weight as it is.

        A probe's weight is the point at its offset from what was made. Raises HessianError for one, unless the options take
        the nearest values instead.
        """
        layer, weight, format = given.layer, given.weight, self.format_of(given.layer)
        self.parameters += weight.numel()
        if format is not None or not self.method.probe:
            self.signal += given.signal
        if format is None or made is None:
            self.stored_bits += weight.numel() * 16.0
            return given.original
        if isinstance(made, HessianError):
            if self.options.on_failure == "raise" and not isinstance(made, UnreadError):
                raise HessianError(f"{layer.name}: {made}") from made
            self.fallbacks.append(f"{layer.name} rounded to nearest: {made}")
            made = quantize_groups(weight, format, layer.name)
        if isinstance(made, torch.Tensor):
            made = Quantized(weight=made, stored_bits=format_bits(weight, format, layer.name))
        if self.method.shift is not None:
            made = self.method.shift(weight, made, self.options)
        self.layers += 1
        self.quantized_parameters += weight.numel()
        self.stored_bits += made.stored_bits
        self.noise.append((made.weight - weight).double().square().sum())
        self.zeros.append((made.weight == 0).sum())
        return made.weight.to(given.original.dtype)

    def seen(self) -> Seen:
        """Return what was counted, or the state `failed`."""
        if not self.reason and self.tally.non_finite_tokens:
            tally = self.tally
            self.reason = f"{tally.non_finite_tokens} of {tally.tokens_scored} scored tokens have a non-finite loss"
        if self.reason:
            return Seen(state="failed", reason=self.reason, non_finite_tokens=self.tally.non_finite_tokens)
        noise = float(_total(self.noise)) if self.noise else 0.0
        ratio = self.signal / noise if noise else torch.inf
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
            weight_kernel=float(_total(self.zeros)) / self.quantized_parameters
            if self.quantized_parameters and not self.method.probe
            else None,
            weight_norm=self.signal**0.5 if self.parameters else None,
            gradient_along=self.taylor.gradient if self.taylor else None,
            curvature_along=self.taylor.curvature if self.taylor else None,
            least_expert_tokens=self.least_expert_tokens,
        )


def _total(counts: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of single numbers that may be on several devices."""
    return torch.stack([count.to(counts[0].device) for count in counts]).sum()
