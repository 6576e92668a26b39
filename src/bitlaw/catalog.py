"""Every name bitlaw knows: formats, methods, probes, suites, laws, architectures, native low bit. One entry a line, each naming the module behind it.

The command line's choices, the tables of the docs and the error for an unknown name are all read from here, so a list
needs no import of torch: a module is imported when its entry is first used. To add something, write its file in its
room and add one line here; the room's docstring says what the file must define.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitlaw.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name: where its code is (`module:attribute`) and what it is, in one line."""

    target: str
    summary: str

    def load(self) -> Any:
        """Import the module behind the entry and return the attribute it names."""
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)


FORMATS: Mapping[str, Entry] = {
    "int": Entry(target="bitlaw.formats.integer:IntegerFormat", summary="integers of 2-8 bits with a float scale"),
    "int1.58": Entry(target="bitlaw.formats.ternary:TernaryFormat", summary="-1, 0, 1 times a scale (BitNet b1.58)"),
    "mxint": Entry(
        target="bitlaw.formats.microscaling:MicroscalingFormat",
        summary="integers of 2-8 bits with a power-of-two scale",
    ),
    "mxfp": Entry(
        target="bitlaw.formats.microscaling:MicroscalingFormat",
        summary="small floats with a power-of-two scale (OCP MX)",
    ),
    "nvfp4": Entry(
        target="bitlaw.formats.nvfp4:NvFp4Format", summary="FP4 in blocks with an FP8 scale, and one a tensor"
    ),
    "fp": Entry(
        target="bitlaw.formats.floating:FloatFormat", summary="small floats (FP8, FP6, FP4, ...) with a float scale"
    ),
    "nf4": Entry(target="bitlaw.formats.normal_float:TableFormat", summary="normal quantiles (QLoRA, bitsandbytes)"),
    "fp4bnb": Entry(target="bitlaw.formats.normal_float:TableFormat", summary="the FP4 table of bitsandbytes"),
    "quantile": Entry(
        target="bitlaw.formats.fitted_codebook:CodebookFormat", summary="quantiles of the group as codebook"
    ),
    "kmeans": Entry(target="bitlaw.formats.fitted_codebook:CodebookFormat", summary="cluster means as codebook (CMPQ)"),
}

METHODS: Mapping[str, Entry] = {
    "nearest": Entry(target="bitlaw.quantize.nearest:NEAREST", summary="round each weight to the nearest value (RTN)"),
    "gptq": Entry(
        target="bitlaw.quantize.gptq_together:GPTQ", summary="column by column, errors moved to later columns"
    ),
    "gptaq": Entry(target="bitlaw.quantize.gptaq:GPTAQ", summary="gptq aimed at the 16-bit network's layer outputs"),
    "awq": Entry(target="bitlaw.quantize.awq:AWQ", summary="input scales and clips with the least output error"),
    "awq_gptq": Entry(target="bitlaw.quantize.awq:AWQ_GPTQ", summary="gptq under awq's scales and clips"),
    "hqq": Entry(target="bitlaw.quantize.hqq:HQQ", summary="zero points that make the error sparse; no calibration"),
    "smooth": Entry(target="bitlaw.quantize.smooth:SMOOTH", summary="SmoothQuant's migration scale, weights only"),
    "rotate": Entry(target="bitlaw.quantize.rotate:ROTATE", summary="nearest in randomly rotated (Hadamard) space"),
    "rotate_gptq": Entry(target="bitlaw.quantize.rotate:ROTATE_GPTQ", summary="gptq in rotated (Hadamard) space"),
    "gwq": Entry(target="bitlaw.quantize.gwq:GWQ", summary="nearest; weights with the largest gradients stay 16 bit"),
    "cmpq": Entry(
        target="bitlaw.quantize.cmpq:CMPQ", summary="a width for each input channel, any average of 2-4 bits"
    ),
    "crossquant": Entry(target="bitlaw.quantize.crossquant:CROSSQUANT", summary="scales row maximum^a x column^(1-a)"),
    "mixed": Entry(
        target="bitlaw.quantize.mixed:MIXED", summary="a share of the layers low, the others 16 bit or higher"
    ),
}

PROBES: Mapping[str, Entry] = {
    "perturb_random": Entry(
        target="bitlaw.quantize.perturb:PERTURB_RANDOM",
        summary="weights moved along a random direction, at a ratio in dB",
    ),
    "perturb_compensated": Entry(
        target="bitlaw.quantize.compensated:PERTURB_COMPENSATED",
        summary="random noise compensated as GPTQ compensates rounding: what GPTQ would gain",
    ),
    "perturb_along": Entry(
        target="bitlaw.quantize.perturb:PERTURB_ALONG", summary="the direction of nearest or gptq, before and beyond it"
    ),
}
"""Methods that move weights along a direction instead of quantizing them: points of the loss landscape."""

SUITES: Mapping[str, Entry] = {
    "tiny": Entry(
        target="bitlaw.suites.tiny:open_tiny", summary="the demo's three GPT-NeoX models, trained on this machine"
    ),
    "pythia": Entry(
        target="bitlaw.suites.pythia:open_pythia",
        summary="Pythia deduplicated, 70M to 12B, 154 checkpoints each, from the hub",
    ),
    "pythia-standard": Entry(
        target="bitlaw.suites.pythia:open_pythia_standard", summary="Pythia trained on the Pile as it is, from the hub"
    ),
    "hub": Entry(
        target="bitlaw.suites.hub:open_hub", summary="any repository on the hub: hub:ORG/NAME@REVISION[=TOKENS],..."
    ),
    "local": Entry(
        target="bitlaw.suites.local:open_local", summary="a folder of Hugging Face checkpoints with a suite.json"
    ),
}

ARCHITECTURES: Mapping[str, Entry] = {
    "gpt_neox": Entry(target="bitlaw.train.architectures:gpt_neox", summary="GPT-NeoX (Pythia's architecture)"),
    "llama": Entry(target="bitlaw.train.architectures:llama", summary="Llama (RMSNorm, SwiGLU, rotary positions)"),
    "gpt2": Entry(target="bitlaw.train.architectures:gpt2", summary="GPT-2 (learned positions, tied head)"),
    "opt": Entry(target="bitlaw.train.architectures:opt", summary="OPT (learned positions, ReLU, tied head)"),
    "bloom": Entry(target="bitlaw.train.architectures:bloom", summary="BLOOM (ALiBi, norm behind the embedding)"),
    "mpt": Entry(target="bitlaw.train.architectures:mpt", summary="MPT (ALiBi, no biases)"),
}

NATIVE: Mapping[str, Entry] = {
    "bitnet1.58": Entry(target="bitlaw.train.bitnet:BITNET", summary="trained with ternary weights (BitNet b1.58)"),
    "bitnet1.58-a8": Entry(
        target="bitlaw.train.bitnet:BITNET_A8", summary="the same with inputs of linear layers in 8 bits a token"
    ),
}

LAWS: Mapping[str, Entry] = {
    "bitlaw-growth": Entry(
        target="bitlaw.laws.ours:GROWTH", summary="QiD from format error, width, tokens, learning rate"
    ),
    "bitlaw-sensitivity": Entry(
        target="bitlaw.laws.ours:SENSITIVITY", summary="the same over whole training runs, from the first steps on"
    ),
    "ouyang2024-unified": Entry(target="bitlaw.laws.ouyang2024:UNIFIED", summary="QiD from tokens, size and bits"),
    "ouyang2024-2bit": Entry(target="bitlaw.laws.ouyang2024:TWO_BIT", summary="QiD at 2 bits from tokens and size"),
    "ouyang2024-3bit": Entry(target="bitlaw.laws.ouyang2024:THREE_BIT", summary="QiD at 3 bits from tokens and size"),
    "ouyang2024-4bit": Entry(target="bitlaw.laws.ouyang2024:FOUR_BIT", summary="QiD at 4 bits from tokens and size"),
    "ouyang2024-tokens": Entry(target="bitlaw.laws.ouyang2024:TOKENS", summary="QiD from tokens alone, up to a factor"),
    "ouyang2024-size": Entry(target="bitlaw.laws.ouyang2024:SIZE", summary="QiD from size alone, up to a factor"),
    "ouyang2024-bits": Entry(target="bitlaw.laws.ouyang2024:BITS", summary="QiD from bits alone, up to a factor"),
    "ouyang2024-loss": Entry(target="bitlaw.laws.ouyang2024:LOSS", summary="16-bit loss from size and tokens"),
    "ouyang2024-quantized-loss": Entry(
        target="bitlaw.laws.ouyang2024:QUANTIZED_LOSS", summary="quantized loss: 16-bit loss plus unified QiD"
    ),
    "kumar2024-ptq": Entry(
        target="bitlaw.laws.kumar2024:PTQ", summary="QiD from tokens, size and bits, exponential in bits"
    ),
    "kumar2024-capacity": Entry(
        target="bitlaw.laws.kumar2024:CAPACITY", summary="effective over actual parameters after training in few bits"
    ),
    "kumar2024-loss": Entry(target="bitlaw.laws.kumar2024:TRAINING", summary="loss of a model trained in few bits"),
    "kumar2024-unified": Entry(
        target="bitlaw.laws.kumar2024:UNIFIED", summary="loss after training and quantizing in any precision"
    ),
    "kumar2024-critical-tokens": Entry(
        target="bitlaw.laws.kumar2024:CRITICAL", summary="tokens beyond which more hurt the quantized model"
    ),
    "cao2024-weak": Entry(
        target="bitlaw.laws.cao2024:WEAK", summary="mixed quantization: size and share in low precision"
    ),
    "cao2024-strong": Entry(target="bitlaw.laws.cao2024:STRONG", summary="mixed quantization: block size too"),
    "chen2025-qat": Entry(
        target="bitlaw.laws.chen2025:QAT", summary="quantization-aware training: tokens, size, group size"
    ),
    "dettmers2022-total-bits": Entry(target="bitlaw.laws.practice:TOTAL_BITS", summary="loss from stored bits"),
    "zhou2025-tasks": Entry(
        target="bitlaw.laws.practice:STRATIFIED", summary="task error by kind of task: size, bits, samples, groups"
    ),
    "ouyang2026-shannon": Entry(
        target="bitlaw.laws.other_formats:SHANNON", summary="loss as the inverse of a channel's capacity"
    ),
    "sun2025-capybara": Entry(target="bitlaw.laws.other_formats:CAPYBARA", summary="loss of training in small floats"),
    "frantar2025-loss": Entry(target="bitlaw.laws.capacity:LOSS", summary="a compressed model as a smaller one"),
    "panferov2025-capacity": Entry(
        target="bitlaw.laws.capacity:GAUSSIAN", summary="capacity of a format from its error on Gaussian numbers"
    ),
    "bjorck2024-learning-rate": Entry(
        target="bitlaw.laws.practice:LEARNING_RATE", summary="best peak learning rate from size and tokens"
    ),
    "kaplan2020-loss": Entry(target="bitlaw.laws.base_losses:KAPLAN", summary="16-bit loss, one power around two"),
    "chinchilla2022-loss": Entry(
        target="bitlaw.laws.base_losses:CHINCHILLA", summary="16-bit loss: a constant and two powers"
    ),
}

PAPERS: Mapping[str, Entry] = {
    "ouyang2024": Entry(
        target="bitlaw.reproduce:ouyang2024", summary="Low-Bit Quantization Favors Undertrained LLMs (arXiv 2411.17691)"
    ),
    "xu2024": Entry(
        target="bitlaw.reproduce:xu2024", summary="Scaling Laws for Post-Training Quantized LLMs (arXiv 2410.12119)"
    ),
}

KINDS: Mapping[str, Mapping[str, Entry]] = {
    "format": FORMATS,
    "method": METHODS,
    "probe": PROBES,
    "suite": SUITES,
    "architecture": ARCHITECTURES,
    "native": NATIVE,
    "law": LAWS,
    "paper": PAPERS,
}


def find(kind: str, name: str) -> Entry:
    """Return the entry of that kind and name. Raises UnknownName with the near matches."""
    entries = KINDS[kind]
    if name not in entries:
        raise UnknownName(kind, name, entries)
    return entries[name]
