"""What a method is, and how a method, a format and options become a variant of a record."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from bitlaw import catalog
from bitlaw.errors import InputError
from bitlaw.formats import Format, parse_format
from bitlaw.quantize.statistics import InputStatistics
from bitlaw.records import Scalar, Variant


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


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its name, its options and the tensor function.

    `function(weight [out, in] float32, statistics, format, options) -> [out, in]` returns the quantized weight as real
    numbers on the format's grid. `statistics` is None for a method whose options are not CalibratedOptions.
    """

    name: str
    options: type[Any]
    function: Callable[[torch.Tensor, InputStatistics | None, Format, Any], torch.Tensor]

    @property
    def calibrated(self) -> bool:
        """Whether the method needs the statistics of layer inputs."""
        return issubclass(self.options, CalibratedOptions)

    def make_options(self, given: Mapping[str, Scalar]) -> Any:
        """Return the options with defaults filled in. Raises InputError naming an unknown option and its near match."""
        known = [f.name for f in dataclasses.fields(self.options)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"Method {self.name!r} has no option {name!r}.{hint} Options: {', '.join(known) or 'none'}."
                )
        return self.options(**given)


def find_method(name: str) -> Method:
    """Return the method of that name. Raises UnknownName with near matches."""
    return cast(Method, catalog.find("method", name).load())


def make_variant(method: str, format: str | Format, options: Mapping[str, Scalar] | None = None) -> Variant:
    """Return the variant of a method, a format (or its name) and options, with every default written out.

    `none` takes no format and no options. Raises InputError for anything unknown or out of range.
    """
    if method == "none":
        return Variant()
    found = find_method(method)
    grid = parse_format(format) if isinstance(format, str) else format
    resolved = dataclasses.asdict(found.make_options(options or {}))
    return Variant(method=method, format=grid.name, bits=float(grid.bits), group_size=grid.group_size, options=resolved)
