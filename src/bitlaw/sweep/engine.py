"""The walk: every block once, and in it every variant. What a variant is fed:

    evaluation stream    from the variant's own quantized blocks: what its user would see
    calibration stream   upstream `full_precision`: the 16-bit one, shared; `quantized`: the variant's own

The baseline runs through the same kernels on the same chunks, so QiD is a paired difference. A variant that fails (a
Hessian that cannot be factorised, weights or losses that are not finite) ends as a state with its reason; the others go on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from bitlaw.errors import HessianError, InputError, MeasurementError, NonFiniteError
from bitlaw.formats import Format, parse_format, quantize_groups
from bitlaw.formats.grouping import bits_per_weight
from bitlaw.quantize import InputStatistics, Method, WeightGradients, find_method
from bitlaw.quantize.method import GRADIENTS, PAIRS, LayerFacts, Quantized, format_bits, needs_calibration
from bitlaw.records import Seen, Variant
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.layers import LinearLayer, Stream, collect, input_groups, linear_layers, replaced_weights
from bitlaw.sweep.score import Tally, reference

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass
class _Track:
    """One variant on its way through the blocks."""

    variant: Variant
    method: Method
    format: Format
    options: Any
    evaluation: Stream
    calibration: Stream
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
    tally: Tally = field(default_factory=Tally)

    @property
    def own_calibration(self) -> bool:
        """Whether the method's inputs come from the network quantized so far."""
        return self.method.calibrated and self.options.upstream == "quantized"

    @property
    def pairs(self) -> bool:
        """Whether the method compares its inputs with those of the 16-bit network."""
        return PAIRS in self.method.needs(self.options)

    def quantize(self, layer: LinearLayer, statistics: InputStatistics | WeightGradients | None) -> torch.Tensor:
        """Return the layer's quantized weight, [out, in] in the layer's dtype, and keep count of it."""
        original = layer.module.weight.data
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
            bits_per_weight=self.stored_bits / self.parameters,
            sqnr_db=10.0 * float(torch.log10(torch.tensor(ratio, dtype=torch.float64))),
            fallback_layers=len(self.fallbacks),
            fallbacks="; ".join(self.fallbacks),
        )


@dataclass(frozen=True, kw_only=True)
class SweptVariant:
    """What the sweep saw of one variant, and the seconds spent on it alone (shared work is in none)."""

    variant: Variant
    seen: Seen
    seconds: float


@torch.no_grad()
def sweep(
    model: nn.Module,
    variants: Sequence[Variant],
    evaluation: torch.Tensor,
    calibration: torch.Tensor | None = None,
    *,
    batch_windows: int = 16,
    watch: Watch = lambda done, total: None,
) -> list[SweptVariant]:
    """Measure all variants of a model in one walk over its blocks.

    evaluation [windows, T] and calibration [windows, T] are token ids; calibration may be None if no variant needs it.
    The variant `none` may be among the variants: it is the 16-bit baseline. Results come in the order asked.
    Raises InputError for a variant that cannot serve this model's layers, before any work; NonFiniteError if the
    baseline's own loss is not finite. The model is unchanged afterwards.
    """
    decoder = Decoder(model)
    tracks = [_track(v) for v in variants if v.method != "none"]
    needy = sorted({v.method for v in variants if needs_calibration(v)})
    if calibration is None and needy:
        raise InputError(f"Method {needy[0]!r} looks at layer inputs: give a calibration text.")
    _prepare(decoder, tracks, calibration, batch_windows)
    _check_layers(decoder, tracks)
    chunks = _chunks(evaluation, batch_windows, decoder.device)
    entry = [decoder.embed(ids) for ids in chunks]
    calibration_entry: Stream = []
    if calibration is not None and any(t.method.calibrated for t in tracks):
        calibration_entry = [decoder.embed(ids) for ids in _chunks(calibration, batch_windows, decoder.device)]
    base, shared = entry, calibration_entry
    for track in tracks:
        track.evaluation, track.calibration = entry, calibration_entry
    steps = len(decoder.blocks) * (len(tracks) + 1) + 1
    count = itertools.count(1)
    for index in range(len(decoder.blocks)):
        shared = _walk_block(decoder, index, tracks, shared, lambda: watch(next(count), steps))
        base = [decoder.run_block(index, hidden) for hidden in base]
        watch(next(count), steps)
    baseline = _score(decoder, chunks, base, tracks)
    watch(steps, steps)
    by_variant = {id(t.variant): SweptVariant(variant=t.variant, seen=t.seen(), seconds=t.seconds) for t in tracks}
    none = Seen(**asdict(baseline), bits_per_weight=16.0)
    return [by_variant.get(id(v)) or SweptVariant(variant=v, seen=none, seconds=0.0) for v in variants]


def _chunks(ids: torch.Tensor, windows: int, device: torch.device) -> list[torch.Tensor]:
    on_device = ids.to(device)
    return [on_device[start : start + windows] for start in range(0, len(ids), windows)]


def _track(variant: Variant) -> _Track:
    method = find_method(variant.method)
    options = method.make_options(variant.options)
    if method.inner is not None:
        method, options = method.inner(options)
    return _Track(variant, method, parse_format(variant.format), options, evaluation=[], calibration=[])


def _prepare(decoder: Decoder, tracks: Sequence[_Track], calibration: torch.Tensor | None, batch_windows: int) -> None:
    """Give every track what it needs of the whole model: gradients, and the choice between layers where it makes one."""
    layers = [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]
    asked = [find_method(track.variant.method) for track in tracks]
    options = [method.make_options(track.variant.options) for method, track in zip(asked, tracks, strict=True)]
    needy = [GRADIENTS in method.needs(made) for method, made in zip(asked, options, strict=True)]
    gradients: dict[str, WeightGradients] = {}
    if calibration is not None and any(needy):
        gradients = collect_gradients(decoder, layers, _chunks(calibration, batch_windows, decoder.device))
    facts = [LayerFacts(name=n.name, weight=n.module.weight.data, gradients=gradients.get(n.name)) for n in layers]
    for track, method, made, needs in zip(tracks, asked, options, needy, strict=True):
        track.gradients = gradients if needs else {}
        if method.choose is not None:
            track.chosen = dict(method.choose(facts, track.format, made))


def _check_layers(decoder: Decoder, tracks: Sequence[_Track]) -> None:
    """Raise InputError now, not after an hour, if a format cannot serve a layer."""
    for index in range(len(decoder.blocks)):
        for layer in linear_layers(decoder, index):
            for track in tracks:
                format = track.chosen.get(layer.name, track.format)
                if format is not None:
                    bits_per_weight(layer.module.in_features, format, layer.name)


def _walk_block(
    decoder: Decoder, index: int, tracks: Sequence[_Track], shared: Stream, done: Callable[[], None]
) -> Stream:
    """Quantize the block for every variant and move their streams behind it; return the shared calibration stream there."""
    layers = linear_layers(decoder, index)
    running = [t for t in tracks if not t.reason]
    calibrated = [t for t in running if t.method.calibrated]
    example = calibrated[0].calibration if calibrated and calibrated[0].own_calibration else shared
    groups = input_groups(decoder, index, example[0]) if calibrated else []
    shared_statistics: list[InputStatistics] = []
    behind: Stream = []
    # In the first block every calibration stream is still the shared one, and so are its statistics.
    if any(t.calibration is shared or not t.own_calibration for t in calibrated):
        shared_statistics, behind = collect(decoder, index, groups, shared)
    elif any(t.pairs for t in calibrated):
        behind = [decoder.run_block(index, hidden) for hidden in shared]
    for track in running:
        started = time.perf_counter()
        try:
            weights = _quantize_block(decoder, index, track, layers, groups, shared, shared_statistics)
            with replaced_weights(layers, weights):
                track.evaluation = [decoder.run_block(index, hidden) for hidden in track.evaluation]
                if track.own_calibration and index + 1 < len(decoder.blocks):
                    track.calibration = [decoder.run_block(index, hidden) for hidden in track.calibration]
        except MeasurementError as error:
            track.reason = str(error)
            track.evaluation, track.calibration = [], []
        track.seconds += time.perf_counter() - started
        done()
    return behind


def _quantize_block(
    decoder: Decoder,
    index: int,
    track: _Track,
    layers: Sequence[LinearLayer],
    groups: Sequence[Sequence[LinearLayer]],
    shared: Stream,
    shared_statistics: Sequence[InputStatistics],
) -> dict[str, torch.Tensor]:
    """Return the quantized weight of every layer of the block, by name."""
    if not track.method.calibrated:
        return {layer.name: track.quantize(layer, track.gradients.get(layer.name)) for layer in layers}
    weights: dict[str, torch.Tensor] = {}
    beside = shared if track.pairs else None
    if track.options.within_block == "sequential":
        for group in groups:
            (statistics,), _ = collect(
                decoder, index, [group], track.calibration, weights=weights, full_precision=beside
            )
            weights |= {layer.name: track.quantize(layer, statistics) for layer in group}
        return weights
    of_groups = shared_statistics
    if track.own_calibration and track.calibration is not shared:
        of_groups, _ = collect(decoder, index, groups, track.calibration, full_precision=beside)
    for group, statistics in zip(groups, of_groups, strict=True):
        weights |= {layer.name: track.quantize(layer, statistics) for layer in group}
    return weights


def _score(decoder: Decoder, chunks: Sequence[torch.Tensor], base: Stream, tracks: Sequence[_Track]) -> Tally:
    """Score every running variant against the baseline, chunk by chunk; return the baseline's own sums."""
    baseline = Tally()
    for number, ids in enumerate(chunks):
        truth = reference(decoder.head(ids, base[number]), ids)
        baseline.add(None, truth)
        if baseline.non_finite_tokens:
            raise NonFiniteError(
                f"the 16-bit model itself gives a non-finite loss on {baseline.non_finite_tokens} of its first "
                f"{baseline.tokens_scored} tokens"
            )
        for track in tracks:
            if not track.reason:
                started = time.perf_counter()
                track.tally.add(decoder.head(ids, track.evaluation[number]), truth)
                track.seconds += time.perf_counter() - started
    return baseline
