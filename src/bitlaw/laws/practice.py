"""Laws of practice: loss per stored bit (Dettmers), accuracy by kind of task (Zhou), learning rate by horizon (Bjorck).

Dettmers    loss = E + k / (S N)^a                 S N: stored bits of the weights; one curve a bit width
Zhou        -ln(adjusted accuracy) = k N^-a P^-b Cb^-c G^g       one set a stratum of tasks
Bjorck      LR* = C N^-a D^-beta
"""

from __future__ import annotations

from bitlaw.laws.base_losses import REMEMBERED
from bitlaw.laws.law import Published
from bitlaw.laws.written import exponent, positive, written

DETTMERS = "Dettmers and Zettlemoyer 2022, arXiv 2212.09720"
ZHOU = "Zhou et al. 2025, arXiv 2508.18609v4"
BJORCK = "Bjorck et al. 2024, arXiv 2409.19913"

TOTAL_BITS = written(
    name="dettmers2022-total-bits",
    summary="loss of the quantized model from its stored bits; the frontier over bit widths says which to choose",
    text="loss = E + k / (S * N)^a",
    target="loss",
    parameters=(
        positive("E", "loss that no number of bits removes", "nats", 1.7, 0.5, 2.8, lower=1e-6, upper=20.0),
        positive("k", "scale of the bits term", "nats, in raw bits", 400.0, 10.0, 1e4, lower=1e-6, upper=1e12),
        exponent("a", "exponent of the stored bits", 0.3, 0.15, 0.5, lower=0.01, upper=3.0),
    ),
    source=(
        f"{DETTMERS}, Figure 1; the paper interpolates near-parallel curves of accuracy and gives no constants: "
        "the power is the usual form of such a curve"
    ),
)


def _stratum(name: str, values: dict[str, float]) -> Published:
    return Published(
        setting=name,
        values=values,
        source=ZHOU,
        sureness="read; the other constants not found",
        fitted={
            "parameters": (6e8, 3.2e10),
            "bits": (3.0, 8.0),
            "group_size": (32.0, 1024.0),
            "calibration_samples": (8.0, 1024.0),
        },
        data="293 GPTQ settings of Qwen3 0.6B to 14B, 32B held out; Llama-3 as second family",
        note="2 bits were left out: models break down there",
    )


STRATIFIED = written(
    name="zhou2025-tasks",
    summary="task error (-ln of chance-adjusted accuracy) from size, bits, calibration samples and group size",
    text="error = k * G^g / (N^a * P^b * Cb^c)",
    target="task_error",
    parameters=(
        positive("k", "scale of the error", "nats, in raw counts", 100.0, 1.0, 1e4),
        exponent("a", "decline with model size", 0.3, 0.1, 0.6),
        exponent("b", "decline with bits", 1.0, 0.3, 3.0, upper=20.0),
        exponent("c", "decline with calibration samples", 0.05, 0.2, lower=-2.0),
        exponent("g", "growth with group size", 0.05, 0.2, lower=-2.0),
    ),
    published=(
        _stratum("reasoning", {"b": 1.356}),
        _stratum("application", {"a": 0.409}),
    ),
    source=f"{ZHOU}; signs turned so that every exponent is positive where the paper's conclusions hold",
)

LEARNING_RATE = written(
    name="bjorck2024-learning-rate",
    summary="best peak learning rate from size and tokens",
    text="LR_best = C / (N^a * D^beta)",
    target="optimal_learning_rate",
    parameters=(
        positive("C", "scale of the rate", "1, in raw counts", 100.0, 1.0, 1e4),
        exponent("a", "decline with model size", 0.2, 0.5),
        exponent("beta", "decline with the token horizon", 0.3, 0.6),
    ),
    published=(
        Published(
            values={"a": 0.23, "beta": 0.32},
            source=BJORCK,
            sureness=f"beta is about 0.3 in the abstract; .32 and .23 {REMEMBERED}",
            fitted={},
            data="decoders on RefinedWeb; C depends on the recipe and was not found",
        ),
    ),
    source=BJORCK,
)
