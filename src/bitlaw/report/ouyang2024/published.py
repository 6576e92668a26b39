"""Numbers printed in the first paper's figures and tables, as far as they are known (Figure 1's labels, Table 1), and Figure 13's facts."""

from __future__ import annotations

from typing import Any

from bitlaw.report.papers import Item

LABELS = {
    (7e9, 2.0): 49.95, (7e9, 3.0): 9.88, (7e9, 4.0): 1.52,
    (70e9, 2.0): 29.77, (70e9, 3.0): 4.36, (70e9, 4.0): 0.63,
    (405e9, 2.0): 20.07, (405e9, 3.0): 2.34, (405e9, 4.0): 0.32,
}  # fmt: skip
"""Figure 1: (N, bits) -> QiD at 1e14 tokens, nats."""

LEVELS = (0.2, 0.3, 0.4, 0.5)
TABLE_SIZES = (1e9, 7e9, 70e9, 405e9)
TABLE_1 = {
    (1e9, 2.0): (0.0011, 0.0025, 0.0043, 0.0066),
    (1e9, 3.0): (0.1089, 0.1990, 0.3051, 0.4251),
    (1e9, 4.0): (1.4424, 2.6786, 4.1556, 5.8422),
    (7e9, 2.0): (0.0026, 0.0057, 0.0099, 0.0152),
    (7e9, 3.0): (0.3038, 0.5550, 0.8512, 1.1860),
    (7e9, 4.0): (4.5066, 8.3689, 12.9836, 18.2531),
    (70e9, 2.0): (0.0071, 0.0154, 0.0267, 0.0409),
    (70e9, 3.0): (1.0228, 1.8687, 2.8659, 3.9932),
    (70e9, 4.0): (17.3499, 32.2192, 49.9854, 70.2723),
    (405e9, 2.0): (0.0151, 0.0328, 0.0567, 0.0868),
    (405e9, 3.0): (2.5807, 4.7151, 7.2311, 10.0754),
    (405e9, 4.0): (48.4861, 90.0398, 139.6892, 196.3829),
}
"""Table 1: (N, bits) -> trillions of tokens until QiD is each of `LEVELS`."""

GROWTH = (
    ("GPT-3 6.7B", 2020.4, 0.3e12),
    ("GPT-J 6B", 2021.45, 0.4e12),
    ("OPT 6.7B", 2022.35, 0.18e12),
    ("BLOOM 7.1B", 2022.5, 0.366e12),
    ("LLaMA 7B", 2023.15, 1.0e12),
    ("Pythia 6.9B", 2023.25, 0.3e12),
    ("MPT 7B", 2023.35, 1.0e12),
    ("Falcon 7B", 2023.4, 1.5e12),
    ("Llama 2 7B", 2023.55, 2.0e12),
    ("OLMo 7B", 2024.1, 2.5e12),
    ("Gemma 7B", 2024.15, 6.0e12),
    ("Llama 3 8B", 2024.3, 15.0e12),
    ("Qwen2.5 7B", 2024.7, 18.0e12),
)
"""Figure 13's subject: model, release (year), training tokens as its report says. Well-known figures, not re-read here."""

ITEMS: dict[str, dict[str, str]] = {
    "F1": {
        "title": "predicted QiD up to 1e14 tokens",
        "published": "At 1e14 training tokens a 7B model loses 49.95 / 9.88 / 1.52 nats at 2 / 3 / 4 bits, 70B 29.77 / 4.36 / "
        "0.63, 405B 20.07 / 2.34 / 0.32; the gray region is worse than guessing.",
    },
    "F2": {
        "title": "16-bit and quantized loss along training",
        "published": "Pythia 160M, 1B and 12B at 2 and 3 bits: the gap to the 16-bit loss widens with tokens, and at 2 bits the "
        "quantized loss turns up (12B near 3e10 to 4e10 tokens).",
    },
    "F3": {"title": "QiD against tokens, tokens alone", "published": "QiD ~ D^beta, beta 0.5316 (Eq 5)."},
    "F4": {"title": "QiD against size, size alone", "published": "QiD ~ N^-alpha, alpha 0.2276 (Eq 6)."},
    "F5": {"title": "QiD against bits, bits alone", "published": "QiD ~ P^-gamma, gamma 5.4812 (Eq 7)."},
    "F6": {
        "title": "the unified law",
        "published": "QiD = 0.017 D^0.5251 / (N^0.2261 P^5.4967) (Eq 8).",
    },
    "F7": {
        "title": "quantized loss: 16-bit law plus unified QiD",
        "published": "loss16 = ((Nc/N)^(aN/aD) + Dc/D)^aD with Nc 4.74e19, aN 0.045, Dc 7.63e10, aD 0.399 (Eq 3).",
    },
    "F8": {
        "title": "another evaluation text",
        "published": "On WikiText-2 instead of RefinedWeb QiD of Pythia-12B follows the same trends; constants not found.",
    },
    "F9": {
        "title": "GPTQ, AWQ and bitsandbytes at 4 bits",
        "published": "All three methods grow with tokens alike; the constants of the fits were not found.",
    },
    "F10": {
        "title": "other families, and predicted against actual",
        "published": "Spectra, Llama and Qwen follow the law; their constants were not found.",
    },
    "F11": {
        "title": "undertrained against fully trained",
        "published": "Undertrained models lose little, fully trained ones much, at every size.",
    },
    "F12": {
        "title": "how much weights still move",
        "published": "Box plots: between early checkpoints weights change much, between late ones hardly.",
    },
    "F13": {
        "title": "training tokens of 7B models over the years",
        "published": "Nearly 50 times as many tokens in four years.",
    },
    "F14": {
        "title": "native low bit against 16 bit",
        "published": "BitNet of 120M and 1.2B: level with or better than bf16 early on, behind it later, more so when larger.",
    },
    "T1": {
        "title": "tokens needed to reach a QiD",
        "published": "A 70B model needs over 17 trillion tokens, 405B nearly 50 trillion, to lose 0.2 nats at 4 bits.",
    },
}
"""Figures and tables by name: what each shows, and what the paper says of it."""


def item(name: str, **found: Any) -> Item:
    """Return an item of the paper by its name, with what was found of it (fields of `Item`)."""
    return Item(name=name, title=ITEMS[name]["title"], published=ITEMS[name]["published"], **found)
