"""`probe(...)`: the loss landscape of one model, and what it says of every format before anything is quantized.

    from bitlaw.api import probe
    found = probe("my-model", "probe.db")
    for row in found.forecast.rows: print(row.method, row.format, row.loss, row.low, row.high)

One sweep measures the 16-bit model and points along random directions (docs/landscape.md) on few windows; the predictor turns
them into losses by format and method, with intervals. Where the predictor reads it, noise compensated as GPTQ would is measured beside them, with
inputs from the calibration text: what GPTQ would gain in this model. `verify` then measures some of them. Everything measured is in the
store, so a second call goes on where the first ended. `probe_path(...)`: the loss between two checkpoints of a suite.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitlaw.errors import InputError, require_count
from bitlaw.formats import parse_format
from bitlaw.formats.equality import canonical
from bitlaw.measure import MeasurePlan, measure
from bitlaw.measure.foreign import find_original
from bitlaw.measure.running import evaluation_windows_of
from bitlaw.predictor import PAPER_FORMATS, ModelForecast, Predictors, load_predictors, predictor_predict
from bitlaw.progress import Progress
from bitlaw.quantize import make_variant
from bitlaw.records import Checkpoint, Measurement, Variant
from bitlaw.store import Store, open_store
from bitlaw.suites import MANIFEST, Suite, SuiteCheckpoint, open_suite
from bitlaw.suites.checkpoint import read_family
from bitlaw.suites.weights import count_parameters, folder_shapes

SNR_DB = tuple(range(30, -7, -3))
"""Distances of the probes by default, dB; with 32 windows they cost less than three evaluations of 256 windows."""
COMPENSATED_DB, COMPENSATED_BLOCKS = (18, 12, 6), (16, 128)
"""Distances and cells of compensated noise: among SNR_DB where formats of 2 to 4 bits lie, and at both ends of the formats' blocks."""
CALIBRATION_WINDOWS = 64
"""Of compensated noise; its damping is not searched, which costs more and changes the gain by .1 dB or so."""
WINDOWS = 32
METHODS = ("nearest", "gptq")


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A forecast beside what was measured: losses in nats per token, and whether the interval holds it.

    A measurement that failed has its reason and no loss.
    """

    method: str
    format: str
    predicted: float
    low: float
    high: float
    measured: float | None
    covered: bool | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What probing one model gave.

    compensated one entry a probe of compensated noise: as landscape, with micro_block
    landscape   one entry a probe over all layers: seed, snr_db, loss, qid, qid_se, gradient_along, curvature_along; failed ones
                have a reason and no loss
    layers      one entry a layer moved alone by layer_snr_db: layer, parameters, qid, qid_se; the most sensitive first
    forecast    losses by format and method, or None with `no_forecast` saying why
    seconds     of measuring in this call; nothing where the store had it all
    """

    model: str
    family: str
    baseline_loss: float
    tokens_scored: int
    landscape: tuple[Mapping[str, Any], ...]
    compensated: tuple[Mapping[str, Any], ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()
    forecast: ModelForecast | None = None
    no_forecast: str = ""
    verified: tuple[Verified, ...] = ()
    seconds: float = 0.0
    failures: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        content["forecast"] = None if self.forecast is None else self.forecast.to_dict()
        for name in ("landscape", "compensated", "layers"):
            content[name] = [dict(row) for row in getattr(self, name)]
        content["verified"] = [dataclasses.asdict(row) for row in self.verified]
        return content


def probe(
    model: str | Path,
    store: Store | str | Path,
    *,
    of: str = "",
    tokens: float | None = None,
    snr_db: Sequence[float] = SNR_DB,
    seeds: int = 1,
    taylor: bool = False,
    layers: bool = False,
    layer_snr_db: float = 10.0,
    compensated: bool = True,
    formats: Sequence[str] = PAPER_FORMATS,
    methods: Sequence[str] = METHODS,
    predictor: Predictors | str | os.PathLike[str] | None = None,
    level: float = 0.9,
    verify: int = 0,
    evaluation: str = MeasurePlan.evaluation,
    evaluation_windows: int = WINDOWS,
    calibration: str = MeasurePlan.calibration,
    window_tokens: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Probed:
    """Probe the landscape of one model and predict its loss in every format; keep what was measured in the store.

    model: a folder of a Hugging Face checkpoint, or a suite (name or folder) whose checkpoint is `of` (`MODEL@STEP`, by default
    the only model's last). tokens: it was trained on, where its suite does not say. seeds: random directions. taylor: also g.e and
    e.H.e of each. layers: also move each layer alone, by layer_snr_db. predictor: trained predictors or a file of them; None
    for those that come with bitlaw. compensated: also noise compensated as GPTQ would, with inputs of the calibration text, where the predictor reads it.
    verify: how many of the forecasts to measure, spread over their range.
    Raises InputError for anything that cannot be used, MeasurementError's text as InputError if the 16-bit model has no loss.
    """
    suite, checkpoint = open_model(model, of=of, tokens=tokens)
    if not isinstance(seeds, int) or seeds < 1 or verify < 0 or not snr_db:
        raise InputError(f"seeds={seeds}, verify={verify} and {len(snr_db)} distances: give at least 1, 0 and 1.")
    given = _given_predictors(predictor)
    names = _layer_names(checkpoint) if layers else {}
    random = [
        make_variant(
            "perturb_random", "none", {"snr_db": float(db), "seed": seed, "taylor": taylor and db == snr_db[0]}
        )
        for seed in range(seeds)
        for db in snr_db
    ]
    around = [*random, *(compensated_variants() if compensated and _reads_compensated(given, methods) else ())]
    alone = [make_variant("perturb_random", "none", {"snr_db": float(layer_snr_db), "layers": name}) for name in names]
    opened = store if isinstance(store, Store) else open_store(store)
    texts = {
        "evaluation": evaluation,
        "evaluation_windows": evaluation_windows,
        "calibration": calibration,
        "window_tokens": window_tokens,
    }
    measuring = _Measuring(suite, checkpoint, opened, texts, device, dtype, progress or Progress())
    try:
        found = measuring.measured([Variant(), *around, *alone], calibration_windows=CALIBRATION_WINDOWS)
        base = found[0]
        if base.seen.state != "ok":
            raise InputError(f"{checkpoint.described.model} cannot be probed: {base.seen.reason}.")
        probes = found[1 : 1 + len(around)]
        forecast, why = _forecast([base, *probes], given, formats, methods, level)
        verified = _verify(measuring, forecast, verify) if forecast is not None else ()
    finally:
        if opened is not store:
            opened.close()
    failures = [f"{m.asked.variant.label}: {m.seen.reason}" for m in found if m.seen.state != "ok"]
    return Probed(
        model=f"{checkpoint.described.model}@{checkpoint.described.step}",
        family=checkpoint.described.family,
        baseline_loss=base.loss,
        tokens_scored=base.seen.tokens_scored or 0,
        landscape=tuple(_point(m) for m in probes[: len(random)]),
        compensated=tuple(_point(m) for m in probes[len(random) :]),
        layers=_sensitivities(found[1 + len(around) :], names),
        forecast=forecast,
        no_forecast=why,
        verified=verified,
        seconds=measuring.seconds,
        failures=tuple(failures),
    )


def open_model(model: str | Path, *, of: str = "", tokens: float | None = None) -> tuple[Suite, SuiteCheckpoint]:
    """Return a model's checkpoint and the suite it is in; a folder of no suite is one of its own, step 0.

    tokens: training tokens, where the suite does not say. Raises InputError for what is neither a checkpoint nor a suite.
    """
    folder = Path(model)
    if not folder.is_dir() or (folder / MANIFEST).is_file():
        suite = open_suite(model)
        checkpoint = find_original(suite, of)
    elif of:
        raise InputError(f"of={of!r} chooses a checkpoint of a suite, and {folder} is a checkpoint. Leave it out.")
    else:
        suite, checkpoint = _checkpoint_folder(folder)
    if tokens is not None:
        seen = round(require_count("tokens", tokens, "training tokens"))
        checkpoint = dataclasses.replace(checkpoint, described=dataclasses.replace(checkpoint.described, tokens=seen))
    return dataclasses.replace(suite, checkpoints=(checkpoint,)), checkpoint


def _checkpoint_folder(folder: Path) -> tuple[Suite, SuiteCheckpoint]:
    place = folder.resolve()
    for parent in place.parents:
        if (parent / MANIFEST).is_file():
            suite = open_suite(parent)
            for checkpoint in suite.checkpoints:
                if checkpoint.path.resolve() == place:
                    return suite, checkpoint
    count = count_parameters(folder_shapes(place))
    described = Checkpoint(
        suite=place.name,
        model=place.name,
        step=0,
        commit="",
        family=read_family(place),
        parameters=count.non_embedding,
        parameters_total=count.total,
    )
    checkpoint = SuiteCheckpoint(path=place, described=described, tokenizer_folder=place)
    return Suite(name=place.name, folder=place, checkpoints=(checkpoint,)), checkpoint


class _Measuring:
    """Measures variants of one checkpoint on the same texts, and hands out what the store then holds of them."""

    def __init__(
        self,
        suite: Suite,
        checkpoint: SuiteCheckpoint,
        store: Store,
        texts: Mapping[str, Any],
        device: str,
        dtype: str,
        progress: Progress,
    ) -> None:
        self._suite = suite
        self._checkpoint = checkpoint.checkpoint
        self._store = store
        self._texts = texts
        self._settings: dict[str, Any] = {"device": device, "dtype": dtype, "progress": progress}
        self.seconds = 0.0

    def measured(self, variants: Sequence[Variant], **further: Any) -> list[Measurement]:
        """Return the measurements of the variants, in their order, after measuring those that the store lacks. further: of MeasurePlan."""
        plan = MeasurePlan(variants=tuple(variants), **self._texts, **further)
        started = time.perf_counter()
        summary = measure(self._suite, plan, self._store, **self._settings)
        self.seconds += (time.perf_counter() - started) if summary.measured else 0.0
        c = self._checkpoint
        text = evaluation_windows_of(plan, self._suite).text_set
        rows = self._store.read(suite=c.suite, model=c.model, step=c.step, commit=c.commit)
        held = {_name(m.asked.variant): m for m in rows if m.asked.evaluation.token_hash == text.token_hash}
        return [held[_name(v)] for v in variants]


def _name(variant: Variant) -> tuple[Any, ...]:
    return variant.method, variant.format, tuple(sorted(variant.options.items()))


def _given_predictors(predictor: Predictors | str | os.PathLike[str] | None) -> Predictors | None:
    """Return the predictors; None where bitlaw's own are asked for, which `_forecast` loads."""
    if predictor is None or isinstance(predictor, Predictors):
        return predictor
    return load_predictors(Path(predictor))  # before anything is measured, so a wrong file is said at once


def compensated_variants() -> list[Variant]:
    """Return the probes of compensated noise."""
    common = {"damping_rule": "relative"}
    places = [(block, float(db)) for block in COMPENSATED_BLOCKS for db in COMPENSATED_DB]
    return [
        make_variant("perturb_compensated", "none", {"micro_block": block, "snr_db": db, **common})
        for block, db in places
    ]


def _reads_compensated(predictor: Predictors | None, methods: Sequence[str]) -> bool:
    """Return whether forecasts of these methods read compensated noise."""
    try:
        return "gptq" in methods and (predictor or load_predictors()).reads_compensated
    except InputError:  # none comes with bitlaw: the landscape is shown alone
        return False


def _forecast(
    measurements: Sequence[Measurement],
    predictor: Predictors | None,
    formats: Sequence[str],
    methods: Sequence[str],
    level: float,
) -> tuple[ModelForecast | None, str]:
    """Return the forecasts, or None and the reason: what was measured is worth showing without them."""
    try:
        return predictor_predict(measurements, predictor=predictor, formats=formats, methods=methods, level=level), ""
    except InputError as error:
        return None, str(error)


def _point(m: Measurement) -> Mapping[str, Any]:
    options, seen = m.asked.variant.options, m.seen
    row: dict[str, Any] = {name: options[name] for name in ("seed", "micro_block", "snr_db") if name in options}
    if seen.state != "ok":
        return {**row, "loss": None, "qid": None, "qid_se": None, "reason": seen.reason}
    row |= {"loss": m.loss, "qid": m.qid, "qid_se": m.qid_se}
    if seen.gradient_along is not None:
        row |= {"gradient_along": seen.gradient_along, "curvature_along": seen.curvature_along}
    return row


def _layer_names(checkpoint: SuiteCheckpoint) -> dict[str, int]:
    """Return the linear layers of the blocks, qualified name -> weights; nothing is loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from bitlaw.sweep import Decoder
    from bitlaw.sweep.layers import linear_layers

    loader: Any = AutoModelForCausalLM  # transformers gives it no types
    with torch.device("meta"):
        decoder = Decoder(loader.from_config(AutoConfig.from_pretrained(checkpoint.path, local_files_only=True)))
    return {
        layer.name: layer.stored.numel()
        for index in range(len(decoder.blocks))
        for layer in linear_layers(decoder, index)
    }


def _sensitivities(found: Sequence[Measurement], names: Mapping[str, int]) -> tuple[Mapping[str, Any], ...]:
    rows: list[dict[str, Any]] = []
    for m in found:
        layer = str(m.asked.variant.options["layers"])
        row: dict[str, Any] = {"layer": layer, "parameters": names[layer], "snr_db": m.asked.variant.options["snr_db"]}
        ok = m.seen.state == "ok"
        rows.append(row | {"qid": m.qid if ok else None, "qid_se": m.qid_se if ok else None, "reason": m.seen.reason})
    return tuple(sorted(rows, key=lambda row: -float("inf") if row["qid"] is None else -row["qid"]))


def _verify(measuring: _Measuring, forecast: ModelForecast, count: int) -> tuple[Verified, ...]:
    """Measure `count` of the forecasts, spread evenly from the least to the largest predicted loss."""
    rows = sorted(forecast.rows, key=lambda row: row.loss)
    if not count or not rows:
        return ()
    count = min(count, len(rows))
    chosen = [rows[round(i * (len(rows) - 1) / max(count - 1, 1))] for i in range(count)]
    found = measuring.measured([Variant(), *(grid_variant(row.method, row.format) for row in chosen)])[1:]
    verified = []
    for row, m in zip(chosen, found, strict=True):
        loss = m.loss if m.seen.state == "ok" else None
        verified.append(
            Verified(
                method=row.method,
                format=row.format,
                predicted=row.loss,
                low=row.low,
                high=row.high,
                measured=loss,
                covered=None if loss is None else row.low <= loss <= row.high,
                reason=m.seen.reason,
            )
        )
    return tuple(verified)


def grid_variant(method: str, format_name: str) -> Variant:
    """Return a method and format as the plan `grid` has them: short last blocks allowed, GPTQ as in arXiv 2410.12119."""
    format: Any = parse_format(canonical(format_name))
    if format.group_size and not format.short:
        format = dataclasses.replace(format, short=True)
    if method != "gptq":
        return make_variant(method, format)
    paper = {"upstream": "full_precision", "damping_rule": "search", "micro_block": max(format.group_size, 1)}
    return make_variant(method, format, paper)


def probe_path(
    suite: Suite | str | Path,
    earlier: str,
    later: str,
    *,
    places: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5),
    curvature: bool = True,
    evaluation: str = MeasurePlan.evaluation,
    evaluation_windows: int = WINDOWS,
    window_tokens: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Return the loss at w(t) = a + t (b - a) between two checkpoints `MODEL@STEP` of a suite, as JSON-ready data.

    `points` (t, loss, se), `everything` and `linear_layers` (weights, norms at both ends, change, relative, cosine), and the Taylor
    terms along the path at its `begin` and `end`: gradient and curvature for a unit of length. Raises InputError for
    checkpoints of different models and names that the suite lacks.
    """
    import numpy as np
    import torch

    from bitlaw.measure.placing import choose_device
    from bitlaw.sweep.path import training_path

    opened = suite if isinstance(suite, Suite) else open_suite(suite)
    ends = [find_original(opened, name) for name in (earlier, later)]
    plan = MeasurePlan(
        variants=(make_variant("perturb_random", "none"),),
        evaluation=evaluation,
        evaluation_windows=evaluation_windows,
        window_tokens=window_tokens,
    )
    windows = evaluation_windows_of(plan, dataclasses.replace(opened, checkpoints=(ends[0],)))
    where = choose_device(device)
    models = [end.load(where, "float32")[0] for end in ends]
    ids = torch.from_numpy(windows.ids.astype(np.int64))
    path = training_path(models[0], models[1], ids, places, curvature=curvature)
    named = [f"{end.described.model}@{end.described.step}" for end in ends]
    return {
        "suite": opened.name,
        "from": named[0],
        "to": named[1],
        "tokens_from": ends[0].described.tokens,
        "tokens_to": ends[1].described.tokens,
        "tokens_scored": int(ids[:, 1:].numel()),
        "points": [dataclasses.asdict(point) for point in path.points],
        "everything": _change(path.everything),
        "linear_layers": _change(path.linear_layers),
        "begin": None if path.begin is None else dataclasses.asdict(path.begin),
        "end": None if path.end is None else dataclasses.asdict(path.end),
    }


def _change(change: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(change), "relative": change.relative, "cosine": change.cosine}
