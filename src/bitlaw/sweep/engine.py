"""The walk: every block once, and in it every variant. What a variant is fed:

    evaluation stream    from the variant's own quantized blocks: what its user would see
    calibration stream   upstream `full_precision`: the 16-bit one, shared; `quantized`: the variant's own

Activations and KV cache are rounded in the blocks a stream passes on its way, weights with them. A block whose weights are
being chosen reads unrounded inputs: statistics are those of `layers.collect`, whatever the activations. Static
activation scales come from the 16-bit network's calibration stream, one a layer input, shared by all variants.

The baseline runs through the same kernels on the same chunks, so QiD is a paired difference. A variant that fails (a
Hessian that cannot be factorised, weights or losses that are not finite) ends as a state with its reason; the others go on.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from bitlaw.errors import InputError, MeasurementError, NonFiniteError
from bitlaw.formats.grouping import bits_per_weight
from bitlaw.quantize import InputStatistics, WeightGradients, needs_calibration
from bitlaw.quantize.method import DIRECTION, GRADIENTS, LayerFacts, Method
from bitlaw.records import Seen, Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep.activations import (
    check_activations,
    has_static_scales,
    largest_inputs,
    parse_activations,
    rounded_inputs,
)
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.kv_cache import check_cache, parse_kv_cache
from bitlaw.sweep.layers import LinearLayer, Stream, collect, input_groups, linear_layers, replaced_weights
from bitlaw.sweep.layout import take_apart
from bitlaw.sweep.probes import Directions, Reuse, alike_together, differentiate
from bitlaw.sweep.score import Tally, reference
from bitlaw.sweep.track import Track, method_of
from bitlaw.sweep.whole_model import WholeModel, refuse_caches, walk_whole

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class SweptVariant:
    """What the sweep saw of one variant, and the seconds spent on it alone (shared work is in none).

    whole_model: why the model was run as a whole instead of block by block; empty for all families that are known.
    """

    variant: Variant
    seen: Seen
    seconds: float
    whole_model: str = ""


@torch.no_grad()
def sweep(
    model: nn.Module | StreamedModel,
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
    A model that is not a chain of blocks is run as a whole for every variant, with a warning.
    Raises InputError for a variant that cannot serve this model's layers, before any work; NonFiniteError if the
    baseline's own loss is not finite. The model is unchanged afterwards.
    """
    decoder, why_whole = take_apart(model, evaluation[:1, :PROBE_TOKENS])
    reuse = Reuse()
    tracks = alike_together([_track(v, reuse) for v in variants if not v.is_baseline])
    if calibration is None:
        _refuse_without_calibration(variants)
    directions = Directions([layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)])
    _prepare(decoder, tracks, calibration, batch_windows, directions)
    _check_layers(decoder, tracks)
    if isinstance(decoder, WholeModel):
        warnings.warn(f"{type(decoder.model).__name__} is run as a whole, which is slower: {why_whole}", stacklevel=2)
        refuse_caches(decoder.model, tracks, why_whole)
    for name in dict.fromkeys(t.variant.kv_cache for t in tracks if t.cache is not None):
        check_cache(decoder, evaluation[:1, :2].to(decoder.device), name)
    chunks = _chunks(evaluation, batch_windows, decoder.device)
    differentiate(decoder, tracks, directions, chunks)
    steps = len(decoder.blocks) * (len(tracks) + 1) + 1
    count = itertools.count(1)

    def forget() -> None:
        reuse.forget()
        directions.forget()

    if isinstance(decoder, WholeModel):
        ids = [] if calibration is None else _chunks(calibration, batch_windows, decoder.device)
        baseline = walk_whole(decoder, tracks, chunks, ids, lambda: watch(next(count), steps), forget)
        return _results(variants, tracks, baseline, directions, why_whole)
    entry = [decoder.embed(ids) for ids in chunks]
    calibration_entry: Stream = []
    if calibration is not None and any(t.method.calibrated or t.static for t in tracks):
        calibration_entry = [decoder.embed(ids) for ids in _chunks(calibration, batch_windows, decoder.device)]
    base, shared = entry, calibration_entry
    for track in tracks:
        track.evaluation, track.calibration = entry, calibration_entry
    for index in range(len(decoder.blocks)):
        with decoder.block(index):
            shared = _walk_block(decoder, index, tracks, shared, lambda: watch(next(count), steps))
            base = [decoder.run_block(index, hidden) for hidden in base]
            directions.read(linear_layers(decoder, index))
        watch(next(count), steps)
        forget()
    baseline = _score(decoder, chunks, base, tracks)
    watch(steps, steps)
    return _results(variants, tracks, baseline, directions, "")


PROBE_TOKENS = 8
"""Tokens that tell whether a model is a chain of blocks."""


def _results(
    variants: Sequence[Variant], tracks: Sequence[Track], baseline: Tally, directions: Directions, why_whole: str
) -> list[SweptVariant]:
    """Return what was seen of every variant, in the order asked."""
    by_variant = {
        id(t.variant): SweptVariant(variant=t.variant, seen=t.seen(), seconds=t.seconds, whole_model=why_whole)
        for t in tracks
    }
    none = Seen(**asdict(baseline), bits_per_weight=16.0, weight_norm=directions.weight_norm())
    return [
        by_variant.get(id(v)) or SweptVariant(variant=v, seen=none, seconds=0.0, whole_model=why_whole)
        for v in variants
    ]


def _chunks(ids: torch.Tensor, windows: int, device: torch.device) -> list[torch.Tensor]:
    on_device = ids.to(device)
    return [on_device[start : start + windows] for start in range(0, len(ids), windows)]


def _refuse_without_calibration(variants: Sequence[Variant]) -> None:
    """Raise InputError naming what needs the calibration text that was not given."""
    for variant in variants:
        if needs_calibration(variant):
            raise InputError(f"Method {variant.method!r} looks at layer inputs: give a calibration text.")
        if has_static_scales(variant):
            raise InputError(
                f"activations={variant.activations} has static scales, from layer inputs: give a calibration text."
            )


def _track(variant: Variant, reuse: Reuse | None = None) -> Track:
    method = method_of(variant)
    options = method.make_options(variant.options)
    if method.inner is not None:
        method, options = method.inner(options)
    return Track(
        variant,
        method,
        None if variant.method == "none" else method.find_format(variant.format),
        options,
        evaluation=[],
        calibration=[],
        activations=parse_activations(variant.activations),
        cache=parse_kv_cache(variant.kv_cache),
        reuse=reuse or Reuse(),
    )


def _prepare(
    decoder: Decoder,
    tracks: Sequence[Track],
    calibration: torch.Tensor | None,
    batch_windows: int,
    directions: Directions,
) -> None:
    """Give every track what it needs of the whole model: gradients, a direction, the choice between layers it makes."""
    layers = [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]
    asked = [method_of(track.variant) for track in tracks]
    options = [method.make_options(track.variant.options) for method, track in zip(asked, tracks, strict=True)]
    needy = [GRADIENTS in method.needs(made) for method, made in zip(asked, options, strict=True)]
    if decoder.streamed:
        moving = [DIRECTION in method.needs(made) for method, made in zip(asked, options, strict=True)]
        _refuse_whole_model(tracks, asked, [a or b for a, b in zip(needy, moving, strict=True)])
    gradients: dict[str, WeightGradients] = {}
    if calibration is not None and any(needy):
        gradients = collect_gradients(decoder, layers, _chunks(calibration, batch_windows, decoder.device))
    facts = [LayerFacts(name=n.name, weight=n.weight, gradients=gradients.get(n.name)) for n in layers]
    for track, method, made, needs in zip(tracks, asked, options, needy, strict=True):
        track.of_weights = gradients if needs else {}
        if DIRECTION in method.needs(made):
            track.of_weights = directions.of(made)
            track.chosen = {layer.name: None for layer in layers if layer.name not in track.of_weights}
        if method.choose is not None and track.format is not None:
            track.chosen = dict(method.choose(facts, track.format, made))


def _refuse_whole_model(tracks: Sequence[Track], asked: Sequence[Method], needy: Sequence[bool]) -> None:
    """Raise InputError for a method that looks at all weights at once, of a model that is read block by block."""
    for track, method, needs in zip(tracks, asked, needy, strict=True):
        if needs or (method.choose is not None and track.format is not None):
            raise InputError(
                f"Method {method.name!r} looks at all layers of the model at once, and this model is read block by block. "
                "Use --stream no (stream='no') on a machine that holds it, or leave the method out."
            )


def _check_layers(decoder: Decoder, tracks: Sequence[Track]) -> None:
    """Raise InputError now, not after an hour, if a format cannot serve a layer, or there is none to serve."""
    if not any(linear_layers(decoder, index) for index in range(len(decoder.blocks))):
        for track in tracks:
            if track.format is not None or track.activations is not None:
                raise InputError(
                    f"{track.variant.label} rounds linear layers, and there is none in the blocks of "
                    f"{type(decoder.model).__name__}. Only kv_cache can be measured on it."
                )
    for index in range(len(decoder.blocks)):
        layers = linear_layers(decoder, index)
        for track in tracks:
            if track.activations is not None:
                check_activations(track.activations, layers)
            for layer in layers:
                format = track.chosen.get(layer.name, track.format)
                if format is not None:
                    bits_per_weight(layer.in_features, format, layer.name)


def _walk_block(
    decoder: Decoder, index: int, tracks: Sequence[Track], shared: Stream, done: Callable[[], None]
) -> Stream:
    """Quantize the block for every variant and move their streams behind it; return the shared calibration stream there."""
    layers = linear_layers(decoder, index)
    running = [t for t in tracks if not t.reason]
    calibrated = [t for t in running if t.method.calibrated]
    example = calibrated[0].calibration if calibrated and calibrated[0].own_calibration else shared
    groups = input_groups(decoder, index, example[0]) if calibrated else []
    shared_statistics: list[InputStatistics] = []
    behind: Stream = []
    largest: dict[str, torch.Tensor] = {}
    if any(t.static for t in running):
        largest, behind = largest_inputs(decoder, index, shared)
    # In the first block every calibration stream is still the shared one, and so are its statistics.
    if any(t.calibration is shared or not t.own_calibration for t in calibrated):
        shared_statistics, behind = collect(decoder, index, groups, shared)
    elif any(t.pairs for t in calibrated) and not behind:
        behind = [decoder.run_block(index, hidden) for hidden in shared]
    for track in running:
        started = time.perf_counter()
        try:
            weights = _quantize_block(decoder, index, track, layers, groups, shared, shared_statistics)
            with replaced_weights(layers, weights):
                with rounded_inputs(layers, track.activations, largest, track.kernel):
                    track.evaluation = [decoder.run_block(index, h, track.cache) for h in track.evaluation]
                if track.own_calibration and index + 1 < len(decoder.blocks):
                    with rounded_inputs(layers, track.activations, largest):
                        track.calibration = [decoder.run_block(index, h, track.cache) for h in track.calibration]
        except MeasurementError as error:
            track.reason = str(error)
            track.evaluation, track.calibration = [], []
        track.seconds += time.perf_counter() - started
        done()
    return behind


def _quantize_block(
    decoder: Decoder,
    index: int,
    track: Track,
    layers: Sequence[LinearLayer],
    groups: Sequence[Sequence[LinearLayer]],
    shared: Stream,
    shared_statistics: Sequence[InputStatistics],
) -> dict[str, torch.Tensor]:
    """Return the quantized weight of every layer of the block, by name."""
    if not track.method.calibrated:
        return {layer.name: track.quantize(layer, track.of_weights.get(layer.name)) for layer in layers}
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


def _score(decoder: Decoder, chunks: Sequence[torch.Tensor], base: Stream, tracks: Sequence[Track]) -> Tally:
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
