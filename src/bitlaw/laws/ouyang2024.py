"""The laws of Ouyang et al. 2024, "Low-Bit Quantization Favors Undertrained LLMs" (arXiv 2411.17691, ACL 2025).

    unified, Eq 8        QiD = k D^beta / (N^alpha P^gamma)
    one bit width        QiD = k D^beta / N^alpha            three sets of constants: 2, 3 and 4 bits
    one factor, Eq 5-7   QiD ~ D^beta, N^-alpha, P^-gamma     proportional: k not published
    16-bit loss, Eq 3    loss = ((Nc/N)^(aN/aD) + Dc/D)^aD    the form of Kaplan et al. 2020, refitted
    quantized loss       16-bit loss + unified QiD

N and D are raw counts, P nominal bits (group 128, so stored bits per weight are about P + (16 + P)/128).
The paper's Table 1 and Figure 1 come from the laws of one bit width, not from the unified one: the unified law gives
10.25T tokens where the table says 17.35T (70B, 4 bits, QiD 0.2).
"""

from __future__ import annotations

import numpy as np

from bitlaw.laws.law import Array, Columns, Law, Parameter, Published, Values
from bitlaw.laws.power import power_form

PAPER = "Ouyang et al. 2024, arXiv 2411.17691"
READ = "read in a secondary copy of the paper's figure caption; the full text was not available"
RECOVERED = (
    "not printed: recovered by us as the centre of the region that the rounding of Table 1 and Figure 1 allows "
    "(48 + 9 numbers, all reproduced)"
)
PYTHIA = "Pythia (deduplicated) 160M to 12B, GPTQ group 128 symmetric, RefinedWeb; checkpoints of 1B to 206B tokens"
PYTHIA_SIZES = (85_056_000.0, 11_327_027_200.0)  # non-embedding parameters of Pythia 160M and 12B
PYTHIA_TOKENS = (1_073_741_824.0, 205_520_896_000.0)  # steps 512 and 98 000 of 2 097 152 tokens

K = Parameter(
    name="k",
    meaning="scale of the degradation",
    unit="nats, in raw counts of N, D and P",
    lower=1e-30,
    upper=1e12,
    starts=(0.017, 1e-5, 1e-2, 10.0),
    log=True,
)
BETA = Parameter(
    name="beta", meaning="growth with training tokens", unit="1", lower=0.0, upper=4.0, starts=(0.5, 1.0, 0.2)
)
ALPHA = Parameter(
    name="alpha", meaning="decline with model size", unit="1", lower=0.0, upper=4.0, starts=(0.25, 0.5, 0.05)
)
GAMMA = Parameter(
    name="gamma", meaning="decline with bits per weight", unit="1", lower=0.0, upper=20.0, starts=(5.5, 4.0, 8.0)
)


def _fitted(*bits: float) -> dict[str, tuple[float, float]]:
    return {"parameters": PYTHIA_SIZES, "tokens": PYTHIA_TOKENS, "bits": (min(bits), max(bits))}


_formula, _gradient = power_form("k", {"beta": ("tokens", 1), "alpha": ("parameters", -1), "gamma": ("bits", -1)})
UNIFIED = Law(
    name="ouyang2024-unified",
    summary="QiD from tokens, size and bits in one power law",
    text="QiD = k * D^beta / (N^alpha * P^gamma)",
    target="qid",
    parameters=(K, BETA, ALPHA, GAMMA),
    variables=("parameters", "tokens", "bits"),
    formula=_formula,
    gradient=_gradient,
    published=(
        Published(
            values={"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967},
            source=f"{PAPER}, Eq 8 and Figure 6",
            sureness=READ,
            fitted=_fitted(2, 3, 4),
            data=PYTHIA,
            note="does not reproduce the paper's own Table 1 at 3 and 4 bits; the laws of one bit width do",
        ),
    ),
    source=f"{PAPER}, section 3.5, Eq 8",
)


def _one_bit(bits: int, k: float, beta: float, alpha: float) -> Law:
    formula, gradient = power_form("k", {"beta": ("tokens", 1), "alpha": ("parameters", -1)})
    return Law(
        name=f"ouyang2024-{bits}bit",
        summary=f"QiD at {bits} bits from tokens and size",
        text="QiD = k * D^beta / N^alpha",
        target="qid",
        parameters=(K, BETA, ALPHA),
        variables=("parameters", "tokens"),
        formula=formula,
        gradient=gradient,
        published=(
            Published(
                values={"k": k, "beta": beta, "alpha": alpha},
                source=f"{PAPER}, behind Table 1 and Figure 1",
                sureness=RECOVERED,
                fitted=_fitted(bits),
                data=f"{PYTHIA}; {bits} bits only",
                note="holds at this bit width only",
            ),
        ),
        source=f"{PAPER}, Table 1 and Figure 1",
    )


TWO_BIT = _one_bit(2, 3.77590e-4, 0.523830, 0.224691)
THREE_BIT = _one_bit(3, 1.170307e-5, 0.672730, 0.354687)
FOUR_BIT = _one_bit(4, 6.132243388e-6, 0.6550601548, 0.3835028453)


def _one_factor(suffix: str, exponent: Parameter, value: float, column: str, sign: int, where: str, text: str) -> Law:
    formula, gradient = power_form("k", {exponent.name: (column, sign)})
    return Law(
        name=f"ouyang2024-{suffix}",
        summary=f"QiD from {column} alone, everything else held still (proportional: k unknown)",
        text=text,
        target="qid",
        parameters=(K, exponent),
        variables=(column,),
        formula=formula,
        gradient=gradient,
        published=(
            Published(
                values={exponent.name: value},
                source=f"{PAPER}, {where}",
                sureness=READ,
                fitted={column: _fitted(2, 3, 4)[column]},
                data=PYTHIA,
                note="k differs between curves and was not published",
            ),
        ),
        source=f"{PAPER}, {where}",
    )


TOKENS = _one_factor("tokens", BETA, 0.5316, "tokens", 1, "Eq 5 and Figure 3", "QiD = k * D^beta")
SIZE = _one_factor("size", ALPHA, 0.2276, "parameters", -1, "Eq 6 and Figure 4", "QiD = k / N^alpha")
BITS = _one_factor("bits", GAMMA, 5.4812, "bits", -1, "Eq 7 and Figure 5", "QiD = k / P^gamma")


def _loss(values: Values, columns: Columns) -> Array:
    size, data = _loss_terms(values, columns)
    return np.asarray((size + data) ** np.asarray(values["aD"]))


def _loss_terms(values: Values, columns: Columns) -> tuple[Array, Array]:
    exponent = np.asarray(values["aN"]) / np.asarray(values["aD"])
    log_size = exponent * np.log(np.asarray(values["Nc"]) / np.asarray(columns["parameters"], dtype=float))
    data = np.asarray(values["Dc"]) / np.asarray(columns["tokens"], dtype=float)
    return np.exp(np.clip(log_size, -600.0, 600.0)), np.asarray(data, dtype=float)


def _loss_gradient(values: Values, columns: Columns) -> dict[str, Array]:
    """d log L: aN u/(s Nc), aD w/(s Dc), u l/s, log s - (aN/aD) u l/s with u, w the two terms, s = u + w, l = ln(Nc/N)."""
    size, data = _loss_terms(values, columns)
    total = size + data
    loss = total ** np.asarray(values["aD"])
    ratio = np.log(np.asarray(values["Nc"]) / np.asarray(columns["parameters"], dtype=float))
    share = size / total
    return {
        "Nc": loss * np.asarray(values["aN"]) * share / np.asarray(values["Nc"]),
        "aN": loss * share * ratio,
        "Dc": loss * np.asarray(values["aD"]) * (1.0 - share) / np.asarray(values["Dc"]),
        "aD": loss * (np.log(total) - np.asarray(values["aN"]) / np.asarray(values["aD"]) * share * ratio),
    }


LOSS_PARAMETERS = (
    Parameter(
        name="Nc",
        meaning="size scale of the 16-bit loss",
        unit="parameters",
        lower=1e3,
        upper=1e40,
        starts=(4.74e19, 1e14, 1e10),
        log=True,
    ),
    Parameter(
        name="aN", meaning="exponent of size", unit="1", lower=1e-3, upper=2.0, starts=(0.045, 0.08, 0.2), log=True
    ),
    Parameter(
        name="Dc",
        meaning="token scale of the 16-bit loss",
        unit="tokens",
        lower=1e2,
        upper=1e20,
        starts=(7.63e10, 1e8, 1e13),
        log=True,
    ),
    Parameter(
        name="aD", meaning="exponent of tokens", unit="1", lower=1e-3, upper=3.0, starts=(0.399, 0.1, 0.8), log=True
    ),
)
_LOSS_VALUES = {"Nc": 4.74e19, "aN": 0.045, "Dc": 7.63e10, "aD": 0.399}
LOSS = Law(
    name="ouyang2024-loss",
    summary="loss of the 16-bit model from size and tokens",
    text="loss16 = ((Nc/N)^(aN/aD) + Dc/D)^aD",
    target="baseline_loss",
    parameters=LOSS_PARAMETERS,
    variables=("parameters", "tokens"),
    formula=_loss,
    gradient=_loss_gradient,
    published=(
        Published(
            values=_LOSS_VALUES,
            source=f"{PAPER}, Eq 3 and Figure 7",
            sureness=READ,
            fitted={"parameters": PYTHIA_SIZES, "tokens": PYTHIA_TOKENS},
            data="Pythia (deduplicated) 160M to 12B, 16-bit, RefinedWeb; loss per token of the Pythia tokenizer",
        ),
    ),
    source=f"{PAPER}, Eq 3 (form of Kaplan et al. 2020, arXiv 2001.08361, Eq 1.5)",
)


def _quantized(values: Values, columns: Columns) -> Array:
    return LOSS.formula(values, columns) + UNIFIED.formula(values, columns)


def _quantized_gradient(values: Values, columns: Columns) -> dict[str, Array]:
    return {**_loss_gradient(values, columns), **_gradient(values, columns)}


QUANTIZED_LOSS = Law(
    name="ouyang2024-quantized-loss",
    summary="loss of the quantized model: the 16-bit loss law plus the unified QiD",
    text="loss = ((Nc/N)^(aN/aD) + Dc/D)^aD + k * D^beta / (N^alpha * P^gamma)",
    target="loss",
    parameters=LOSS_PARAMETERS + UNIFIED.parameters,
    variables=("parameters", "tokens", "bits"),
    formula=_quantized,
    gradient=_quantized_gradient,
    published=(
        Published(
            values={**_LOSS_VALUES, **UNIFIED.published[0].values},
            source=f"{PAPER}, Eq 3 + Eq 8, Figure 7",
            sureness=READ,
            fitted=_fitted(2, 3, 4),
            data=PYTHIA,
        ),
    ),
    source=f"{PAPER}, Figure 7",
)
