"""One block: what its inputs tell, its weights for every variant, and the streams moved behind it.

Variants that share their calibration stream share its statistics and factors, and a method that can quantizes all of them
in one go (`Method.together`), with the layers that read one input beside each other. A variant whose upstream is its own
has its own statistics, and only its siblings beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache

import torch

from bitlaw.errors import HessianError, MeasurementError
from bitlaw.quantize import InputStatistics
from bitlaw.quantize.method import Together, WeightJob
from bitlaw.sweep.activations import largest_inputs, rounded_inputs
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import (
    LinearLayer,
    collect,
    collect_through,
    input_groups,
    linear_layers,
    replaced_weights,
    stages,
)
from bitlaw.sweep.streams import Stream, advance
from bitlaw.sweep.track import LayerWeight, Track, read_weight

Weights = dict[str, torch.Tensor]
"""New weights of a block's layers, [out, in] each, by name."""
Read = Callable[[LinearLayer], LayerWeight]
"""Gives a layer's weight; raises NonFiniteError for one that is not finite."""


def walk_block(
    decoder: Decoder, index: int, tracks: Sequence[Track], shared: Stream, done: Callable[[], None]
) -> Stream:
    """Quantize the block for every variant and move their streams behind it; return the shared calibration stream there.

    A variant that fails has its reason afterwards, and no streams.
    """
    layers = linear_layers(decoder, index)
    read = cache(read_weight)  # once for all variants
    running = [t for t in tracks if not t.reason]
    calibrated = [t for t in running if t.method.calibrated]
    example = calibrated[0].calibration if calibrated and calibrated[0].own_calibration else shared
    groups = input_groups(decoder, index, example[0]) if calibrated else []
    behind: Stream = []
    largest: dict[str, torch.Tensor] = {}
    if any(t.static for t in running):
        largest, behind = largest_inputs(decoder, index, shared)
    # In the first block every calibration stream is still the shared one, and so are its statistics. A sequential variant
    # reads its own even there: its layers see the quantized ones before them.
    alike = [
        t
        for t in calibrated
        if (t.calibration is shared or not t.own_calibration) and t.options.within_block != "sequential"
    ]
    together: dict[int, Weights] = {}
    if alike:
        if behind or all(
            t.own_calibration and not t.pairs for t in calibrated
        ):  # nobody reads the shared stream further on
            statistics = collect(decoder, index, groups, shared)
        else:
            statistics, behind = collect_through(decoder, index, groups, shared)
        together = _quantize_shared(alike, groups, statistics, read)
        del statistics
    elif any(t.pairs for t in calibrated) and not behind:
        behind = advance(shared, lambda hidden: decoder.move(index, hidden), keep=True)
    for track in running:
        started = time.perf_counter()
        try:
            if track.reason:
                raise MeasurementError(track.reason)
            weights = together.pop(id(track), None)
            if weights is None:
                weights = _quantize_alone(decoder, index, track, layers, groups, shared, read)
            with replaced_weights(layers, weights):
                del weights
                _move(decoder, index, track, layers, largest)
        except MeasurementError as error:
            track.reason = str(error)
            track.evaluation, track.calibration = [], []
        track.seconds += time.perf_counter() - started
        done()
    return behind


def _move(
    decoder: Decoder, index: int, track: Track, layers: Sequence[LinearLayer], largest: Mapping[str, torch.Tensor]
) -> None:
    """Move a variant's streams behind the block, whose layers hold the variant's weights."""

    def step(hidden: torch.Tensor) -> torch.Tensor:
        return decoder.move(index, hidden, track.cache)

    keep = index == 0  # before the first block, streams are those of all variants
    with rounded_inputs(layers, track.activations, largest, track.kernel):
        track.evaluation = advance(track.evaluation, step, keep=keep, host=track.on_host)
    if track.own_calibration and index + 1 < len(decoder.blocks):
        with rounded_inputs(layers, track.activations, largest):
            track.calibration = advance(track.calibration, step, keep=keep, host=track.on_host)


def _quantize_shared(
    tracks: Sequence[Track],
    groups: Sequence[Sequence[LinearLayer]],
    statistics: Sequence[InputStatistics],
    read: Read,
) -> dict[int, Weights]:
    """Return the block's weights of variants that share the statistics, by id of the track; failures get their reason."""
    weights: dict[int, Weights] = {id(track): {} for track in tracks}
    for group, of_group in zip(groups, statistics, strict=True):
        started = time.perf_counter()
        running = [track for track in tracks if not track.reason]
        try:
            given = [read(layer) for layer in group]
        except MeasurementError as error:
            for track in running:
                track.reason = str(error)
            continue
        for track, made in _quantize_group(running, given, of_group):
            weights[id(track)] |= made
        for track in running:
            track.seconds += (time.perf_counter() - started) / len(running)
    return weights


Made = Mapping[tuple[Hashable, str], torch.Tensor | HessianError]
"""Q(w) of a layer, or why there is none, by what decides it (`Track.alike`) and the layer's name."""


def _quantize_group(
    tracks: Sequence[Track], given: Sequence[LayerWeight], statistics: InputStatistics
) -> list[tuple[Track, Weights]]:
    """Return the new weights of layers that read one input, for every variant; failures get their reason."""
    made = _make_together(tracks, given, statistics)
    kept: list[tuple[Track, Weights]] = []
    for track in tracks:
        try:
            weights: Weights = {}
            for one in given:
                track.count_tokens(one.layer, statistics)
                found = made.get((track.alike(one.layer), one.layer.name))
                weights[one.layer.name] = track.quantize(one, statistics) if found is None else track.keep(one, found)
            kept.append((track, weights))
        except MeasurementError as error:
            track.reason = str(error)
    return kept


def _make_together(tracks: Sequence[Track], given: Sequence[LayerWeight], statistics: InputStatistics) -> Made:
    """Return Q(w) of every layer and variant whose method can make several at once, each once."""
    jobs: dict[str, dict[tuple[Hashable, str], WeightJob]] = {}
    ways: dict[str, Together] = {}
    for track in tracks:
        method, options = track.maker
        if method.together is None:
            continue
        ways[method.name] = method.together
        for one in given:
            format = track.format_of(one.layer)
            if format is not None:
                job = WeightJob(weight=one.weight, format=format, options=options)
                jobs.setdefault(method.name, {}).setdefault((track.alike(one.layer), one.layer.name), job)
    made: dict[tuple[Hashable, str], torch.Tensor | HessianError] = {}
    for name, asked in jobs.items():
        made.update(zip(asked, ways[name](list(asked.values()), statistics), strict=True))
    return made


def _quantize_alone(
    decoder: Decoder,
    index: int,
    track: Track,
    layers: Sequence[LinearLayer],
    groups: Sequence[Sequence[LinearLayer]],
    shared: Stream,
    read: Read,
) -> Weights:
    """Return the block's weights of a variant with statistics of its own, or none. Raises MeasurementError."""
    if not track.method.calibrated:
        return {layer.name: track.quantize(read(layer), track.of_weights.get(layer.name)) for layer in layers}
    weights: Weights = {}
    beside = shared if track.pairs else None
    if track.options.within_block == "sequential":
        for stage in stages(groups):
            of_stage = collect(decoder, index, stage, track.calibration, weights=weights, full_precision=beside)
            for group, statistics in zip(stage, of_stage, strict=True):
                weights |= _of_group(track, [read(layer) for layer in group], statistics)
        return weights
    of_groups = collect(decoder, index, groups, track.calibration, full_precision=beside)
    for group, statistics in zip(groups, of_groups, strict=True):
        weights |= _of_group(track, [read(layer) for layer in group], statistics)
    return weights


def _of_group(track: Track, given: Sequence[LayerWeight], statistics: InputStatistics) -> Weights:
    made = _quantize_group([track], given, statistics)
    if not made:
        raise MeasurementError(track.reason)
    return made[0][1]
