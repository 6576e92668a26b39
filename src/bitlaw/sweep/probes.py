"""What probes of the loss landscape share: random directions drawn once for all distances, quantizations made once for all
offsets. Both are kept for one block only.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import torch

from bitlaw.errors import InputError, NonFiniteError
from bitlaw.quantize.compensated import CompensatedOptions
from bitlaw.quantize.method import Method, NoOptions, Quantized
from bitlaw.quantize.perturb import RandomOptions
from bitlaw.quantize.statistics import Direction
from bitlaw.sweep.curvature import taylor_terms
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.experts import plain_experts
from bitlaw.sweep.layers import LinearLayer

Drawn = RandomOptions | CompensatedOptions
"""Options that name a random direction."""


def layer_noise(seed: int, name: str, shape: Sequence[int]) -> torch.Tensor:
    """Return standard normal noise [out, in], float32 on the CPU, that depends on the seed and the layer's name alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(*shape, generator=generator)


class Directions:
    """Random directions over the layers of a model, drawn when asked for. Norms are summed in float64."""

    def __init__(self, layers: Sequence[LinearLayer]) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._squares: dict[str, float] = {}
        self._noise_squares: dict[tuple[int, str], float] = {}
        self._kept: dict[tuple[int, str], torch.Tensor] = {}

    def chosen(self, options: Drawn) -> list[str]:
        """Return the names of the layers that move. Raises InputError for a pattern that matches none."""
        if options.layers == "all":
            return list(self._layers)
        found = fnmatch.filter(self._layers, options.layers)
        if not found:
            names = list(self._layers)
            told = (
                f"The model has {names[0]} to {names[-1]}" if names else "The model has no linear layer in its blocks"
            )
            raise InputError(f"layers={options.layers!r} matches no layer. {told}.")
        return found

    def of(self, options: Drawn) -> Mapping[str, Direction]:
        """Return a direction's part in each chosen layer, by name; drawn when it is asked for."""
        return _Along(self, options)

    def length(self, options: Drawn) -> float:
        """Return |w| / |noise| over the chosen layers; 0 for weights that are all zero."""
        signal = math.sqrt(sum(self._square(name) for name in self.chosen(options)))
        return signal / math.sqrt(sum(self._noise_square(options.seed, name) for name in self.chosen(options)))

    def unit(self, options: Drawn) -> dict[str, torch.Tensor]:
        """Return the unit direction itself, parameter name -> its part in the parameter's layout, float32."""
        names = self.chosen(options)
        parts: dict[str, torch.Tensor] = {}
        for name in names:
            layer, own = self._layers[name], self._layers[name].to_stored(self.noise(options.seed, name))
            if layer.stacked:  # the other experts of the parameter may not move
                parts.setdefault(layer.parameter_name, torch.zeros_like(layer.stored.data, dtype=torch.float32))
                parts[layer.parameter_name][layer.expert] = own
            else:
                parts[layer.parameter_name] = own
        norm = math.sqrt(sum(self._noise_square(options.seed, name) for name in names))
        self.forget()
        return {name: part / norm for name, part in parts.items()}

    def read(self, layers: Sequence[LinearLayer]) -> None:
        """Take the layers' part in the norm of the weights while they are at hand: a streamed model's soon are not."""
        for layer in layers:
            self._square(layer.name)

    def weight_norm(self) -> float | None:
        """Return |w| over all layers; None if there is none."""
        return math.sqrt(sum(map(self._square, self._layers))) if self._layers else None

    def noise(self, seed: int, name: str) -> torch.Tensor:
        """Return a layer's noise on the layer's device, drawn once until `forget`."""
        if (seed, name) not in self._kept:
            layer = self._layers[name]
            drawn = layer_noise(seed, name, (layer.out_features, layer.in_features))
            self._kept[seed, name] = drawn.to(layer.stored.device)
        return self._kept[seed, name]

    def forget(self) -> None:
        """Let go of the noise of the layers asked for so far."""
        self._kept.clear()

    def _square(self, name: str) -> float:
        if name not in self._squares:
            self._squares[name] = float(self._layers[name].weight.double().square().sum())
        return self._squares[name]

    def _noise_square(self, seed: int, name: str) -> float:
        if (seed, name) not in self._noise_squares:
            layer = self._layers[name]
            noise = layer_noise(seed, name, (layer.out_features, layer.in_features))
            self._noise_squares[seed, name] = float(noise.double().square().sum())
        return self._noise_squares[seed, name]


class _Along(Mapping[str, Direction]):
    """A direction by layer name."""

    def __init__(self, directions: Directions, options: Drawn) -> None:
        self._directions = directions
        self._seed = options.seed
        self._names = dict.fromkeys(directions.chosen(options))
        self._length = directions.length(options) if self._names else 0.0

    def __getitem__(self, name: str) -> Direction:
        if name not in self._names:
            raise KeyError(name)
        return Direction(noise=self._directions.noise(self._seed, name), length=self._length)

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def made_alike(method: Method, format: str, options: Any) -> Hashable:
    """Return what decides a layer's Q(w), equal for a quantization and the probes along it."""
    if method.quantizer is not None:
        method, options = method.quantizer(options)
    return method.name, format, () if isinstance(options, NoOptions) else astuple(options)


def alike_together(tracks: Sequence[Any]) -> list[Any]:
    """Return the tracks with those whose Q(w) is made alike beside each other, else in the order given."""
    first: dict[Hashable, int] = {}
    keys = [
        made_alike(t.method, t.format.name, t.options) if t.format is not None else (number,)
        for number, t in enumerate(tracks)
    ]
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    return [track for _, _, track in sorted(zip(map(first.__getitem__, keys), range(len(tracks)), tracks))]


class Reuse:
    """Q(w) of the layers of a block, of the last quantization made, so that probes along it do not make it again."""

    def __init__(self) -> None:
        self._alike: Hashable = None
        self._kept: dict[str, Quantized] = {}

    def quantized(self, alike: Hashable, layer: str, make: Callable[[], Quantized]) -> Quantized:
        """Return the layer's Q(w), made by `make` unless the last variant's was made alike."""
        if alike != self._alike:
            self._alike, self._kept = alike, {}
        if layer not in self._kept:
            self._kept[layer] = make()
        return self._kept[layer]

    def forget(self) -> None:
        """Let go of what is kept."""
        self._alike, self._kept = None, {}


def differentiate(
    decoder: Decoder, tracks: Sequence[Any], directions: Directions, chunks: Sequence[torch.Tensor]
) -> None:
    """Give the tracks that ask for it (`taylor`) g.e and e.H.e of their directions, each direction once.

    A term that is not finite fails the tracks that asked.
    """
    asking: dict[tuple[int, str], list[Any]] = {}
    for track in tracks:
        if isinstance(track.options, RandomOptions) and track.options.taylor:
            asking.setdefault((track.options.seed, track.options.layers), []).append(track)
    for group in asking.values():  # one after another: a direction is as large as the weights
        unit = directions.unit(group[0].options)
        try:
            with plain_experts(decoder.model):  # the fast kernels have no second derivative
                (terms,) = taylor_terms(decoder.model, [unit], chunks)
        except NonFiniteError as error:
            for track in group:
                track.reason = str(error)
            continue
        for track in group:
            track.taylor = terms
