"""Before the walk: variants become tracks, tracks get what they need of the whole model, and what cannot be is refused."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bitlaw.errors import InputError
from bitlaw.formats.grouping import bits_per_weight
from bitlaw.quantize import WeightGradients, needs_calibration
from bitlaw.quantize.method import DIRECTION, GRADIENTS, LayerFacts, Method
from bitlaw.records import Variant
from bitlaw.sweep.activations import check_activations, has_static_scales, parse_activations
from bitlaw.sweep.compiled import (
    WORTH_FOR_INPUTS,
    WORTH_OPERATIONS,
    CompiledBlocks,
    calibration_operations,
    evaluation_operations,
)
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.kv_cache import parse_kv_cache
from bitlaw.sweep.layers import LinearLayer, linear_layers
from bitlaw.sweep.probes import Directions
from bitlaw.sweep.track import Track, method_of
from bitlaw.sweep.whole_model import WholeModel


def chunks_of(ids: torch.Tensor, windows: int, device: torch.device) -> list[torch.Tensor]:
    """Return token ids [windows, T] in batches of so many windows, on the device."""
    on_device = ids.to(device)
    return [on_device[start : start + windows] for start in range(0, len(ids), windows)]


def refuse_without_calibration(variants: Sequence[Variant]) -> None:
    """Raise InputError naming what needs the calibration text that was not given."""
    for variant in variants:
        if needs_calibration(variant):
            raise InputError(f"Method {variant.method!r} looks at layer inputs: give a calibration text.")
        if has_static_scales(variant):
            raise InputError(
                f"activations={variant.activations} has static scales, from layer inputs: give a calibration text."
            )


def make_track(variant: Variant) -> Track:
    """Return the variant's track, without streams."""
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
    )


def prepare(
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
        gradients = collect_gradients(decoder, layers, chunks_of(calibration, batch_windows, decoder.device))
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


def check_layers(decoder: Decoder, tracks: Sequence[Track]) -> None:
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


def choose_compile(
    how: str, decoder: Decoder, tracks: Sequence[Track], evaluation: torch.Tensor, calibration: torch.Tensor | None
) -> str:
    """Have the decoder compile its blocks, or not: `yes`, `no`, or `auto`, by the work. evaluation, calibration: ids [windows, T].

    Returns why they are not compiled though `yes` was said, else nothing.
    """
    decoder.compiled = None
    if how == "no":
        return ""
    layers = [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]
    hindrance = _hindrance(decoder, tracks, layers)
    if hindrance:
        return f"not compiled: {hindrance}" if how == "yes" else ""
    if how == "yes":
        decoder.compiled = CompiledBlocks()
        return ""
    parameters = sum(layer.in_features * layer.out_features for layer in layers)
    scored = evaluation_operations(parameters, evaluation.numel(), len(tracks))
    calibrated = 0.0
    if calibration is not None and any(t.method.calibrated for t in tracks):
        calibrated = calibration_operations(parameters, calibration.numel(), sum(t.own_calibration for t in tracks))
    if decoder.device.type == "cuda" and scored + calibrated >= WORTH_OPERATIONS:
        decoder.compiled = CompiledBlocks(for_inputs=calibrated >= WORTH_FOR_INPUTS)
    return ""


def _hindrance(decoder: Decoder, tracks: Sequence[Track], layers: Sequence[LinearLayer]) -> str:
    """Return why the blocks cannot be compiled, else nothing."""
    if isinstance(decoder, WholeModel):
        return "the model is run as a whole"
    if any(layer.expert is not None for layer in layers):
        return "experts read as many tokens as are routed to them"
    rounding = [t.variant.label for t in tracks if t.activations is not None or t.cache is not None]
    return f"{rounding[0]} rounds between layers, and all variants share one arithmetic" if rounding else ""
