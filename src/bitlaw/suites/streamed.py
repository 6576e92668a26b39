"""A checkpoint read piece by piece: a model whose blocks have no weights yet, and each block's weights when asked for.

The skeleton is the model of the config on the meta device; what lies outside the blocks (embeddings, norms, head) is read at
once. Names and layouts in the files become those of the model by transformers' own loader (experts stored one by one are
stacked, old names renamed), so the tensors are those that loading the whole model gives, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitlaw.errors import CheckpointError
from bitlaw.suites.weights import weight_files


class StreamedModel:
    """A model in evaluation mode without the weights of its blocks, and a reader of them.

    `model` is on `device` but for the blocks, which are on the meta device; `read` gives one block's tensors.
    """

    def __init__(self, folder: Path, device: str | torch.device, dtype: torch.dtype) -> None:
        self.folder = folder
        self.device = torch.device(device)
        self._dtype = dtype
        with _quiet():
            self.model = _skeleton(folder, dtype)
            self._twin = _skeleton(folder, dtype)  # where `read` has transformers put what it loads, in any thread
        self._plan = self._twin._get_dtype_plan(dtype)
        self._files: list[Any] = []
        self._stored = self._open_files()
        self._blocks = ""
        self._of_block: dict[int, list[str]] = {}
        self.let_go: Callable[[], None] = _nothing
        """Takes the blocks' weights away again; set by who gives them."""

    def begin(self, blocks: str) -> None:
        """Read all that is not inside `blocks`, the qualified name of the list of blocks; the sweep calls this.

        Raises CheckpointError naming a tensor that the files lack or hold in another shape.
        """
        self.let_go()
        if self._blocks == blocks:
            return
        self._blocks = blocks
        outside: list[str] = []
        for name, target in self._targets().items():
            index = _block_index(target, blocks)
            (outside if index is None else self._of_block.setdefault(index, [])).append(name)
        model: Any = self.model
        with _quiet():
            self._load(model, outside, self.device)
            for parameter in model.parameters():
                parameter._is_hf_initialized = True  # a block's weights come later: nothing to make up
            model._move_missing_keys_from_meta_to_device(set(), {"": self.device}, None, None)
            model._initialize_missing_keys(False)  # buffers that no file holds, such as rotary frequencies
            model.tie_weights()
        model.requires_grad_(False)
        self._refuse_missing((n, t) for n, t in model.state_dict().items() if _block_index(n, blocks) is None)

    def read(self, index: int) -> Mapping[str, torch.Tensor]:
        """Return the tensors of one block, name inside the block -> tensor in CPU memory, pinned for a GPU.

        Safe in one other thread. Raises CheckpointError naming a tensor that the files lack or hold in another shape.
        """
        block = self._twin.get_submodule(f"{self._blocks}.{index}")
        empty = dict(block.state_dict(keep_vars=True))
        try:
            self._load(self._twin, self._of_block.get(index, []), torch.device("cpu"))
            held: dict[str, torch.Tensor] = block.state_dict()
        finally:
            put_tensors(block, empty)
        self._refuse_missing((f"{self._blocks}.{index}.{name}", tensor) for name, tensor in held.items())
        if self.device.type == "cuda":
            return {name: tensor.pin_memory() for name, tensor in held.items()}
        return held

    def close(self) -> None:
        """Let go of the blocks and close the files."""
        self.let_go()
        for file in self._files:
            file.__exit__(None, None, None)
        self._files, self._stored = [], {}

    def _open_files(self) -> dict[str, Any]:
        """Return tensor name in the files -> a slice that reads it when it is indexed."""
        from safetensors import safe_open

        stored: dict[str, Any] = {}
        for path in weight_files(self.folder):
            opened: Any = safe_open(path, framework="pt", device="cpu")
            file = opened.__enter__()
            self._files.append(file)
            stored |= {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return stored

    def _targets(self) -> dict[str, str]:
        """Return tensor name in the files -> its name in the model, or the first of them."""
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        twin: Any = self._twin
        mapping = get_model_conversion_mapping(twin)
        renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        expected = twin.state_dict()
        targets = {}
        for name in self._stored:
            target, _ = rename_source_key(name, renamings, converters, twin.base_model_prefix, expected)
            if target not in expected and name in expected:
                target = name
            targets[name] = target
        return targets

    def _load(self, model: Any, names: list[str], device: torch.device) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import convert_and_load_state_dict_in_model
        from transformers.modeling_utils import LoadStateDictConfig

        mapping: Any = get_model_conversion_mapping(model)
        settings = LoadStateDictConfig(
            device_map={"": device},
            dtype=self._dtype,
            dtype_plan=self._plan,
            weight_mapping=mapping,
        )
        with _quiet():
            convert_and_load_state_dict_in_model(model, {name: self._stored[name] for name in names}, settings)

    def _refuse_missing(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> None:
        missing = sorted(name for name, tensor in tensors if tensor.is_meta)
        if missing:
            raise CheckpointError(f"{self.folder} has {len(missing)} missing or mismatched keys, such as {missing[0]}.")


def put_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a module tensors for its parameters and buffers, by name inside it, on whatever device they are."""
    for name, tensor in tensors.items():
        owner_name, _, own = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        if own in owner._buffers:
            owner._buffers[own] = tensor
        elif isinstance(tensor, nn.Parameter):
            owner._parameters[own] = tensor
        else:
            owner._parameters[own] = nn.Parameter(tensor, requires_grad=False)


def _nothing() -> None:
    """No block has weights yet."""


def _block_index(name: str, blocks: str) -> int | None:
    """Return the number of the block a tensor belongs to, None outside of all."""
    if not name.startswith(f"{blocks}."):
        return None
    return int(name.removeprefix(f"{blocks}.").partition(".")[0])


def _skeleton(folder: Path, dtype: torch.dtype) -> Any:
    """Return the model of a folder's config on the meta device, in evaluation mode. Raises CheckpointError."""
    from transformers import AutoConfig, AutoModelForCausalLM

    builder: Any = AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return builder.from_config(config, dtype=dtype).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"Cannot build the model of {folder}: {str(error).splitlines()[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' bars and warnings for a while: what matters is raised."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
