"""What a method is, and how a method, a format and options become a variant of a record."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from bitlaw import catalog
from bitlaw.errors import HessianError, InputError, UnknownName
from bitlaw.formats import Format, parse_format
from bitlaw.formats.grouping import bits_per_weight
from bitlaw.quantize.statistics import Statistics, WeightGradients
from bitlaw.records import Scalar, Variant

INPUTS = "inputs"
"""InputStatistics of what the layer reads."""
PAIRS = "pairs"
"""InputStatistics with the drift between the quantized network's inputs and the 16-bit network's."""
GRADIENTS = "gradients"
"""WeightGradients of the unquantized model, collected before the first block."""
DIRECTION = "direction"
"""Direction of a perturbation, drawn from the weights' names; no text is read."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without settings."""


@dataclass(frozen=True, kw_only=True)
class CalibratedOptions:
    """Settings of every method that looks at layer inputs; how the inputs are gathered is the sweep's part.

    upstream       `quantized`: inputs come from the network quantized so far, each variant its own (Frantar et al. 2022);
                   `full_precision`: from the 16-bit network, shared by all variants (arXiv 2410.12119)
    within_block   `parallel`: all layers of a block see inputs of the unquantized block;
                   `sequential`: each sees those quantized before it (`true_sequential`)
    on_failure     a layer whose statistics cannot be used: `raise` fails the variant, `nearest` rounds the layer to
                   nearest and records it as a fallback
    """

    upstream: str = "quantized"
    within_block: str = "parallel"
    on_failure: str = "raise"

    def __post_init__(self) -> None:
        require_choice("upstream", self.upstream, ("quantized", "full_precision"))
        require_choice("within_block", self.within_block, ("parallel", "sequential"))
        require_choice("on_failure", self.on_failure, ("raise", "nearest"))
        if self.upstream == "full_precision" and self.within_block == "sequential":
            raise InputError(
                "within_block='sequential' feeds a layer the quantized layers before it, upstream='full_precision' never does. "
                "Choose one: upstream='quantized', or within_block='parallel'."
            )


def require_choice(name: str, value: object, accepted: tuple[str, ...]) -> None:
    """Raise InputError unless value is one of the accepted words."""
    if value not in accepted:
        near = difflib.get_close_matches(str(value), accepted, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{name}={value!r} is not known.{hint} Accepted: {', '.join(accepted)}.")


def require_whole(name: str, value: object, least: int) -> None:
    """Raise InputError unless value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}={value!r} is not usable. Give a whole number of at least {least}.")


def require_between(name: str, value: object, low: float, high: float) -> None:
    """Raise InputError unless value is a number from low to high."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        limits = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise InputError(f"{name}={value!r} is not usable. Give a number {limits}.")


def require_flag(name: str, value: object, *, only_if: bool = True, instead: str = "") -> None:
    """Raise InputError unless value is true or false, and false unless `only_if`; `instead` says what to give then."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} is not usable. Give true or false.")
    if value and not only_if:
        raise InputError(f"{name}=true does not go with the other options. Use {instead}.")


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What a method made of a layer's weight [out, in], and the bits its storage takes, scales and side tables included."""

    weight: torch.Tensor
    stored_bits: float


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """A layer as a choice between layers sees it: qualified name, weight [out, in], and its gradients where asked for."""

    name: str
    weight: torch.Tensor
    gradients: WeightGradients | None = None


@dataclass(frozen=True, kw_only=True)
class WeightJob:
    """One weight [out, in] float32 to be quantized to a format with a method's options."""

    weight: torch.Tensor
    format: Format
    options: Any


Together = Callable[[Sequence[WeightJob], Any], Sequence[torch.Tensor | HessianError]]
Function = Callable[[torch.Tensor, Any, Format, Any], torch.Tensor | Quantized]
Choice = Callable[[Sequence[LayerFacts], Format, Any], Mapping[str, Format | None]]


def _needs_of_options(options: Any) -> frozenset[str]:
    return frozenset({INPUTS} if isinstance(options, CalibratedOptions) else ())


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its name, its options and the tensor function.

    function   (weight [out, in] float32, statistics, format, options) -> [out, in], the quantized weight as real numbers,
               or a Quantized where storage takes other bits than the format alone; it changes nothing it is given
    needs      which statistics the function and the choice look at, of INPUTS, PAIRS, GRADIENTS, DIRECTION; INPUTS for
               CalibratedOptions
    bits       nominal bits per weight P, where not the format's own
    choose     a choice between the layers of a model: the format of each, None for a layer that stays 16 bit
    together   (jobs, statistics) -> one weight [out, in] a job, or the HessianError it met: several weights that read one
               input (layers, variants) at once, with the numbers of `function`; None where there is no faster way
    inner      the method and options that work on a layer, where the method itself only chooses layers or between methods
    options_of  the class of the options given, where it depends on them; `options` is that of none given
    only_format  the one format of a method that rounds to none
    quantizer  of a probe beside a quantization: the method and options that make Q(w), which others may have made already
    shift      of the same: (weight, its Quantized, options) -> the probe's point
    """

    name: str
    options: type[Any]
    function: Function
    needs: Callable[[Any], frozenset[str]] = _needs_of_options
    bits: Callable[[Format, Any], float] | None = None
    choose: Choice | None = None
    together: Together | None = None
    inner: Callable[[Any], tuple[Method, Any]] | None = None
    options_of: Callable[[Mapping[str, Scalar]], type[Any]] | None = None
    only_format: Format | None = None
    quantizer: Callable[[Any], tuple[Method, Any]] | None = None
    shift: Callable[[torch.Tensor, Quantized, Any], Quantized] | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the function looks at the statistics of layer inputs."""
        return issubclass(self.options, CalibratedOptions)

    @property
    def probe(self) -> bool:
        """Whether it probes the loss landscape: its outcome is no quantized model."""
        return self.only_format is not None or self.quantizer is not None

    def quantize(
        self, weight: torch.Tensor, statistics: Statistics, format: Format, options: Any, layer: str = "weight"
    ) -> Quantized:
        """Return the quantized weight and its stored bits; a function that returns a bare weight stores the format's bits."""
        made = self.function(weight, statistics, format, options)
        if isinstance(made, Quantized):
            return made
        return Quantized(weight=made, stored_bits=format_bits(weight, format, layer))

    def make_options(self, given: Mapping[str, Scalar]) -> Any:
        """Return the options with defaults filled in. Raises InputError naming an unknown option and its near match."""
        options = self.options if self.options_of is None else self.options_of(given)
        known = [f.name for f in dataclasses.fields(options)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"Method {self.name!r} has no option {name!r}.{hint} Options: {', '.join(known) or 'none'}."
                )
        return options(**given)

    def find_format(self, name: str) -> Format:
        """Return the format of that name. Raises InputError where the method takes one only, or the name is unknown."""
        if self.only_format is None:
            return parse_format(name)
        return type(self.only_format).parse(name)


def format_bits(weight: torch.Tensor, format: Format, layer: str = "weight") -> float:
    """Return the bits a weight [out, in] takes in a format: codes, scales, zero points."""
    return weight.numel() * bits_per_weight(weight.shape[1], format, layer, rows=len(weight))


def find_method(name: str) -> Method:
    """Return the method or probe of that name. Raises UnknownName with near matches."""
    known = {**catalog.METHODS, **catalog.PROBES}
    if name not in known:
        raise UnknownName("method", name, known)
    return cast(Method, known[name].load())


def needs_calibration(variant: Variant) -> bool:
    """Whether a variant looks at a calibration text, for layer inputs or for gradients."""
    if variant.method == "none":
        return False
    method = find_method(variant.method)
    return bool(method.needs(method.make_options(variant.options)) - {DIRECTION})


def make_variant(method: str, format: str | Format, options: Mapping[str, Scalar] | None = None) -> Variant:
    """Return the variant of a method, a format (or its name) and options, with every default written out.

    `none` takes no format and no options. Raises InputError for anything unknown or out of range.
    """
    if method == "none":
        return Variant()
    found = find_method(method)
    grid = found.find_format(format if isinstance(format, str) else format.name)
    made = found.make_options(options or {})
    bits = found.bits(grid, made) if found.bits else grid.bits
    return Variant(
        method=method,
        format=grid.name,
        bits=float(bits),
        group_size=grid.group_size,
        options=dataclasses.asdict(made),
    )
