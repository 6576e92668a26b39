"""The sweep: every block once, and in it every variant. What a variant is fed:

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
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import nn

from bitlaw.errors import MeasurementError, NonFiniteError
from bitlaw.records import Seen, Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep.compiled import CompileError, check_compile
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.kv_cache import check_cache
from bitlaw.sweep.layers import linear_layers
from bitlaw.sweep.layout import take_apart
from bitlaw.sweep.memory import LOGITS_AT_ONCE, plan_memory
from bitlaw.sweep.preparing import (
    check_layers,
    choose_compile,
    chunks_of,
    make_track,
    prepare,
    refuse_without_calibration,
)
from bitlaw.sweep.probes import Directions, Reuse, alike_together, differentiate
from bitlaw.sweep.score import Tally, reference
from bitlaw.sweep.spreading import describe_places
from bitlaw.sweep.streams import Stream, advance, follow
from bitlaw.sweep.track import Track
from bitlaw.sweep.walk import walk_block
from bitlaw.sweep.whole_model import WholeModel, refuse_caches, walk_whole

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class SweptVariant:
    """What the sweep saw of one variant, and the seconds spent on it alone (shared work is in none).

    notes: what the walk met on its way, such as memory that ran out and smaller groups; empty if nothing.
    whole_model: why the model was run as a whole instead of block by block; empty for all families that are known.
    compiled: whether blocks were run through torch.compile (compiled.py); then those of all variants and of the baseline were.
    """

    variant: Variant
    seen: Seen
    seconds: float
    notes: str = ""
    whole_model: str = ""
    compiled: bool = False


@torch.no_grad()
def sweep(
    model: nn.Module | StreamedModel,
    variants: Sequence[Variant],
    evaluation: torch.Tensor,
    calibration: torch.Tensor | None = None,
    *,
    batch_windows: int = 16,
    memory: int = 0,
    compile: str = "auto",
    watch: Watch = lambda done, total: None,
) -> list[SweptVariant]:
    """Measure all variants of a model in one walk over its blocks, or in a few where memory does not hold all streams.

    evaluation [windows, T] and calibration [windows, T] are token ids; calibration may be None if no variant needs it.
    The variant `none` may be among the variants: it is the 16-bit baseline. Results come in the order asked.
    memory: bytes on the device that streams and work may take; 0 is what is free. When a GPU's memory runs out all the
    same, the variants of the walk are halved, and at last the windows of a batch; the results say so in their notes.
    compile: run the blocks through torch.compile, `yes` or `no`; `auto` does on a GPU where the work is worth the wait. Where
    it cannot be done the blocks are run eagerly, and with `yes` the notes say why.
    A model that is not a chain of blocks is run as a whole for every variant, with a warning.
    Raises InputError for a variant that cannot serve this model's layers, before any work; NonFiniteError if the
    baseline's own loss is not finite. The model is unchanged afterwards.
    """
    check_compile(compile)
    decoder, why_whole = take_apart(model, evaluation[:1, :PROBE_TOKENS])
    directions = Directions([layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)])
    tracks = alike_together([make_track(v) for v in variants if not v.is_baseline])
    if calibration is None:
        refuse_without_calibration(variants)
    prepare(decoder, tracks, calibration, batch_windows, directions)
    check_layers(decoder, tracks)
    if isinstance(decoder, WholeModel):
        warnings.warn(f"{type(decoder.model).__name__} is run as a whole, which is slower: {why_whole}", stacklevel=2)
        refuse_caches(decoder.model, tracks, why_whole)
    for name in dict.fromkeys(t.variant.kv_cache for t in tracks if t.cache is not None):
        check_cache(decoder, evaluation[:1, :2].to(decoder.device), name)
    differentiate(decoder, tracks, directions, chunks_of(evaluation, batch_windows, decoder.device))
    notes = _joined(describe_places(decoder.places), choose_compile(compile, decoder, tracks, evaluation, calibration))
    swept: dict[int, SweptVariant] = {}
    count = itertools.count(1)
    if isinstance(decoder, WholeModel):
        steps = len(decoder.blocks) * (len(tracks) + 1) + 1
        baseline = _run_whole(
            decoder, tracks, evaluation, calibration, batch_windows, directions, lambda: watch(next(count), steps)
        )
        walks = [Walk(tracks, batch_windows, notes)]
    else:
        fit = plan_memory(decoder, tracks, evaluation, calibration, memory)
        starts = range(0, max(len(tracks), 1), fit.variants)
        waiting = [Walk(tracks[i : i + fit.variants], batch_windows, notes) for i in starts]
        steps = len(decoder.blocks) * (len(tracks) + len(waiting)) + 1
        baseline, walks = _run_walks(
            decoder,
            waiting,
            fit.on_device,
            evaluation,
            calibration,
            directions,
            lambda: watch(min(next(count), steps), steps),
        )
    watch(steps, steps)
    for walk in walks:
        for track in walk.tracks:
            swept[id(track.variant)] = SweptVariant(
                variant=track.variant,
                seen=track.seen(),
                seconds=track.seconds,
                notes=walk.notes,
                whole_model=why_whole,
                compiled=decoder.compiled is not None,
            )
    none = SweptVariant(
        variant=Variant(),
        seen=Seen(**asdict(baseline), bits_per_weight=16.0, weight_norm=directions.weight_norm()),
        seconds=0.0,
        notes=walks[0].notes,
        whole_model=why_whole,
        compiled=decoder.compiled is not None,
    )
    return [swept.get(id(v)) or replace(none, variant=v) for v in variants]


PROBE_TOKENS = 8
"""Tokens that tell whether a model is a chain of blocks."""


def _run_whole(
    decoder: WholeModel,
    tracks: Sequence[Track],
    evaluation: torch.Tensor,
    calibration: torch.Tensor | None,
    batch_windows: int,
    directions: Directions,
    done: Callable[[], None],
) -> Tally:
    """Measure the variants on a model that is run as a whole; return the baseline's sums."""
    reuse = Reuse()
    for track in tracks:
        track.reuse = reuse

    def forget() -> None:
        reuse.forget()
        directions.forget()

    ids = [] if calibration is None else chunks_of(calibration, batch_windows, decoder.device)
    return walk_whole(decoder, tracks, chunks_of(evaluation, batch_windows, decoder.device), ids, done, forget)


@dataclass(frozen=True)
class Walk:
    """Variants that go through the blocks together, the windows of a batch, and what was met before."""

    tracks: list[Track]
    batch_windows: int
    notes: str = ""


def _run_walks(
    decoder: Decoder,
    waiting: list[Walk],
    on_device: int,
    evaluation: torch.Tensor,
    calibration: torch.Tensor | None,
    directions: Directions,
    done: Callable[[], None],
) -> tuple[Tally, list[Walk]]:
    """Take the walks one after the other, smaller ones where memory runs out; return the baseline's sums and the walks made."""
    baseline: Tally | None = None
    made: list[Walk] = []
    while waiting:
        walk = waiting.pop(0)
        for number, track in enumerate(walk.tracks):
            track.on_host = number >= on_device
        try:
            tally = _walk(decoder, walk, evaluation, calibration, directions, done)
        except torch.OutOfMemoryError as error:
            waiting = [*_smaller(walk, str(error)), *waiting]
        except (
            CompileError
        ) as error:  # all of it eagerly, so that every variant meets the baseline of its own arithmetic
            decoder.compiled = None
            notes = f"not compiled: {error}"
            waiting = [replace(w, notes=_joined(w.notes, notes)) for w in (*made, walk, *waiting)]
            made, baseline = [], None
        else:
            baseline = baseline or tally
            made.append(walk)
            continue
        # What the failed walk held is free once its frames are gone.
        waiting = [_anew(decoder, w, calibration, directions) for w in waiting]
    assert baseline is not None
    return baseline, made


def _anew(decoder: Decoder, walk: Walk, calibration: torch.Tensor | None, directions: Directions) -> Walk:
    """Return the walk with its variants at their beginning; one that has failed stays so."""
    fresh = [make_track(t.variant) for t in walk.tracks]
    prepare(decoder, fresh, calibration, 1, directions)
    for track, before in zip(fresh, walk.tracks, strict=True):
        track.taylor, track.reason = before.taylor, before.reason
    return replace(walk, tracks=fresh)


def _smaller(walk: Walk, error: str) -> list[Walk]:
    """Return walks that need less memory: half of the variants each, or half of a batch. Raises MeasurementError if none."""
    count = len(walk.tracks)
    notes = _joined(
        walk.notes, f"{count} variants in batches of {walk.batch_windows} windows did not fit into the device's memory"
    )
    if count > 1:
        half = (count + 1) // 2
        return [replace(walk, tracks=part, notes=notes) for part in (walk.tracks[:half], walk.tracks[half:])]
    if walk.batch_windows > 1:
        return [replace(walk, batch_windows=walk.batch_windows // 2, notes=notes)]
    raise MeasurementError(f"one variant and one window a batch do not fit into the device's memory: {error}")


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _walk(
    decoder: Decoder,
    walk: Walk,
    evaluation: torch.Tensor,
    calibration: torch.Tensor | None,
    directions: Directions,
    done: Callable[[], None],
) -> Tally:
    """Take the variants of one walk through all blocks and score them; return the baseline's sums."""
    tracks = walk.tracks
    chunks = chunks_of(evaluation, walk.batch_windows, decoder.device)
    base: Stream = [decoder.embed(ids) for ids in chunks]
    shared: Stream = []
    if calibration is not None and any(t.method.calibrated or t.static for t in tracks):
        shared = [decoder.embed(ids) for ids in chunks_of(calibration, walk.batch_windows, decoder.device)]
    reuse = Reuse()
    for track in tracks:
        track.evaluation, track.calibration, track.reuse = base, shared, reuse
    for index in range(len(decoder.blocks)):
        for stream in (base, shared, *(s for track in tracks for s in (track.evaluation, track.calibration))):
            follow(stream, decoder.places[index])
        with decoder.block(index):
            shared = walk_block(decoder, index, tracks, shared, done)
            base = advance(base, partial(decoder.move, index), keep=False)
            directions.read(linear_layers(decoder, index))
        done()
        reuse.forget()
        directions.forget()
    return _score(decoder, chunks, base, tracks)


def _score(decoder: Decoder, chunks: Sequence[torch.Tensor], base: Stream, tracks: Sequence[Track]) -> Tally:
    """Score every running variant against the baseline, chunk by chunk; return the baseline's own sums."""
    baseline = Tally()
    running = [track for track in tracks if not track.reason]
    streams = [iter(track.evaluation) for track in running]
    windows = 0
    for ids, hidden in zip(chunks, base, strict=True):
        others = [next(stream) for stream in streams]
        windows = windows or _windows_of_head(decoder, ids, hidden)
        for start in range(0, len(ids), windows):
            part = slice(start, start + windows)
            truth = reference(decoder.head(ids[part], hidden[part]), ids[part])
            baseline.add(None, truth)
            if baseline.non_finite_tokens:
                raise NonFiniteError(
                    f"the 16-bit model itself gives a non-finite loss on {baseline.non_finite_tokens} of its first "
                    f"{baseline.tokens_scored} tokens"
                )
            for track, own in zip(running, others, strict=True):
                started = time.perf_counter()
                track.tally.add(decoder.head(ids[part], own[part]), truth)
                track.seconds += time.perf_counter() - started
    return baseline


def _windows_of_head(decoder: Decoder, ids: torch.Tensor, hidden: torch.Tensor) -> int:
    """Return how many windows the head takes at once, so that a table of logits stays below LOGITS_AT_ONCE."""
    logits = decoder.head(ids[:1, :1], hidden[:1, :1])
    return max(LOGITS_AT_ONCE // (ids.shape[1] * logits.shape[-1] * logits.element_size()), 1)
