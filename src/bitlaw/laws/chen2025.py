"""Quantization-aware training with groups (Chen et al. 2025, "Scaling Law for Quantization-Aware Training").

    degradation of QAT = k D^gD (log2 G)^gG / N^gN        one set of constants for each precision of weights and activations

Training adapts to the quantizer, so the exponents are far smaller than those of quantization after training: never use
one for the other. The 16-bit loss of the paper is the set `chen2025` of `chinchilla2022-loss`.
"""

from __future__ import annotations

from bitlaw.laws.law import Published
from bitlaw.laws.written import exponent, positive, written

PAPER = "Chen et al. 2025, arXiv 2505.14302"
UNSAFE = "k, gN, gD read; gG from scrambled table text: unsafe"


def _set(setting: str, k: float, size: float, tokens: float, group: float, sureness: str = "read") -> Published:
    return Published(
        setting=setting,
        values={"k": k, "gN": size, "gD": tokens, "gG": group},
        source=PAPER,
        sureness=sureness,
        fitted={"parameters": (7.4e7, 5.95e8), "tokens": (1e10, 1e11), "group_size": (32.0, 256.0)},
        data="Llama-3-style decoders of 74M to 595M, OLMo2-Mix-1124, 268 runs of quantization-aware training",
        note="training in low precision, not quantization afterwards",
    )


QAT = written(
    name="chen2025-qat",
    summary="degradation of quantization-aware training from tokens, size and group size",
    text="QiD = k * D^gD * log2(G)^gG / N^gN",
    target="qid",
    parameters=(
        positive("k", "scale of the degradation", "nats, in raw counts of N and D", 0.16, 0.01, 1.0),
        exponent("gD", "growth with training tokens", 0.07, 0.3, 0.5),
        exponent("gG", "growth with the logarithm of the group size", 0.8, 0.3, 1.5),
        exponent("gN", "decline with model size", 0.22, 0.4, 0.1),
    ),
    published=(
        _set("W4A4", 0.1582, 0.2186, 0.0745, 0.7779),
        _set("W4A16", 0.2522, 0.3589, 0.1610, 0.3533),
        _set("W16A4", 0.1004, 0.1816, 0.0331, 0.9812),
        _set("W4A4, FC2 input 8 bit", 0.3519, 0.2637, 0.0964, 0.3407, UNSAFE),
        _set("W16A4, FC2 input 8 bit", 0.1273, 0.2347, 0.0827, 0.4491, f"{UNSAFE} (the text says .4471)"),
    ),
    source=PAPER,
)
