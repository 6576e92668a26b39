"""A checkpoint that another tool quantized, measured as a variant of its 16-bit original on the same tokens.

transformers loads both, with the kernels the tool brings; both read the same windows, side by side, so QiD is paired as
everywhere else. What cannot be read off in one way for all tools is looked at from outside (foreign_layers.py).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitlaw
from bitlaw.errors import CheckpointError, InputError, MeasurementError, NonFiniteError
from bitlaw.measure.foreign_layers import block_layers, stored_bits, weights_seen
from bitlaw.measure.job import SMALL_PARAMETERS, device_name
from bitlaw.measure.placing import choose_device
from bitlaw.measure.plan import MeasurePlan
from bitlaw.measure.running import MeasureSummary, count_outcomes, window_length
from bitlaw.progress import Progress
from bitlaw.records import Asked, Made, Measurement, Seen, TextSet, Variant
from bitlaw.store import Store, open_store
from bitlaw.suites import Suite, SuiteCheckpoint, open_suite
from bitlaw.suites.checkpoint import load_causal_model
from bitlaw.suites.foreign import ForeignFormat, read_config, read_foreign_format
from bitlaw.suites.hqq_folder import HQQ_FILE, is_hqq_folder, load_hqq_model
from bitlaw.suites.weights import weights_sha256
from bitlaw.sweep.score import Tally, reference
from bitlaw.text import Windows, load_tokenizer, open_text, token_windows

METHOD = "foreign"
MUST_AGREE = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A folder that another tool wrote, under a name of the user's. `bits` 0 means what the folder says of itself."""

    name: str
    folder: Path
    bits: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError(f"The quantized model in {self.folder} needs a name, such as gptq-w4={self.folder}.")
        if not 0.0 <= self.bits <= 16.0:
            raise InputError(f"bits={self.bits} of {self.name!r} is not a width. Give above 0, at most 16.")


def measure_foreign(
    suite: Suite | str | Path,
    models: Sequence[ForeignModel],
    store: Store | str | Path,
    *,
    of: str = "",
    evaluation: str = MeasurePlan.evaluation,
    evaluation_windows: int = MeasurePlan.evaluation_windows,
    window_tokens: int = MeasurePlan.window_tokens,
    batch_windows: int = MeasurePlan.batch_windows,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress | None = None,
) -> MeasureSummary:
    """Score models that other tools quantized beside the suite's checkpoint `of` (`MODEL@STEP`) and store the records.

    `of` may leave out the step (the last one) or be empty where the suite has one model. The 16-bit original is stored
    too, unless the store has it; what it has is skipped. With the same evaluation text and windows the records stand
    beside those of `measure`. A model that fails while it is scored is stored as failed with the reason.
    Raises InputError before anything is scored for a folder of another model or vocabulary, one that does not say its
    bits, and a package that is missing to load one.
    """
    of_suite = suite if isinstance(suite, Suite) else open_suite(suite)
    original = find_original(of_suite, of)
    where = choose_device(device)
    progress = progress or Progress()
    variants = [(model, foreign_variant(original, model)) for model in models]
    windows = token_windows(
        original.load_tokenizer(),
        open_text(evaluation),
        window_length(window_tokens, original, of_suite),
        windows=evaluation_windows or None,
    )
    of_suite.check_no_overlap(windows)
    opened = store if isinstance(store, Store) else open_store(store)
    summary = MeasureSummary()
    try:
        held = opened.keys(state="ok")
        asked = [(model, _asked(original, variant, windows)) for model, variant in variants]
        missing = [(model, a) for model, a in asked if a.key not in held]
        summary.skipped = len(asked) - len(missing)
        if not missing:
            return summary
        truth, _ = original.load(where, dtype)
        for number, (model, question) in enumerate(missing):
            started = time.perf_counter()
            base, seen = _measure_one(truth, original, model, windows, batch_windows, where, dtype)
            made = _made(where, dtype, time.perf_counter() - started, read_foreign_format(model.folder).packages)
            done = [Measurement(asked=question, seen=seen, made=made)]
            baseline = _asked(original, Variant(), windows)
            if base is not None and baseline.key not in opened.keys(state="ok"):
                done.insert(0, Measurement(asked=baseline, seen=base, made=_made(where, dtype, made.seconds, "")))
            opened.add(done)
            count_outcomes(summary, done, progress)
            progress.update("measure", done=number + 1, total=len(missing), note=model.name)
    finally:
        if opened is not store:
            opened.close()
    return summary


def foreign_model(text: str, *, bits: float = 0.0) -> ForeignModel:
    """Return the model of `NAME=FOLDER`. Raises InputError for another form and a folder that is not there."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise InputError(f"{text!r} is not of the form NAME=FOLDER, such as gptq-w4=quantized/gptq-w4.")
    if not Path(folder).is_dir():
        raise InputError(f"No folder {folder}. Give the folder of a quantized model on this machine.")
    return ForeignModel(name=name, folder=Path(folder), bits=bits)


def find_original(suite: Suite, of: str) -> SuiteCheckpoint:
    """Return the checkpoint of `MODEL@STEP`; no step means the last one, nothing at all the only model."""
    name, at, step = of.partition("@")
    if not name and len(suite.models) > 1:
        raise InputError(
            f"Suite {suite.name!r} has several models. Say which the original is, such as {suite.models[0]}@STEP."
        )
    name = name or suite.models[0]
    if name not in suite.models:
        raise InputError(f"Suite {suite.name!r} has no model {name!r}. Its models: {', '.join(suite.models)}.")
    found = {c.described.step: c for c in suite.checkpoints if c.described.model == name}
    if not at:
        return found[max(found)]
    if not step.isdigit() or int(step) not in found:
        raise InputError(f"Model {name!r} has no step {step!r}. Its steps: {', '.join(map(str, sorted(found)))}.")
    return found[int(step)]


def foreign_variant(original: SuiteCheckpoint, model: ForeignModel) -> Variant:
    """Return a folder as a variant of the original, after checking that it is one and that it can be loaded here."""
    described = read_foreign_format(model.folder)
    _check_same_model(original, model.folder)
    _check_packages(described, model.folder)
    bits = model.bits or described.told.bits
    if not bits:
        raise InputError(
            f"{model.folder} ({described.name}) does not say its bits per weight. Give them: --foreign-bits 4."
        )
    return Variant(
        method=METHOD,
        format=described.name,
        bits=bits,
        group_size=described.told.group_size,
        options={
            "name": model.name,
            "tool": described.tool,
            "tool_version": described.version,
            "weights_sha256": weights_sha256(model.folder, _other_files(model.folder)),
        },
    )


def _check_same_model(original: SuiteCheckpoint, folder: Path) -> None:
    ours, theirs = read_config(original.path), read_config(folder)
    for key in MUST_AGREE:
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"{folder} is not a quantized {original.described.model}: {key} is {theirs.get(key)!r}, that of the "
                f"original {ours.get(key)!r}. Name the original it was made from."
            )
    if not (folder / "tokenizer.json").is_file():
        return
    if load_tokenizer(folder).get_vocab() != original.load_tokenizer().get_vocab():
        raise InputError(
            f"The tokenizer in {folder} has another vocabulary than that of {original.described.model}, so the same "
            "text would not be the same tokens. Name the original it was made from."
        )


def _other_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files of a folder where they are not safetensors."""
    return (folder / HQQ_FILE,) if is_hqq_folder(folder) else ()


def _check_packages(described: ForeignFormat, folder: Path) -> None:
    lacking = [p for p in described.packages.split() if importlib.util.find_spec(p.replace("-", "_")) is None]
    if lacking:
        raise InputError(
            f"Loading {folder} ({described.name}) needs {' and '.join(lacking)}. Run: pip install {' '.join(lacking)}"
        )


def _asked(original: SuiteCheckpoint, variant: Variant, windows: Windows) -> Asked:
    return Asked(checkpoint=original.checkpoint, variant=variant, calibration=TextSet(), evaluation=windows.text_set)


def _measure_one(
    truth: nn.Module,
    original: SuiteCheckpoint,
    model: ForeignModel,
    windows: Windows,
    batch_windows: int,
    device: str,
    dtype: str,
) -> tuple[Seen | None, Seen]:
    """Return what was seen of the original (None if it could not be scored) and of the quantized model."""
    foreign = _load(model.folder, dtype, device)
    threads = torch.get_num_threads()
    if device == "cpu" and original.described.parameters < SMALL_PARAMETERS:
        torch.set_num_threads(1)  # the same sums, in the same order, as in `measure`
    try:
        base, tally = _score(truth, foreign, windows, batch_windows, device)
        bytes_scored = int(windows.bytes_scored.sum())
        layers = block_layers(truth)
        facts: Mapping[str, Any] = {**asdict(tally), **weights_seen(layers, foreign)}
        return (
            Seen(**asdict(base), bits_per_weight=16.0, bytes_scored=bytes_scored),
            Seen(**facts, bits_per_weight=stored_bits(model.folder, layers), bytes_scored=bytes_scored),
        )
    except CheckpointError:
        raise
    except MeasurementError as error:
        return None, Seen(state="failed", reason=str(error))
    except Exception as error:  # whatever a tool's own kernels raise is this model's failure and no other's
        return None, Seen(state="failed", reason=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}")
    finally:
        torch.set_num_threads(threads)


def _load(folder: Path, dtype: str, device: str) -> Any:
    """Return the quantized model in evaluation mode. Raises InputError where a package is missing."""
    described = read_foreign_format(folder)
    mapped = {"": device} if "accelerate" in described.packages else None
    try:
        model: Any
        if is_hqq_folder(folder):
            model = load_hqq_model(folder, dtype, device)
        else:
            model = load_causal_model(folder, dtype, device_map=mapped, absent=described.absent)
    except ImportError as error:
        raise InputError(
            f"Loading {folder} ({described.name}) needs another package: {str(error).splitlines()[0]}"
        ) from error
    return (model if mapped else model.to(device)).eval()


@torch.no_grad()
def _score(truth: Any, foreign: Any, windows: Windows, batch_windows: int, device: str) -> tuple[Tally, Tally]:
    """Return the sums of both models over all windows."""
    ids = torch.from_numpy(windows.ids.astype(np.int64)).to(device)
    base, tally = Tally(), Tally()
    for start in range(0, len(ids), batch_windows):
        chunk = ids[start : start + batch_windows]
        logits = truth(input_ids=chunk, use_cache=False).logits
        theirs = foreign(input_ids=chunk, use_cache=False).logits
        scored = reference(logits, chunk)
        base.add(None, scored)
        tally.add(theirs, scored)
    for who, counted in (("16-bit original", base), ("quantized model", tally)):
        if counted.non_finite_tokens:
            raise NonFiniteError(
                f"the {who} has a non-finite loss on {counted.non_finite_tokens} of {counted.tokens_scored} tokens"
            )
    return base, tally


def _made(device: str, dtype: str, seconds: float, packages: str) -> Made:
    versions = []
    for package in packages.split():
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(package)
    return Made(
        bitlaw_version=bitlaw.__version__,
        torch_version=torch.__version__,
        transformers_version=version("transformers"),
        device=device_name(device),
        dtype=dtype,
        kernel=", ".join(versions) or "torch",
        seconds=seconds,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
