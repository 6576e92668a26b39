"""Archives as `studies/gpu/run.py` brings them back, with planted numbers: every pass of a study's plan on every checkpoint it names.

QiD = 20 (D/N)^0.3 N^-0.1 P^-5 by width P, more for rounding to nearest, for longer groups, for rounded activations and after decay
landscape probes and microscaling formats: that of simulated_families
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import itertools
import json
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.datasets import load, pack
from bitlaw.errors import BitlawError
from bitlaw.predictor.known_formats import canonical_name, facts
from bitlaw.records import Asked, Checkpoint, Made, Measurement, Seen, TextSet, Variant
from bitlaw.suites.changes import QUANTILES, write_changes
from bitlaw.train.plan import ModelPlan, TrainPlan, averaged_name
from tests.predictor.simulated_families import effective_db, planted

SCORED = {"corpus/validation.jsonl.zst": 204_400}
WINDOWS = 40
READS_INPUTS = ("gptq", "awq", "gptaq")
SOURCE = {"source": "corpus/train-*.jsonl.zst", "documents": 69510, "tokens": 117_188_332, "vocabulary": 4096}


def hashed(*words: object) -> str:
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()


@cache
def shipped_texts() -> dict[tuple[str, int], TextSet]:
    """The texts that shipped records were scored on, by name and windows: a study on the same text has the same hash."""
    rows = [m for name in ("mini-pythia", "families") for m in load(name)]
    return {(t.name, t.windows): t for t in {m.asked.evaluation for m in rows}}


def parameters_of(model: ModelPlan) -> int:
    return model.layers * (12 * model.width**2 + 13 * model.width) + 2 * model.width


def checkpoints(study: Any, trained: TrainPlan) -> Iterator[Checkpoint]:
    """Every checkpoint of the training plan, averages too."""
    for model in trained.models:
        for name in (model.name, averaged_name(model)) if model.average.count else (model.name,):
            suffix = name.removeprefix(model.name)
            for step in trained.steps(model):
                yield Checkpoint(
                    suite=trained.suite, model=name, step=step, commit=hashed(study, name, step),
                    family=model.architecture if model.native == "none" else f"{model.architecture}+{model.native}",
                    parameters=parameters_of(model), parameters_total=parameters_of(model) + 4096 * model.width,
                    tokens=step * trained.step_tokens, learning_rate=trained.learning_rate(model, step),
                    peak_learning_rate=model.peak_learning_rate, schedule=model.schedule.kind + suffix, training_seed=model.seed,
                )  # fmt: skip


def damage(c: Checkpoint, v: Variant) -> tuple[float, float | None]:
    """QiD, nats per token, and SNR of the weights, dB."""
    family = c.family.split("+")[0]
    if v.is_probe or canonical_name(v.format).startswith("mx"):
        land = planted(family, c.parameters)
        if v.method == "perturb_random":
            snr = float(v.options["snr_db"])
            return land.excess(snr), snr
        if v.method == "perturb_compensated":
            snr = float(v.options["snr_db"])
            return land.excess(effective_db("gptq", snr)), snr - 1.4
        direction = str(v.options.get("along", v.method))
        snr = facts(v.format).gaussian_db + float(v.options.get("offset_db", 0.0))
        return land.excess(effective_db(direction, snr)), snr - 1.4 * (direction == "gptq")
    grown = 20.0 * ((c.tokens or 1) / c.parameters) ** 0.3 * c.parameters**-0.1
    decay = ((c.peak_learning_rate or 1.0) / (c.learning_rate or 1.0)) ** 0.1
    value = 0.0 if v.method == "none" else grown * decay * max(v.bits, 1.5) ** -5.0
    value *= {"nearest": 2.0, "awq": 1.3, "hqq": 1.5}.get(v.method, 1.0) * (0.8 if "+mean" in c.model else 1.0)
    if "_g" in v.format and v.group_size:
        value *= (v.group_size / 128) ** 0.2
    value += {"int8_token": 0.002, "int4_token": 0.3}.get(v.activations, 0.0)
    try:
        snr = facts(v.format).gaussian_db
    except BitlawError:  # a whole tensor's or row's scale: coarser than any block
        snr = 6.02 * v.bits - 5.0
    return value, None if v.method == "none" else snr


def record(c: Checkpoint, v: Variant, plan: Any, generator: np.random.Generator) -> Measurement:
    """One measurement in WINDOWS windows, its QiD noisy by 2 % and a little more."""
    value, snr = damage(c, v)
    t = np.full(WINDOWS, SCORED.get(plan.evaluation, 40_000) / WINDOWS)
    loss = 3.0 + 30.0 * (c.tokens or 1) ** -0.18 * c.parameters**-0.03
    loss += {"sample": 0.4, "corpus/wikitext2-test.txt.zst": 0.2}.get(plan.evaluation, 0.0) + 0.1 * (
        "bitnet" in c.family
    )
    windows = np.random.default_rng(7)
    base = t * (loss + 0.2 * windows.standard_normal(WINDOWS))
    if value:
        value *= float(np.exp(0.02 * generator.standard_normal()))
    d = t * (value + (0.1 * value + 1e-4 * bool(value)) * generator.standard_normal(WINDOWS))
    q = base + d
    norm = 0.02 * c.parameters**0.5
    further: dict[str, Any] = {"weight_norm": norm}
    if v.options.get("taylor"):
        further |= {"gradient_along": 0.01 / norm, "curvature_along": 2.0 / norm**2}
    seen = Seen(
        windows=WINDOWS, tokens_scored=int(t.sum()), tokens_squared=float(t @ t), nats=float(q.sum()), nats_squared=float(q @ q),
        nats_tokens=float(q @ t), baseline_nats=float(base.sum()), difference_squared=float(d @ d), difference_tokens=float(d @ t),
        kl_nats=float(abs(d.sum())), agreements=int(t.sum()), bytes_scored=652_277, quantized_layers=0 if v.is_baseline else 24,
        quantized_parameters=0 if v.is_baseline else c.parameters, bits_per_weight=16.0 if v.method == "none" else v.bits + 0.25,
        sqnr_db=snr, **further,
    )  # fmt: skip
    reads = v.method in READS_INPUTS or v.options.get("along") == "gptq"
    calibration = TextSet(
        name=plan.calibration, token_hash=hashed("calibration", plan.calibration_seed), windows=plan.calibration_windows, window_tokens=512
    )  # fmt: skip
    evaluation = shipped_texts().get((plan.evaluation, plan.evaluation_windows)) or TextSet(
        name=plan.evaluation, token_hash=hashed(plan.evaluation, plan.evaluation_windows), windows=WINDOWS, window_tokens=512
    )  # fmt: skip
    made = Made(
        bitlaw_version="0.1.0", torch_version="2.11.0+cu130", transformers_version="5.17.0", device="NVIDIA H100 80GB HBM3",
        dtype="float32", kernel="torch", seconds=0.5, date="2026-11-27T06:00:00",
    )  # fmt: skip
    asked = Asked(checkpoint=c, variant=v, calibration=calibration if reads else TextSet(), evaluation=evaluation)
    return Measurement(asked=asked, seen=seen, made=made)


def measured(study: Any, trained: TrainPlan, *, name: str = "") -> list[Measurement]:
    """Every pass of a study on every checkpoint of a training plan that it wants; each question once."""
    generator = np.random.default_rng(0)
    steps = {m: trained.steps(one) for one in trained.models for m in (one.name, averaged_name(one))}
    found: dict[str, Measurement] = {}
    for c in checkpoints(name or study.name, trained):
        for one in study.passes:
            if one.wants(c.model) and (not one.last or c.step in steps[c.model][-one.last :]):
                for v in one.plan.variants:
                    m = record(c, v, one.plan, generator)
                    found.setdefault(m.key, m)
    return list(found.values())


def archive(folder: Path, study: Any, rows: list[Measurement], trained: TrainPlan | None) -> Path:
    """Write STUDY.tar.gz as bring.py does."""
    place = folder / f"of-{study.name}"
    place.mkdir(parents=True)
    if rows:
        pack(rows, place / "records.parquet")
    (place / "done.txt").write_text("")
    if trained is not None:
        made = list(checkpoints(study.name, trained))
        described = [
            {
                **{k: v for k, v in dataclasses.asdict(c).items() if k not in ("suite", "commit", "family")},
                "path": f"{c.model}/step-{c.step:07d}", "native": "none", "weights_sha256": c.commit,
            }
            for c in made
        ]  # fmt: skip
        suite = {"bitlaw_suite": 1, "name": trained.suite, "training_text": SOURCE, "checkpoints": described}
        (place / "suite.json").write_text(json.dumps(suite))
        (place / "plan.json").write_text(json.dumps(trained.as_dict()))
        with (place / "train-loss.csv").open("w", newline="") as file:
            rows_ = csv.writer(file, lineterminator="\n")
            rows_.writerow(("model", "step", "tokens", "loss_nats", "steps_averaged", "learning_rate"))
            rows_.writerows((c.model, c.step, c.tokens, 4.0, 10, c.learning_rate) for c in made)
        pairs = [(a, b) for a, b in itertools.pairwise(made) if a.model == b.model]
        changes = [
            {"model": a.model, "step_from": a.step, "step_to": b.step, "tokens_from": a.tokens, "tokens_to": b.tokens,
             **{name: share * (1e7 / (b.tokens or 1)) ** 0.3 for name, share in QUANTILES.items()}}
            for a, b in pairs
        ]  # fmt: skip
        if changes:
            write_changes(changes, place / "weight-changes.csv")
    path = folder / f"{study.name}.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for file in sorted(place.iterdir()):
            packed.add(file, arcname=file.name)
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    return path
