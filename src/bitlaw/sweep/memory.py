"""How many variants are walked together, and which streams wait in host memory: what fits decides, by an estimate.

    streams        windows x tokens x width x bytes, one of evaluation a variant and one for the baseline, one of
                   calibration a variant whose upstream is its own, two that are shared
    working set    a block's weights once a variant, its statistics and factors, stacked columns, one chunk's activations, logits

Streams stay on the device while they fit beside the working set; further ones wait in host memory; when that is full too,
the variants are walked in groups, each beside a baseline of its own. An estimate that was too low ends in CUDA's
out-of-memory error: the group is halved then (engine.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bitlaw.quantize.gptq import DAMPING_GRID
from bitlaw.quantize.gptq_together import ROWS_AT_ONCE
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.layers import linear_layers
from bitlaw.sweep.track import Track

LOGITS_AT_ONCE = 1 << 30
"""Bytes of one table of logits; the head runs on so many windows at once, at least one."""
SHARE_OF_DEVICE = 0.9
SHARE_OF_HOST = 0.6


@dataclass(frozen=True, kw_only=True)
class Fit:
    """variants: walked together at most; on_device: of these, whose streams stay on the device, the others wait on the host."""

    variants: int
    on_device: int


def plan_memory(
    decoder: Decoder, tracks: Sequence[Track], evaluation: torch.Tensor, calibration: torch.Tensor | None, budget: int
) -> Fit:
    """Return how many of the tracks go together. evaluation, calibration: token ids [windows, T]; budget: bytes on the device.

    budget 0 takes what is free, and all of it on a CPU, where nothing waits elsewhere.
    """
    count = max(len(tracks), 1)
    device = decoder.device
    if device.type != "cuda" and not budget:
        return Fit(variants=count, on_device=count)
    width, size = _width_and_size(decoder)
    own = any(t.own_calibration for t in tracks)
    of_calibration = calibration.numel() * width * size if calibration is not None else 0
    of_variant = evaluation.numel() * width * size + own * of_calibration
    shared = evaluation.numel() * width * size + 2 * of_calibration
    layers = linear_layers(decoder, 0)
    block = sum(layer.in_features * layer.out_features for layer in layers)
    widest = max((layer.in_features for layer in layers), default=width)
    inputs = [
        *{n.in_features for n in layers if n.expert is None},
        *(n.in_features for n in layers if n.expert is not None),
    ]
    searching = any(getattr(track.maker[1], "damping_rule", "") == "search" for track in tracks)
    dampings = len(DAMPING_GRID) if searching else 1  # each has a factor and all rows
    statistics = 4 * (sum(features**2 for features in inputs) + (3 + dampings) * widest**2)
    read_in = block * size if decoder.streamed else 0

    def working(variants: int) -> int:
        rows = min(ROWS_AT_ONCE, dampings * variants * max((layer.out_features for layer in layers), default=width))
        return statistics + read_in + variants * block * size + 3 * 4 * rows * widest + 3 * LOGITS_AT_ONCE

    free = budget or int(SHARE_OF_DEVICE * min(torch.cuda.mem_get_info(place)[0] for place in set(decoder.places)))
    host = (
        int(SHARE_OF_HOST * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if device.type == "cuda" else 0
    )
    for variants in range(count, 0, -1):
        room = free - working(variants) - shared
        on_device = max(min(room // max(of_variant, 1), variants), 0)
        if (variants - on_device) * of_variant <= host:
            return Fit(variants=variants, on_device=on_device)
    return Fit(variants=1, on_device=1)  # too little even for one: let the device say so


def _width_and_size(decoder: Decoder) -> tuple[int, int]:
    """Return the width of the hidden states and the bytes of one number of them."""
    ids = torch.zeros((1, 2), dtype=torch.long, device=decoder.device)
    hidden = decoder.embed(ids)
    return hidden.shape[-1], hidden.element_size()
