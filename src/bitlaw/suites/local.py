"""Any folder with a `suite.json`: Hugging Face checkpoints of whatever was trained, wherever."""

from __future__ import annotations

from pathlib import Path

from bitlaw.errors import CheckpointError, InputError
from bitlaw.records import Checkpoint
from bitlaw.suites.checkpoint import SuiteCheckpoint, read_family
from bitlaw.suites.manifest import Manifest, ManifestEntry, read_manifest
from bitlaw.suites.suite import Suite
from bitlaw.suites.weights import count_parameters, folder_shapes


def open_local(folder: Path | None = None) -> Suite:
    """Return the suite of a folder; checkpoints by model size, then tokens.

    Raises InputError for a manifest that cannot be used and CheckpointError for a checkpoint that is not there.
    """
    if folder is None:
        raise InputError(
            "The suite 'local' is any folder with a suite.json. Give the folder's path instead of 'local'."
        )
    if not folder.is_dir():
        raise CheckpointError(f"No folder {folder}.")
    manifest = read_manifest(folder)
    checkpoints = [_checkpoint(folder, manifest, entry) for entry in manifest.checkpoints]
    checkpoints.sort(key=lambda c: (c.described.parameters, c.described.model, c.described.tokens or 0))
    return Suite(
        name=manifest.name, folder=folder, checkpoints=tuple(checkpoints), training_text=manifest.training_text
    )


def _checkpoint(folder: Path, manifest: Manifest, entry: ManifestEntry) -> SuiteCheckpoint:
    path = folder / entry.path
    family = read_family(path)
    parameters, total = entry.parameters, entry.parameters_total
    if parameters is None or total is None:
        count = count_parameters(folder_shapes(path))
        parameters = count.non_embedding if parameters is None else parameters
        total = count.total if total is None else total
    own = (path / "tokenizer.json").is_file() or (path / "tokenizer_config.json").is_file()
    return SuiteCheckpoint(
        path=path,
        described=Checkpoint(
            suite=manifest.name,
            model=entry.model_name,
            step=entry.step_number,
            commit="",
            family=family if not entry.native or entry.native == "none" else f"{family}+{entry.native}",
            parameters=parameters,
            parameters_total=total,
            tokens=entry.tokens,
            learning_rate=entry.learning_rate,
            peak_learning_rate=entry.peak_learning_rate,
            schedule=entry.schedule,
            training_seed=entry.training_seed,
        ),
        tokenizer_folder=folder / manifest.tokenizer if manifest.tokenizer and not own else path,
        expected_sha256=entry.weights_sha256 or "",
    )
