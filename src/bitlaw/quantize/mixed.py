"""Mixed precision between layers (Cao et al., arXiv 2410.06722): a share Q_r of the weights in low precision, the rest not.

Which layers, is the choice: `random` by a seed (their law takes the best of many masks), `sensitivity` the least sensitive
first, or `names` that are given. Sensitivity of a layer is its expected rise of the loss per weight when rounded to
nearest, sum g^2 (w - q)^2 / weights, with the calibration gradients g (diagonal Fisher). Layers are taken in that order while
that brings their share of all weights nearer to `share`. The others stay 16 bit, or get the format `rest`.

Nominal bits P are share * bits + (1 - share) * bits of the rest; for `names`, whose share no one knows before the model is
seen, those of the low-precision part. `bits_per_weight` of the record counts what was done.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bitlaw.errors import InputError
from bitlaw.formats import Format, parse_format
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize.method import (
    GRADIENTS,
    LayerFacts,
    Method,
    Quantized,
    find_method,
    require_between,
    require_choice,
    require_whole,
)
from bitlaw.quantize.scalars import scalar, scalar_text
from bitlaw.quantize.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class MixedOptions:
    """Settings of the choice, and the inner method that quantizes the chosen layers.

    share           Q_r, the share of the weights in low precision, 0 to 1
    order           `random`, `sensitivity` or `names`
    seed            of `random`
    names           of `names`: patterns such as `*.mlp.*`, separated by commas
    rest            format of the other layers, or `none`: 16 bits
    inner           the method for both parts
    inner_options   its options as `name=value,name=value`; kept with every default written out
    """

    share: float = 0.5
    order: str = "random"
    seed: int = 0
    names: str = ""
    rest: str = "none"
    inner: str = "nearest"
    inner_options: str = ""

    def __post_init__(self) -> None:
        require_between("share", self.share, 0.0, 1.0)
        require_choice("order", self.order, ("random", "sensitivity", "names"))
        require_whole("seed", self.seed, 0)
        if (self.order == "names") != bool(self.names):
            raise InputError(
                f"order={self.order!r} and names={self.names!r} do not go together. "
                "Give order='names' with patterns such as names='*.mlp.*', or another order without names."
            )
        if self.rest != "none":
            parse_format(self.rest)
        inner = find_method(self.inner)
        if inner.choose is not None or inner.probe:
            what = "chooses layers itself" if inner.choose is not None else "probes the loss and quantizes nothing"
            raise InputError(f"inner={self.inner!r} {what}. Give a method such as nearest or gptq.")
        written = dataclasses.asdict(inner_method(self)[1])
        canonical = ",".join(f"{name}={scalar_text(value)}" for name, value in sorted(written.items()))
        object.__setattr__(self, "inner_options", canonical)


def inner_method(options: MixedOptions) -> tuple[Method, Any]:
    """Return the inner method and its options. Raises UnknownName or InputError for what is not known."""
    method = find_method(options.inner)
    pairs = [pair.partition("=") for pair in options.inner_options.split(",") if pair]
    return method, method.make_options({name.strip(): scalar(value.strip()) for name, _, value in pairs})


def mixed(weight: torch.Tensor, statistics: Statistics, format: Format, options: MixedOptions) -> Quantized:
    """Return one chosen layer's weight, by the inner method. weight [out, in] -> [out, in]; the choice is `choose`."""
    method, inner_options = inner_method(options)
    return method.quantize(weight, statistics, format, inner_options)


def choose(layers: Sequence[LayerFacts], format: Format, options: MixedOptions) -> Mapping[str, Format | None]:
    """Return the format of every layer, None for one that stays 16 bit.

    Raises InputError for a pattern that matches no layer, or an order by sensitivity without gradients.
    """
    rest = None if options.rest == "none" else parse_format(options.rest)
    low = set(_chosen(layers, format, options))
    return {layer.name: format if layer.name in low else rest for layer in layers}


def _chosen(layers: Sequence[LayerFacts], format: Format, options: MixedOptions) -> Iterator[str]:
    if options.order == "names":
        names = [layer.name for layer in layers]
        for pattern in (p.strip() for p in options.names.split(",")):
            matched = fnmatch.filter(names, pattern)
            if not matched:
                raise InputError(f"names={pattern!r} matches no layer. The model has {names[0]} to {names[-1]}.")
            yield from matched
        return
    wanted = options.share * sum(layer.weight.numel() for layer in layers)
    taken = 0
    for layer in _ordered(layers, format, options):
        size = layer.weight.numel()
        if abs(taken + size - wanted) < abs(taken - wanted):
            taken += size
            yield layer.name


def _ordered(layers: Sequence[LayerFacts], format: Format, options: MixedOptions) -> list[LayerFacts]:
    if options.order == "random":
        generator = torch.Generator().manual_seed(options.seed)
        return [layers[i] for i in torch.randperm(len(layers), generator=generator).tolist()]
    return sorted(layers, key=lambda layer: sensitivity(layer, format))


def sensitivity(layer: LayerFacts, format: Format) -> float:
    """Return sum g^2 (w - q)^2 / weights, q the weight rounded to nearest: half of it estimates nats per weight."""
    if layer.gradients is None:
        raise InputError(f"order='sensitivity' needs gradients of {layer.name!r}: give a calibration text.")
    weight = layer.weight.float()
    difference = quantize_groups(weight, format, layer.name) - weight
    return float((layer.gradients.squared * difference.square()).double().mean())


def nominal_bits(format: Format, options: MixedOptions) -> float:
    """Return the average of the nominal bits, weighted by `share`; the format's for `names`."""
    if options.order == "names":
        return format.bits
    rest = 16.0 if options.rest == "none" else parse_format(options.rest).bits
    return options.share * format.bits + (1.0 - options.share) * rest


def _needs(options: MixedOptions) -> frozenset[str]:
    method, inner_options = inner_method(options)
    own = {GRADIENTS} if options.order == "sensitivity" else set()
    return method.needs(inner_options) | own


MIXED = Method(
    name="mixed",
    options=MixedOptions,
    function=mixed,
    needs=_needs,
    bits=nominal_bits,
    choose=choose,
    inner=inner_method,
)
