"""Fake quantization of what linear layers read: each distinct input is rounded to a grid and handed on as real numbers.

    int8_token   fp8_e4m3_token     dynamic: one scale a token, from the token itself (any intN and fpN_eXmY)
    mxfp4_e2m1_k32                  dynamic: one power-of-two scale for 32 features of a token (any mx format)
    int8_tensor  fp8_e4m3_tensor    static: one scale a layer input, the largest |x| of the 16-bit network's calibration stream;
                                    what goes beyond it later is clamped
    crossquant8  crossquant4        CrossQuant (arXiv 2410.07505): scale of token i and feature j is (max of token i)^0.15
                                    (max of feature j)^0.85, the maxima of one window

The grids are those of `bitlaw.formats`, integers symmetric: int8_token is int8_row_sym on [tokens, features]. Rounded are the
inputs of the linear layers that weights are quantized in (inside the decoder blocks), not those of the output head.
CrossQuant's feature maxima look at the whole window, later tokens included, as the authors' code does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from bitlaw.errors import InputError, UnknownName
from bitlaw.formats import Format, parse_format
from bitlaw.formats.grouping import group_width
from bitlaw.kernels.grouped import quantize_groups
from bitlaw.quantize import needs_calibration
from bitlaw.quantize.crossquant import crossquant_round
from bitlaw.records import Variant
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import LinearLayer, linear_layers, tapped, watched
from bitlaw.sweep.streams import Stream, advance

EXAMPLES = (
    "none", "int8_token", "int6_token", "int4_token", "fp8_e4m3_token", "fp8_e5m2_token", "int8_tensor", "fp8_e4m3_tensor",
    "mxfp8_e4m3_k32", "mxfp4_e2m1_k32", "crossquant8", "crossquant4",
)  # fmt: skip
CROSS_ALPHA = 0.15
"""The token's share of CrossQuant's exponent, the authors' choice."""


@dataclass(frozen=True, kw_only=True)
class ActivationFormat:
    """A way to round the inputs of linear layers. `scale`: `dynamic`, `static` or `cross`."""

    name: str
    format: Format
    scale: str = "dynamic"

    def round(self, inputs: torch.Tensor, largest: torch.Tensor | None = None) -> torch.Tensor:
        """Return the inputs rounded. inputs [B, T, F] or [T, F], any float dtype -> same; largest [], for static scales."""
        if self.scale == "static":
            assert largest is not None, f"{self.name} needs the largest input"
            bound, values = self.format.prepare(largest.float().reshape(1, 1)), inputs.float()
            return bound.round(values, bound.parameters(values)).to(inputs.dtype)
        if self.scale == "cross":
            windows = inputs.float().reshape(-1, *inputs.shape[-2:])
            rounded = [crossquant_round(window, self.format, CROSS_ALPHA) for window in windows]
            return torch.stack(rounded).reshape(inputs.shape).to(inputs.dtype)
        return quantize_groups(inputs.reshape(-1, inputs.shape[-1]), self.format).reshape(inputs.shape)


def parse_activations(name: str) -> ActivationFormat | None:
    """Return the activation format of a name; None for `none`, which rounds nothing.

    Raises UnknownName with the nearest example, InputError for an element that bitlaw.formats does not have.
    """
    if name == "none":
        return None
    if match := re.fullmatch(r"crossquant(\d+)", name):
        return ActivationFormat(name=name, format=parse_format(f"int{match.group(1)}_row_sym"), scale="cross")
    if re.fullmatch(r"mx(int|fp)\d+_\S+", name):
        return ActivationFormat(name=name, format=parse_format(name))
    if not (match := re.fullmatch(r"(int\d+|fp\d+_e\d+m\d+)_(token|tensor)", name)):
        raise UnknownName("activation format", name, EXAMPLES)
    element, scope = match.groups()
    grid = f"{element}_{'row' if scope == 'token' else 'tensor'}" + "_sym" * element.startswith("int")
    return ActivationFormat(name=name, format=parse_format(grid), scale="dynamic" if scope == "token" else "static")


def has_static_scales(variant: Variant) -> bool:
    """Whether the variant's activation scales come from a calibration text."""
    format = parse_activations(variant.activations)
    return format is not None and format.scale == "static"


def reads_calibration(variant: Variant) -> bool:
    """Whether a calibration text changes the variant: through its method's statistics or its static activation scales."""
    return needs_calibration(variant) or has_static_scales(variant)


def check_activations(format: ActivationFormat, layers: Sequence[LinearLayer]) -> None:
    """Raise InputError naming the layer whose inputs the format's groups do not divide."""
    for layer in layers:
        if layer.expert is not None and format.scale == "cross":
            raise InputError(
                f"{format.name} takes maxima over a window, and {layer.name} reads the tokens routed to it from all windows. "
                "Leave it out for mixtures of experts."
            )
        group_width(layer.in_features, format.format, layer.name)


def largest_inputs(decoder: Decoder, index: int, stream: Stream) -> tuple[dict[str, torch.Tensor], Stream]:
    """Run a block on a calibration stream; return the largest |input| of every linear layer, by name, and the stream behind."""
    largest: dict[str, torch.Tensor] = {}

    def note(layer: LinearLayer, inputs: torch.Tensor) -> None:
        here = inputs.abs().amax().float()
        largest[layer.name] = torch.maximum(largest[layer.name], here) if layer.name in largest else here

    with watched(linear_layers(decoder, index), note):
        behind = advance(stream, lambda hidden: decoder.run_block(index, hidden), keep=True)
    for layer in linear_layers(decoder, index):
        if layer.name not in largest:  # an expert without a token: as wide as the widest of the others
            others = [n for n in linear_layers(decoder, index) if _kind(n) == _kind(layer) and n.name in largest]
            largest[layer.name] = torch.stack([largest[n.name] for n in others]).amax()
    return largest, behind


def _kind(layer: LinearLayer) -> str:
    """The layer's name without the number of its expert: alike for the same matrix of other experts."""
    before, _, after = f".{layer.name}.".rpartition(f".{layer.expert}.")
    return f"{before}.{after}"


@dataclass
class ZeroCount:
    """The quantization kernel: elements of rounded inputs that are zero, and all elements. An input shared by several layers counts once."""

    zeros: list[torch.Tensor] = field(default_factory=list)
    elements: int = 0

    def add(self, rounded: torch.Tensor) -> None:
        """Count one rounded input."""
        self.zeros.append((rounded == 0).sum())
        self.elements += rounded.numel()

    def share(self) -> float | None:
        """Return zeros over elements; None if nothing was counted."""
        zeros = [count.to(self.zeros[0].device) for count in self.zeros]  # blocks may be on several
        return float(torch.stack(zeros).sum()) / self.elements if self.elements else None


@contextmanager
def rounded_inputs(
    layers: Sequence[LinearLayer],
    format: ActivationFormat | None,
    largest: Mapping[str, torch.Tensor],
    count: ZeroCount | None = None,
) -> Iterator[None]:
    """Let the layers read rounded inputs for a while. Layers that read the same tensor read the same rounded one."""
    last: list[tuple[torch.Tensor, int, torch.Tensor]] = []  # source, its version, rounded

    def act(layer: LinearLayer, source: torch.Tensor) -> torch.Tensor:
        assert format is not None
        if not (last and last[0][0] is source and last[0][1] == source._version):
            rounded = format.round(source, largest.get(layer.name))
            last[:] = [(source, source._version, rounded)]
            if count is not None:
                count.add(rounded)
        return last[0][2]

    with tapped(layers if format is not None else [], act):
        yield
