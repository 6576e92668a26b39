"""A planted landscape as records: families of models, random probes, probes along nearest and GPTQ, and the MX grid.

excess(S) = rise / (1 + exp((S - knee) / width))^2          loss = baseline + excess(effective SNR)
nearest: effective SNR = SQNR + flat_n        gptq: SQNR - 1.4 dB, effective SNR = SQNR + flat_g, falling with SQNR

With `gains` every network has a gain of GPTQ of its own, which falls with the block: noise compensated as GPTQ would tells it, and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bitlaw.predictor.known_formats import PAPER_FORMATS, facts
from bitlaw.records import Asked, Checkpoint, Made, Measurement, Seen, TextSet, Variant

FAMILIES = ("bloom", "gpt2", "gpt_neox", "llama", "mpt", "opt")
SIZES = (50_000, 200_000, 800_000, 3_200_000)
GRID_DB = tuple(float(s) for s in range(30, -6, -2))
TEXT = TextSet(name="sample:evaluation", token_hash="e" * 64, windows=64, window_tokens=128)
CALIBRATION = TextSet(name="sample:train", token_hash="c" * 64, windows=64, window_tokens=128)
WINDOWS, TOKENS = 64, 127.0
COMPENSATED_DB, CELLS = (30.0, 24.0, 18.0, 12.0, 6.0, 0.0), (16, 32, 64, 128)


@dataclasses.dataclass(frozen=True)
class Planted:
    """The landscape of one model."""

    baseline: float
    rise: float
    knee: float
    width: float

    def excess(self, snr_db: float) -> float:
        return float(self.rise / (1.0 + np.exp((snr_db - self.knee) / self.width)) ** 2)


def planted(family: str, parameters: int) -> Planted:
    index, size = FAMILIES.index(family), np.log(parameters / 5e4)
    return Planted(
        baseline=4.2 - 0.18 * size + 0.05 * index,
        rise=4.0 + 0.4 * index,
        knee=15.0 - 0.9 * size + 0.8 * (index % 3),
        width=3.2 + 0.2 * (index % 2),
    )


def effective_db(method: str, sqnr_db: float) -> float:
    """What the planted landscape makes of a format: nearest 1 dB flatter than random, GPTQ 2 to 5 dB."""
    return sqnr_db + 1.0 if method == "nearest" else sqnr_db + 2.0 + 3.0 / (1.0 + np.exp((sqnr_db - 14.0) / 3.0))


def planted_gain(family: str, parameters: int, block: float) -> float:
    """What compensation is worth in one network, dB: 1 to 6 dB in blocks of 16, without order in family or size, and less in longer ones."""
    drawn = np.random.default_rng([FAMILIES.index(family), parameters]).uniform(1.0, 6.0)
    return float(drawn * (1.0 - 0.2 * np.log2(block / 16.0)))


def simulate(
    families: Sequence[str] = FAMILIES,
    sizes: Sequence[int] = SIZES,
    formats: Sequence[str] = PAPER_FORMATS,
    *,
    seed: int = 0,
    noise: float = 0.01,
    probes: bool = True,
    along: bool = True,
    methods: Sequence[str] = ("nearest", "gptq"),
    gains: bool = False,
) -> list[Measurement]:
    generator = np.random.default_rng(seed)
    found = []
    for family in families:
        for size in sizes:
            found += _model(family, size, formats, generator, noise, probes, along, methods, gains)
    return found


def _model(family, size, formats, generator, noise, probes, along, methods, gains) -> list[Measurement]:
    land = planted(family, size)
    checkpoint = Checkpoint(
        suite="families", model=f"{family}-{size // 1000}k", step=1000, commit=f"{FAMILIES.index(family)}{size:063d}",
        family=family, parameters=size, parameters_total=size + 64_000, tokens=20 * size, learning_rate=3e-4,
        peak_learning_rate=3e-3, schedule="cosine", training_seed=0,
    )  # fmt: skip
    base = TOKENS * (land.baseline + 0.2 * generator.standard_normal(WINDOWS))
    offset = {name: float(0.25 * generator.standard_normal()) for name in formats}

    def record(variant: Variant, effective: float | None, sqnr: float | None, seconds: float) -> Measurement:
        excess = 0.0 if effective is None else land.excess(effective)
        spread = 0.0 if effective is None else noise * (0.05 + excess)
        return measurement(
            checkpoint,
            variant,
            base,
            base + TOKENS * (excess + spread * generator.standard_normal(WINDOWS)),
            sqnr,
            seconds,
        )

    found = [record(Variant(), None, None, 0.2)]
    for seed in (0, 1, 2) if probes else ():
        options = {"snr_db": 30.0, "seed": seed, "layers": "all", "taylor": True}
        found.append(record(Variant(method="perturb_random", options=options), 30.0, 30.0, 0.1))
    for seed in (0, 1, 2) if probes else ():
        for snr in GRID_DB:
            options = {"snr_db": snr, "seed": seed, "layers": "all"}
            shift = 0.1 * float(generator.standard_normal())
            found.append(record(Variant(method="perturb_random", options=options), snr + shift, snr, size / 1e6))
    for block in CELLS if gains else ():
        for snr in COMPENSATED_DB:
            options = {"snr_db": snr, "seed": 0, "micro_block": block, "upstream": "full_precision"}
            gain = planted_gain(family, size, block)
            probe = Variant(method="perturb_compensated", options=options)
            shift = 0.1 * float(generator.standard_normal())
            found.append(record(probe, snr + gain + shift, snr - 1.4, size / 1e6))
    for name in formats:
        known = facts(name)
        sqnr = known.gaussian_db + offset[name]
        of_format = {"format": name, "bits": known.bits, "group_size": known.block}
        if "nearest" in methods:
            found.append(
                record(Variant(method="nearest", **of_format), effective_db("nearest", sqnr), sqnr, size / 1e6)
            )
        if "gptq" in methods:
            gptq = Variant(method="gptq", options={"upstream": "full_precision", "damping_rule": "search"}, **of_format)
            own = effective_db("nearest", sqnr) + planted_gain(family, size, known.block) if gains else None
            found.append(record(gptq, own or effective_db("gptq", sqnr), sqnr - 1.4, 6 * size / 1e6))
        for direction in ("nearest", "gptq") if along else ():
            for db in (-1.0, 1.0):
                options = {"along": direction, "offset_db": db}
                at = effective_db(direction, sqnr) + db
                shown = sqnr + db - (1.4 if direction == "gptq" else 0.0)
                found.append(record(Variant(method="perturb_along", options=options, **of_format), at, shown, 0.1))
    return found


def measurement(checkpoint, variant, base, changed, sqnr, seconds) -> Measurement:
    """Sum windows (nats of the baseline and of the variant, each [W]) into a record."""
    t = np.full(len(base), TOKENS)
    d = changed - base
    none = variant.method == "none"
    norm = 0.02 * checkpoint.parameters**0.5
    further = {"weight_norm": norm}
    if variant.options.get("taylor"):
        further |= {"gradient_along": 0.01 / norm, "curvature_along": 2.0 * WINDOWS / norm**2}
    stored = facts(variant.format).bits_per_weight if variant.format != "none" else 16.0
    seen = Seen(
        windows=len(t), tokens_scored=int(t.sum()), tokens_squared=float(t @ t), nats=float(changed.sum()),
        nats_squared=float(changed @ changed), nats_tokens=float(changed @ t), baseline_nats=float(base.sum()),
        difference_squared=float(d @ d), difference_tokens=float(d @ t), kl_nats=float(abs(d.sum())),
        agreements=int(t.sum()), bytes_scored=20_000, quantized_layers=0 if none else 8,
        quantized_parameters=0 if none else checkpoint.parameters, bits_per_weight=stored, sqnr_db=sqnr,
        **further,
    )  # fmt: skip
    asked = Asked(
        checkpoint=checkpoint,
        variant=variant,
        calibration=CALIBRATION if variant.method == "gptq" else TextSet(),
        evaluation=TEXT,
    )
    made = Made(
        bitlaw_version="0.1.0", device="cpu", dtype="float32", kernel="torch", seconds=seconds, date="2026-11-26"
    )
    return Measurement(asked=asked, seen=seen, made=made)
