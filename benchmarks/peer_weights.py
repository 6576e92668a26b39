"""What another tool's GPTQ makes of a model: its dequantized weights. Run in the peers' environment, a process a peer.

    python benchmarks/peer_weights.py llm-compressor MODEL_FOLDER calibration.npy SETTINGS.json OUT_FOLDER

calibration.npy holds token ids [windows, T]; SETTINGS.json a list of {name, bits, symmetric, group_size, damping, plain, static,
exact}. Weights go to OUT_FOLDER/<name>.safetensors by the layer's qualified name. `plain` false leaves the tool's own
order on; `static` chooses scales from the original weights where the tool lets one choose. `exact` true factorises the
tool's Hessian in float64, as bitlaw does on a CPU, takes the weights as its algorithm leaves them, before they are packed,
and writes the Hessians too, to <name>.hessians.safetensors: what is then left of a difference is the algorithm's and not that
of rounding errors.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

Tensors = dict[str, torch.Tensor]


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """The owner's attribute under another value, for a while."""
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def llm_compressor(folder: str, ids: np.ndarray, settings: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """llm-compressor's GPTQModifier; `plain` switches its activation order off."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier, gptq_quantize

    from datasets import Dataset

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    args = QuantizationArgs(
        num_bits=settings["bits"],
        type="int",
        symmetric=settings["symmetric"],
        strategy="group",
        group_size=settings["group_size"],
    )
    plain = {"actorder": None} if settings["plain"] else {}
    recipe = GPTQModifier(
        ignore=["embed_out", "lm_head"],
        dampening_frac=settings["damping"],
        block_size=128,
        config_groups={"all": QuantizationScheme(targets=["Linear"], weights=args)},
        **plain,
    )
    rows = {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}
    factorize, compress = gptq_quantize.factorize_hessian, GPTQModifier.compress_modules
    hessians: Tensors = {}

    def in_float64(weight: torch.Tensor, hessian: torch.Tensor, *rest: Any) -> torch.Tensor:
        factor: torch.Tensor = factorize(weight, hessian.double(), *rest)
        return factor.float()

    def kept(self: Any) -> None:
        for module, summed in self._hessians.items():
            hessians[self._module_names[module]] = summed / self._num_samples[module]
        compress(self)

    exact = settings["exact"]
    with (
        replaced(gptq_quantize, "factorize_hessian", in_float64 if exact else factorize),
        replaced(GPTQModifier, "compress_modules", kept if exact else compress),
    ):
        oneshot(
            model=model,
            processor=AutoTokenizer.from_pretrained(folder),
            dataset=Dataset.from_dict(rows),
            recipe=[recipe],
            max_seq_length=ids.shape[1],
            num_calibration_samples=len(ids),
            shuffle_calibration_samples=False,
        )
    named = dict(model.named_modules())
    quantized = {name: module for name, module in named.items() if hasattr(module, "weight_scale")}
    return {name: module.weight.detach().float().contiguous() for name, module in quantized.items()}, hessians


def gptqmodel(folder: str, ids: np.ndarray, settings: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """GPTQModel; `plain` switches its group-aware order off. It packs scales as float16."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # read when the package is imported
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    config = QuantizeConfig(
        bits=settings["bits"],
        group_size=settings["group_size"],
        sym=settings["symmetric"],
        desc_act=False,
        damp_percent=settings["damping"],
        static_groups=settings["static"],
        device="cpu",
        offload_to_disk=False,
        **({"act_group_aware": False} if settings["plain"] else {}),
    )
    wrapped = GPTQModel.load(folder, config, dtype=torch.float32)
    rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in ids]
    inverse, quantize = GPTQ.hessian_inverse, GPTQ.quantize
    left: Tensors = {}
    hessians: Tensors = {}

    def in_float64(self: Any, hessian: torch.Tensor) -> tuple[torch.Tensor, float]:
        factor, damping = inverse(self, hessian.double())
        return factor.float(), damping

    def kept(self: Any, blocksize: int = 128) -> tuple[Any, ...]:
        hessians[self._named_module.full_name] = self.finalize_hessian().clone()
        made: tuple[Any, ...] = quantize(self, blocksize)
        left[self._named_module.full_name] = made[0].float().clone().contiguous()
        return made

    if settings["exact"]:
        with replaced(GPTQ, "hessian_inverse", in_float64), replaced(GPTQ, "quantize", kept):
            wrapped.quantize(rows, batch_size=1)
        return left, hessians
    wrapped.quantize(rows, batch_size=1)
    named = dict(wrapped.model.named_modules())
    quantized = {name: module for name, module in named.items() if hasattr(module, "qweight")}
    return {name: _dequantized(module) for name, module in quantized.items()}, hessians


def _dequantized(module: Any) -> torch.Tensor:
    """Return the weight [out, in] of one of GPTQModel's packed layers."""
    weight = module.dequantize_weight()
    if module.qzero_format() == 1:  # the first GPTQ format stores zero points minus 1, and a loader adds the 1
        weight = weight - module.scales[module.g_idx.long()]
    return weight.T.float().contiguous()


PEERS = {"llm-compressor": llm_compressor, "GPTQModel": gptqmodel}


def main() -> None:
    peer, folder, ids, settings, out = sys.argv[1:]
    if peer == "GPTQModel":
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    for setting in json.loads(Path(settings).read_text()):
        torch.manual_seed(0)
        weights, hessians = PEERS[peer](folder, np.load(ids), setting)
        save_file(weights, Path(out) / f"{setting['name']}.safetensors")
        if hessians:
            save_file(hessians, Path(out) / f"{setting['name']}.hessians.safetensors")


if __name__ == "__main__":
    main()
