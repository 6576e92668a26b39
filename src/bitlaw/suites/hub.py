"""Checkpoints on a hub that speaks Hugging Face's protocol: resolved to a commit, downloaded when needed, kept in a cache.

`HF_ENDPOINT` names the hub, `BITLAW_HUB` the cache (else `~/.cache/bitlaw/hub`). In the cache a revision lies as
`ORG--NAME/REVISION/`, with a `.bitlaw-hub.json` that says which commit it is and what is there whole. Config and tokenizer
come first, weights when they are needed; a download that broke off goes on where it was. With `BITLAW_HUB_KEEP=no`
weights are removed when they have been measured, so that a suite larger than the disk can be.

    hub:EleutherAI/pythia-70m-deduped@step1000,step2000               training tokens unknown
    hub:EleutherAI/pythia-70m-deduped@step1000=2.1e9,step2000=4.2e9   with training tokens
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlaw.errors import CheckpointError, InputError, require_count
from bitlaw.records import Checkpoint
from bitlaw.suites.checkpoint import SuiteCheckpoint, read_family
from bitlaw.suites.pickled import to_safetensors
from bitlaw.suites.suite import Suite
from bitlaw.suites.weights import count_parameters, folder_shapes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bitlaw.suites.streamed import StreamedModel

SMALL, WEIGHTS = "small", "weights"
"""Parts of a checkpoint: config and tokenizer; weights."""
SMALL_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|tokenizer\.model|merges\.txt|vocab\.txt"
)
SAFE_FILES = re.compile(r"model.*\.safetensors(\.index\.json)?")
PICKLED_FILES = re.compile(r"pytorch_model.*\.bin(\.index\.json)?")
MARK = ".bitlaw-hub.json"
SCHEME = "hub:"
SPELLING = "hub:ORG/NAME@REVISION[=TOKENS][,REVISION...]"
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def hub_endpoint() -> str:
    """Return the address of the hub: $HF_ENDPOINT, else the one that huggingface_hub knows."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def hub_cache() -> Path:
    """Return the folder that keeps downloads: $BITLAW_HUB, else ~/.cache/bitlaw/hub."""
    return Path(os.environ.get("BITLAW_HUB") or Path.home() / ".cache" / "bitlaw" / "hub")


def revision_folder(repository: str, revision: str) -> Path:
    """Return where a revision of a repository lies in the cache, or will."""
    return hub_cache() / repository.replace("/", "--") / revision.replace("/", "--")


@dataclass(frozen=True, kw_only=True)
class HubCheckpoint(SuiteCheckpoint):
    """A revision of a repository on the hub; `path` is its folder in the cache, which may still be empty.

    `described` may lack family and parameters: they are read from config and weights.
    """

    repository: str
    revision: str

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as records name it, with the commit that the revision means. Asks the hub unless it is cached."""
        self.ready()
        described = self.described
        if not described.parameters:
            self.download(WEIGHTS)
            count = count_parameters(folder_shapes(self.path))
            described = dataclasses.replace(described, parameters=count.non_embedding, parameters_total=count.total)
        family = described.family or read_family(self.path)
        return dataclasses.replace(described, family=family, commit=self._known()["commit"])

    def ready(self) -> None:
        """Bring config and tokenizer, and settle the commit. Raises CheckpointError."""
        self.download(SMALL)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer, downloaded if it is not there."""
        self.ready()
        return super().load_tokenizer()

    def fetch(self) -> None:
        """Bring the weights too. Raises CheckpointError."""
        self.ready()
        self.download(WEIGHTS)

    def release(self) -> None:
        """Remove the weights where BITLAW_HUB_KEEP=no says so."""
        known = self._known()
        if os.environ.get("BITLAW_HUB_KEEP") != "no" or WEIGHTS not in known["parts"]:
            return
        self._mark(known["commit"], [part for part in known["parts"] if part != WEIGHTS])
        for file in self.path.iterdir():
            if SAFE_FILES.fullmatch(file.name):
                file.unlink()

    def load(
        self, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Return model and tokenizer, downloaded if they are not there."""
        self.fetch()
        return super().load(device, dtype)

    def stream(
        self, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> tuple[StreamedModel, PreTrainedTokenizerBase]:
        """Return the model to be read block by block, downloaded if it is not there, and its tokenizer."""
        self.fetch()
        return super().stream(device, dtype)

    def download(self, part: str) -> None:
        """Bring a part of the checkpoint (`small` or `weights`) into the cache unless it is there. Raises CheckpointError."""
        known = self._known()
        if part in known["parts"]:
            return
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        endpoint = hub_endpoint()
        try:
            info = HfApi(endpoint=endpoint).model_info(self.repository, revision=known["commit"] or self.revision)
            names = [s.rfilename for s in info.siblings or ()]
            commit = known["commit"] or str(info.sha)
            chosen = self._choose(part, names)
            for name in chosen:
                hf_hub_download(self.repository, name, revision=commit, local_dir=self.path, endpoint=endpoint)
        except (CheckpointError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise CheckpointError(self._why(error, endpoint)) from error
        if part == WEIGHTS and not SAFE_FILES.fullmatch(chosen[0]):
            to_safetensors(self.path, [name for name in chosen if name.endswith(".bin")])
        self._mark(commit, sorted({*known["parts"], part}))

    def _choose(self, part: str, names: Sequence[str]) -> list[str]:
        """Return the files of a part among those of the repository, safetensors before pickled weights."""
        for pattern in (SMALL_FILES,) if part == SMALL else (SAFE_FILES, PICKLED_FILES):
            found = sorted(name for name in names if pattern.fullmatch(name))
            if found and (part == WEIGHTS or "config.json" in found):
                return found
        wanted = "config.json" if part == SMALL else "safetensors or pytorch_model.bin"
        raise CheckpointError(
            f"{self.repository} at {self.revision} has no {wanted}: it holds {', '.join(sorted(names)[:8]) or 'nothing'}."
        )

    def _known(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads((self.path / MARK).read_text())
            return {"commit": str(known["commit"]), "parts": list(known["parts"])}
        return {"commit": "", "parts": []}

    def _mark(self, commit: str, parts: list[str]) -> None:
        content = {"repository": self.repository, "revision": self.revision, "commit": commit, "parts": parts}
        temporary = self.path / f"{MARK}.{os.getpid()}"
        temporary.write_text(json.dumps(content) + "\n")
        temporary.replace(self.path / MARK)

    def _why(self, error: Exception, endpoint: str) -> str:
        """Say what a failed download means and what to do about it."""
        from huggingface_hub.errors import (
            GatedRepoError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        what = f"Cannot download {self.repository} at {self.revision} from {endpoint}"
        if isinstance(error, GatedRepoError):
            return f"{what}: it asks for permission. Ask for it there, then set HF_TOKEN."
        if isinstance(error, RevisionNotFoundError):
            return f"{what}: no such revision. Look which branches, tags and commits it has."
        if isinstance(error, RepositoryNotFoundError):
            return f"{what}: no such repository, or a private one. Check the name, or set HF_TOKEN."
        if isinstance(error, OfflineModeIsEnabled) or "offline" in type(error).__name__.lower():
            return f"{what}: HF_HUB_OFFLINE is set, and it is not in {hub_cache()}. Unset it, or fill the cache."
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"{what}: {reason}. Run the same command again to go on; HF_ENDPOINT names another hub."


def open_hub(text: str | Path | None = None) -> Suite:
    """Return the suite that `hub:ORG/NAME@REVISION[=TOKENS],...` names; nothing is downloaded yet. Raises InputError.

    The step of a checkpoint is the number at the end of its revision, else its place in the list, counted from 1.
    """
    if not isinstance(text, str):
        raise InputError(f"The suite 'hub' is any repository on the hub. Write {SPELLING}.")
    repository, at, listed = text.removeprefix(SCHEME).partition("@")
    revisions = [part for part in listed.split(",") if part]
    if not NAME.fullmatch(repository) or (at and not revisions):
        raise InputError(f"{text!r} is not of the form {SPELLING}, such as hub:EleutherAI/pythia-70m@step1000.")
    checkpoints = []
    for place, part in enumerate(revisions or ["main"], start=1):
        revision, equals, tokens = part.partition("=")
        try:
            seen = round(require_count("tokens", float(tokens), "training tokens")) if equals else None
        except ValueError as error:
            raise InputError(f"{text!r}: {tokens!r} is not a number of training tokens. Write {SPELLING}.") from error
        digits = re.search(r"(\d+)$", revision)
        checkpoints.append(
            hub_checkpoint(
                repository,
                revision,
                suite=repository,
                model=repository.partition("/")[2],
                step=int(digits[1]) if digits else place,
                tokens=seen,
            )
        )
    return Suite(name=repository, folder=hub_cache(), checkpoints=tuple(checkpoints))


def hub_checkpoint(repository: str, revision: str, **known: Any) -> HubCheckpoint:
    """Return the checkpoint of a revision; `known` are fields of `records.Checkpoint`."""
    path = revision_folder(repository, revision)
    described = Checkpoint(**{"commit": "", "family": "", "parameters": 0, **known})
    return HubCheckpoint(
        path=path, described=described, tokenizer_folder=path, repository=repository, revision=revision
    )
