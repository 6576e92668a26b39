"""One checkpoint of a suite: what it is, and the model and tokenizer it holds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlaw.errors import CheckpointError, UnknownName
from bitlaw.records import Checkpoint
from bitlaw.suites.weights import folder_shapes, weights_sha256

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bitlaw.suites.streamed import StreamedModel

DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, kw_only=True)
class SuiteCheckpoint:
    """A folder of weights in Hugging Face's format and what is known about it.

    `described` is the record's checkpoint with an empty commit; `checkpoint` has the SHA-256 of the weights as commit.
    `expected_sha256` is the manifest's, or empty; `tokenizer_folder` is where the tokenizer lies.
    """

    path: Path
    described: Checkpoint
    tokenizer_folder: Path
    expected_sha256: str = ""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as records name it. Hashes the weights unless the manifest or a cache has the hash."""
        return dataclasses.replace(self.described, commit=self.expected_sha256 or weights_sha256(self.path))

    def ready(self) -> None:
        """Have config and tokenizer in the folder. A checkpoint that lies here already has nothing to do."""

    def fetch(self) -> None:
        """Have the weights in the folder too."""

    def release(self) -> None:
        """Say that the weights are not needed any more."""

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer. Raises CheckpointError when there is none."""
        from bitlaw.text import load_tokenizer

        return load_tokenizer(self.tokenizer_folder)

    def load(
        self, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Return the model in evaluation mode, weights as `dtype` on `device`, and its tokenizer.

        Raises CheckpointError when weights or config are missing, truncated, changed since the manifest was written or
        not those of the architecture, and when the tokenizer has ids that the embedding lacks.
        """
        self._check_files(dtype)
        tokenizer = self.load_tokenizer()
        model: Any = load_causal_model(self.path, dtype)
        self._check_tokenizer(model, tokenizer)
        return model.to(device).eval(), tokenizer

    def stream(
        self, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> tuple[StreamedModel, PreTrainedTokenizerBase]:
        """Return the model to be read block by block onto `device`, and its tokenizer: for models that do not fit there.

        Raises CheckpointError as `load` does, for missing tensors when their block is read. The caller closes the model.
        """
        import torch

        from bitlaw.suites.streamed import StreamedModel

        self._check_files(dtype)
        tokenizer = self.load_tokenizer()
        kind: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        streamed = StreamedModel(self.path, device, kind)
        try:
            self._check_tokenizer(streamed.model, tokenizer)
        except CheckpointError:
            streamed.close()
            raise
        return streamed, tokenizer

    def _check_files(self, dtype: str | torch.dtype) -> None:
        """Raise CheckpointError for files that are missing, truncated or changed, UnknownName for a dtype that is none."""
        if isinstance(dtype, str) and dtype not in DTYPES:
            raise UnknownName("dtype", dtype, DTYPES)
        folder_shapes(self.path)  # a missing or truncated file is named before anything is read
        read_family(self.path)
        found = weights_sha256(self.path)
        if self.expected_sha256 and found != self.expected_sha256:
            raise CheckpointError(
                f"The weights in {self.path} have changed: SHA-256 {found[:12]} where the manifest says "
                f"{self.expected_sha256[:12]}. Restore them, or correct weights_sha256."
            )

    def _check_tokenizer(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise CheckpointError for a tokenizer with ids that the embedding lacks."""
        rows = int(model.get_input_embeddings().weight.shape[0])
        largest = max(tokenizer.get_vocab().values(), default=-1)
        if largest >= rows:
            raise CheckpointError(
                f"The tokenizer in {self.tokenizer_folder} has ids up to {largest}, but the embedding in {self.path} has "
                f"{rows} rows. Use the tokenizer the model was trained with."
            )


def read_family(folder: Path) -> str:
    """Return `model_type` of a checkpoint's config.json. Raises CheckpointError when there is none."""
    try:
        family = json.loads((folder / "config.json").read_text())["model_type"]
    except OSError as error:
        raise CheckpointError(f"No config.json in {folder}, so its architecture is unknown.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} does not say a model_type.") from error
    return str(family)


def load_causal_model(
    folder: Path,
    dtype: str | torch.dtype,
    *,
    device_map: Mapping[str, str] | None = None,
    absent: Mapping[str, float] | None = None,
) -> PreTrainedModel:
    """Return the model of a folder as transformers loads it, quantized ones too; `device_map` needs accelerate.

    absent: ends of the names of parameters that the files may lack -> the value such a parameter then has. Raises CheckpointError for weights that are not whole or not all there, ImportError where a package is missing.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    loader: Any = AutoModelForCausalLM  # transformers gives neither of them types
    logging: Any = transformers_logging
    kind: Any = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    places = {} if device_map is None else {"device_map": dict(device_map)}
    bars = logging.is_progress_bar_enabled()
    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it would warn of is raised below
    try:
        model, report = loader.from_pretrained(
            folder, dtype=kind, local_files_only=True, output_loading_info=True, **places
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Cannot load {folder}: {str(error).splitlines()[0]}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    for name in sorted(report["missing_keys"]):
        for value in [value for end, value in (absent or {}).items() if name.endswith(end)][:1]:
            model.get_parameter(name).data.fill_(value)  # transformers leaves it uninitialised
            report["missing_keys"].remove(name)
    for what in ("missing_keys", "mismatched_keys"):
        if report[what]:
            names = sorted(str(key if isinstance(key, str) else key[0]) for key in report[what])
            raise CheckpointError(f"{folder} has {len(names)} {what.replace('_', ' ')}, such as {names[0]}.")
    loaded: PreTrainedModel = model
    return loaded
