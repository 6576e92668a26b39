"""Probes of the loss landscape (arXiv 2410.12119, section 3): weights moved by a known distance along a direction.

    SNR(w, dw) = 20 log10(|w| / |dw|) dB        l2 norms over all weights of the linear layers in the blocks together

perturb_random   w + lambda e, e a unit vector, uniform on the sphere (a normalised Gaussian), lambda = |w| 10^(-SNR / 20).
                 e is drawn layer by layer from a seed made of (seed, layer's name), on the CPU, so neither the device nor
                 the order of layers or variants changes it. `layers` other than `all` keeps the rest as it is, and both
                 norms are over the chosen layers.
perturb_along    w + (Q(w) - w) 10^(-offset / 20): along the direction of a quantization. Offset 0 is Q(w) itself, positive
                 offsets lie between w and Q(w), negative ones beyond Q(w); SNR = SQNR + offset.

The slope of the loss at Q(w) is the central difference (NLL(+delta) - NLL(-delta)) / (2 delta), in nats per token and dB,
of two `perturb_along` of offsets + and - delta, 1 dB by default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bitlaw.errors import InputError, NonFiniteError
from bitlaw.formats import Format
from bitlaw.formats.unrounded import Unrounded
from bitlaw.quantize.gptq import GptqOptions
from bitlaw.quantize.gptq_together import GPTQ
from bitlaw.quantize.method import (
    DIRECTION,
    Method,
    NoOptions,
    Quantized,
    require_between,
    require_choice,
    require_flag,
    require_whole,
)
from bitlaw.quantize.nearest import NEAREST
from bitlaw.quantize.statistics import Direction, Statistics
from bitlaw.records import Scalar

WIDEST_DB = 700.0
"""10^35 in amplitude: beyond it a factor leaves float32 anyway."""


@dataclass(frozen=True, kw_only=True)
class RandomOptions:
    """Settings of a random direction.

    snr_db   20 log10(|w| / |dw|), dB
    seed     of the direction; variants that differ in snr_db alone lie on one line through w
    layers   `all`, or the qualified name of a layer or a pattern such as `*.mlp.*`: only these are moved
    taylor   also record g.e and e.H.e at w, the first two terms of the Taylor series along e
    """

    snr_db: float = 20.0
    seed: int = 0
    layers: str = "all"
    taylor: bool = False

    def __post_init__(self) -> None:
        require_between("snr_db", self.snr_db, -WIDEST_DB, WIDEST_DB)
        require_whole("seed", self.seed, 0)
        require_flag("taylor", self.taylor)
        if not isinstance(self.layers, str) or not self.layers:
            raise InputError(f"layers={self.layers!r} names no layer. Give all, a layer's name or a pattern.")
        object.__setattr__(self, "snr_db", float(self.snr_db))


def perturb_random(weight: torch.Tensor, statistics: Statistics, format: Format, options: RandomOptions) -> Quantized:
    """Return the weight moved along its part of the direction. weight [out, in] -> [out, in]; 16 bits a weight.

    Raises NonFiniteError if the moved weights are not finite.
    """
    if not isinstance(statistics, Direction) or statistics.noise.shape != weight.shape:
        raise InputError(f"perturb_random needs a direction for a weight of shape {list(weight.shape)}.")
    moved = weight + statistics.noise.to(weight.device) * (statistics.length * decibels(options.snr_db))
    return moved_to(moved, f"a perturbation of {options.snr_db:g} dB")


def decibels(db: float) -> float:
    """Return the ratio of amplitudes 10^(-db / 20)."""
    return float(10.0 ** (-db / 20.0))


def moved_to(weight: torch.Tensor, what: str) -> Quantized:
    """Return a probe's point, 16 bits a weight. Raises NonFiniteError, naming what moved the weights, if it is not finite."""
    if not torch.isfinite(weight).all():
        raise NonFiniteError(f"{what} overflows the weights")
    return Quantized(weight=weight, stored_bits=16.0 * weight.numel())


@dataclass(frozen=True, kw_only=True)
class AlongNearestOptions:
    """Settings of the direction of rounding to nearest: `along`, and `offset_db` from the quantized point, dB."""

    along: str = "nearest"
    offset_db: float = 0.0

    def __post_init__(self) -> None:
        _check_offset(self)


@dataclass(frozen=True, kw_only=True)
class AlongGptqOptions(GptqOptions):
    """Settings of the direction of GPTQ: `along`, `offset_db`, and the options of GPTQ itself.

    Layer inputs come from the 16-bit network: with those of the quantized network the direction would depend on the
    offsets of the layers before.
    """

    along: str = "gptq"
    offset_db: float = 0.0
    upstream: str = "full_precision"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_offset(self)
        if self.upstream != "full_precision":
            raise InputError(
                "perturb_along with along='gptq' needs upstream='full_precision': inputs from layers that were moved already "
                "would change the direction itself."
            )
        if self.on_failure != "raise":
            raise InputError(
                "perturb_along with along='gptq' needs on_failure='raise': a layer rounded to nearest instead lies in "
                "another direction."
            )


def _check_offset(options: Any) -> None:
    require_choice("along", options.along, tuple(_ALONG))
    require_between("offset_db", options.offset_db, -WIDEST_DB, WIDEST_DB)
    object.__setattr__(options, "offset_db", float(options.offset_db))


def along_options(given: Mapping[str, Scalar]) -> type[Any]:
    """Return the class of the options, which depends on `along`."""
    along = given.get("along", "nearest")
    require_choice("along", along, tuple(_ALONG))
    return _ALONG[str(along)]


_ALONG: dict[str, type[Any]] = {"nearest": AlongNearestOptions, "gptq": AlongGptqOptions}


def quantizer(options: AlongNearestOptions | AlongGptqOptions) -> tuple[Method, Any]:
    """Return the method and options whose Q(w) is the direction's end."""
    if not isinstance(options, AlongGptqOptions):
        return NEAREST, NoOptions()
    return GPTQ, GptqOptions(**{f.name: getattr(options, f.name) for f in dataclasses.fields(GptqOptions)})


def shift(weight: torch.Tensor, quantized: Quantized, options: AlongNearestOptions | AlongGptqOptions) -> Quantized:
    """Return the point at the offset, 16 bits a weight; at offset 0 what was quantized. weight [out, in].

    Raises NonFiniteError if it is not finite.
    """
    if options.offset_db == 0.0:
        return quantized
    moved = weight + (quantized.weight - weight) * decibels(options.offset_db)
    return moved_to(moved, f"an offset of {options.offset_db:g} dB")


def perturb_along(
    weight: torch.Tensor, statistics: Statistics, format: Format, options: AlongNearestOptions | AlongGptqOptions
) -> Quantized:
    """Return the weight moved along its quantization's direction. weight [out, in] -> [out, in].

    statistics: what the quantization looks at. Raises what it raises, and NonFiniteError beyond float32.
    """
    method, own = quantizer(options)
    return shift(weight, method.quantize(weight, statistics, format, own), options)


PERTURB_RANDOM = Method(
    name="perturb_random",
    options=RandomOptions,
    function=perturb_random,
    needs=lambda options: frozenset({DIRECTION}),
    only_format=Unrounded(),
)
_ALONG_NEAREST = Method(
    name="perturb_along", options=AlongNearestOptions, function=perturb_along, quantizer=quantizer, shift=shift
)
_ALONG_GPTQ = dataclasses.replace(_ALONG_NEAREST, options=AlongGptqOptions)
PERTURB_ALONG = dataclasses.replace(
    _ALONG_NEAREST,
    options_of=along_options,
    inner=lambda options: (_ALONG_GPTQ if isinstance(options, AlongGptqOptions) else _ALONG_NEAREST, options),
)
