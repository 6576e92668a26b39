"""The sweep of a model that cannot be cut at its blocks: whole forward passes, with hooks where linear layers read.

Slower than the walk, as every variant runs through the whole model each time something is asked of it, and each keeps all
its weights; the numbers mean the same. Layers are quantized block after block where the model has a list of blocks, else
input after input in the order they are called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from bitlaw.errors import CheckpointError, InputError, MeasurementError, NonFiniteError
from bitlaw.quantize import InputStatistics
from bitlaw.sweep.activations import largest_inputs, rounded_inputs
from bitlaw.sweep.decoder import Decoder, decoder_of, find_blocks
from bitlaw.sweep.layers import LinearLayer, input_groups, linear_layers, replaced_weights, watched
from bitlaw.sweep.score import Tally, reference
from bitlaw.sweep.track import Track, read_weight

Groups = list[list[LinearLayer]]
Weights = dict[str, torch.Tensor]


class WholeModel(Decoder):
    """A model that is run as a whole: its streams are token ids, and running a block runs the model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()
        self._residency = None
        self.compiled = None
        self._returns_tuple = None
        self._calls = {}
        self._chained = {}
        head = getattr(model, "get_output_embeddings", lambda: None)()
        self.kept = frozenset() if head is None else frozenset({id(head)})
        try:
            self._path = find_blocks(model)
            self.blocks = list(model.get_submodule(self._path).children())
            self.listed = True
        except CheckpointError:
            self._path = decoder_of(model)
            self.blocks = [model.get_submodule(self._path)]
            self.listed = False
        self.places = [self.device] * len(self.blocks)

    def block_name(self, index: int) -> str:
        """Qualified name of a block; of all that is quantized where there is no list of blocks."""
        return super().block_name(index) if self.listed else self._path

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the ids: the stream of a model that is run as a whole."""
        return ids

    def run_block(self, index: int, hidden: torch.Tensor, cache: object | None = None) -> torch.Tensor:
        """Run the whole model on ids [B, T] and return them."""
        assert cache is None
        self.head(hidden, hidden)
        return hidden

    @torch.no_grad()
    def head(self, ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return the model's logits, [B, T, V]."""
        logits: torch.Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits


def refuse_caches(model: nn.Module, tracks: Sequence[Track], why: str) -> None:
    """Raise InputError for variants that round the KV cache: it is handed to blocks one by one."""
    for track in tracks:
        if track.cache is not None:
            raise InputError(f"kv_cache={track.variant.kv_cache} cannot serve {type(model).__name__}: {why}.")


def walk_whole(
    decoder: WholeModel,
    tracks: Sequence[Track],
    chunks: Sequence[torch.Tensor],
    calibration: Sequence[torch.Tensor],
    done: Callable[[], None],
    forget: Callable[[], None],
) -> Tally:
    """Quantize every track's layers and score it; return the baseline's sums. chunks, calibration: token ids [B, T].

    `done` is called once a track and block, and once a block, `forget` behind each block, whose layers do not come
    again. A track that fails has its reason afterwards.
    """
    largest: dict[str, torch.Tensor] = {}
    if any(track.static for track in tracks):
        for index in range(len(decoder.blocks)):
            largest |= largest_inputs(decoder, index, list(calibration))[0]
    weights: dict[int, Weights] = {id(track): {} for track in tracks}
    before: list[LinearLayer] = []
    for index in range(len(decoder.blocks)):
        layers = linear_layers(decoder, index)
        calibrated = any(track.method.calibrated for track in tracks)
        groups = input_groups(decoder, index, calibration[0]) if calibrated else []
        shared: list[InputStatistics] = []
        if any(track.method.calibrated and not track.own_calibration for track in tracks):
            shared = _statistics(decoder, groups, calibration)
        for track in tracks:
            started = time.perf_counter()
            try:
                if not track.reason:
                    own = _Own(decoder, track, before, weights[id(track)], largest, calibration)
                    weights[id(track)] |= own.quantized(layers, groups, shared)
            except MeasurementError as error:
                track.reason = str(error)
            track.seconds += time.perf_counter() - started
            done()
        before += layers
        forget()
        done()
    return _score(decoder, tracks, chunks, before, weights, largest)


class _Own:
    """One track at one block: the model with the weights it has made so far."""

    def __init__(
        self,
        decoder: WholeModel,
        track: Track,
        before: Sequence[LinearLayer],
        weights: Weights,
        largest: Mapping[str, torch.Tensor],
        calibration: Sequence[torch.Tensor],
    ) -> None:
        self.decoder, self.track, self.calibration = decoder, track, calibration
        self.before, self.weights, self.largest = before, weights, largest

    def quantized(
        self, layers: Sequence[LinearLayer], groups: Groups, shared: Sequence[InputStatistics]
    ) -> Mapping[str, torch.Tensor]:
        """Return the block's new weights, by name."""
        track = self.track
        if not track.method.calibrated:
            return {
                layer.name: track.quantize(read_weight(layer), track.of_weights.get(layer.name)) for layer in layers
            }
        made: Weights = {}
        # Without a list of blocks, what comes first must be quantized first: input after input.
        stepwise = track.own_calibration and (track.options.within_block == "sequential" or not self.decoder.listed)
        for part in [[group] for group in groups] if stepwise else [groups]:
            statistics = self._statistics(part, made, layers) if track.own_calibration else shared
            for group, of_group in zip(part, statistics, strict=True):
                for layer in group:
                    track.count_tokens(layer, of_group)
                    made[layer.name] = track.quantize(read_weight(layer), of_group)
        return made

    def _statistics(self, groups: Groups, made: Weights, layers: Sequence[LinearLayer]) -> list[InputStatistics]:
        return _statistics(
            self.decoder,
            groups,
            self.calibration,
            layers=[*self.before, *layers],
            weights={**self.weights, **made},
            rounding=(self.before, self.track, self.largest),
        )


def _statistics(
    decoder: WholeModel,
    groups: Groups,
    calibration: Sequence[torch.Tensor],
    *,
    layers: Sequence[LinearLayer] = (),
    weights: Mapping[str, torch.Tensor] | None = None,
    rounding: tuple[Sequence[LinearLayer], Track, Mapping[str, torch.Tensor]] | None = None,
) -> list[InputStatistics]:
    """Return the statistics of each group's input in the model with these weights, and inputs of some layers rounded."""
    firsts = [group[0] for group in groups]
    found = {layer.name: InputStatistics(layer.in_features, layer.stored.device) for layer in firsts}
    beside: dict[str, torch.Tensor] = {}
    rounded, track, largest = rounding or ([], None, {})

    def note(layer: LinearLayer, inputs: torch.Tensor) -> None:
        # An expert's tokens in the 16-bit network are others, so nothing stands beside its inputs.
        found[layer.name].add(inputs, None if layer.expert is not None else beside.get(layer.name))

    for ids in calibration:
        if track is not None and track.pairs:
            with watched(firsts, lambda layer, inputs: beside.update({layer.name: inputs})):
                decoder.head(ids, ids)
        with (
            replaced_weights(layers, weights or {}),
            rounded_inputs(rounded, track.activations if track is not None else None, largest),
            watched(firsts, note),
        ):
            decoder.head(ids, ids)
    return list(found.values())


def _score(
    decoder: WholeModel,
    tracks: Sequence[Track],
    chunks: Sequence[torch.Tensor],
    layers: Sequence[LinearLayer],
    weights: Mapping[int, Weights],
    largest: Mapping[str, torch.Tensor],
) -> Tally:
    baseline = Tally()
    for ids in chunks:
        truth = reference(decoder.head(ids, ids), ids)
        baseline.add(None, truth)
        if baseline.non_finite_tokens:
            raise NonFiniteError(
                f"the 16-bit model itself gives a non-finite loss on {baseline.non_finite_tokens} of its first "
                f"{baseline.tokens_scored} tokens"
            )
        for track in tracks:
            if track.reason:
                continue
            started = time.perf_counter()
            with (
                replaced_weights(layers, weights[id(track)]),
                rounded_inputs(layers, track.activations, largest, track.kernel),
            ):
                track.tally.add(decoder.head(ids, ids), truth)
            track.seconds += time.perf_counter() - started
    return baseline
