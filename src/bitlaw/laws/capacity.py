"""A compressed model as a smaller one: effective capacity (Frantar et al. 2025) and its prediction (Panferov et al. 2025).

    Frantar     loss = a/(N eff)^b + c/D^d + e           eff: one number for each compression
    Panferov    capacity = L tanh(F log_1/4(gauss))^C    gauss: the format's mean squared error on standard normal numbers

These are laws of training in the compressed representation. Frantar's base constants a to e were not found; a table of one
compression cannot tell eff from a, so a fit needs uncompressed rows (capacity 1) or a fixed eff.
"""

from __future__ import annotations

from bitlaw.laws.base_losses import E
from bitlaw.laws.law import Published
from bitlaw.laws.written import exponent, positive, written

FRANTAR = "Frantar et al. 2025, arXiv 2502.16440"
PANFEROV = "Panferov et al. 2025, arXiv 2506.01863"


def _eff(setting: str, value: float) -> Published:
    return Published(
        setting=setting,
        values={"eff": value},
        source=FRANTAR,
        sureness="read; a, b, c, d, e not found",
        fitted={},
        data="decoders trained with the compression",
    )


LOSS = written(
    name="frantar2025-loss",
    summary="loss of a model trained in one compression, as that of a smaller model",
    text="loss = e + a / (N * eff)^b + c / D^d",
    target="loss",
    parameters=(
        positive("e", E.meaning, "nats", 1.7, 0.5, 2.8, lower=1e-6, upper=20.0),
        positive("a", "scale of the size term", "nats, in raw counts", 400.0, 10.0, 1e4, lower=1e-6, upper=1e12),
        exponent("b", "exponent of size", 0.34, 0.2, 0.5, lower=0.01, upper=3.0),
        positive("c", "scale of the tokens term", "nats, in raw counts", 400.0, 10.0, 1e4, lower=1e-6, upper=1e12),
        exponent("d", "exponent of tokens", 0.28, 0.2, 0.5, lower=0.01, upper=3.0),
        positive("eff", "effective over actual parameters", "1", 0.9, 0.3, lower=1e-4, upper=4.0, held=1.0),
    ),
    published=(
        _eff("weights 4 bit", 0.923),
        _eff("weights and activations 4 bit", 0.747),
        _eff("weights and activations 1 bit", 0.067),
        _eff("sparsity 50 %", 0.871),
    ),
    source=FRANTAR,
)
GAUSSIAN = written(
    name="panferov2025-capacity",
    summary="capacity of a format from its error on Gaussian numbers",
    text="capacity = L * tanh(F * log(gauss) / log(0.25))^C",
    target="capacity",
    parameters=(
        positive("L", "capacity of an exact representation", "1", 1.0, 0.8, lower=1e-2, upper=2.0),
        positive("F", "how fast capacity saturates with accuracy", "1", 0.3, 1.0, 0.1, lower=1e-3, upper=50.0),
        exponent("C", "shape", 1.0, 0.5, 2.0, lower=0.05, upper=10.0),
    ),
    published=(
        Published(
            setting="QuEST, weights",
            values={"L": 1.0, "F": 0.4, "C": 0.936},
            source=f"{PANFEROV}, Eq 3 and Figure 7",
            sureness=(
                "form read (section 4.1), L = 1 read (for representations that saturate); F and C are not printed: recovered by us "
                "from the four capacities of Figure 7 (2, 3, 4 and 8 bits), all reproduced to the printed digit"
            ),
            fitted={"gaussian_error": (8.8e-5, 0.119)},
            data="Llama-style decoders of 30M to 200M on C4, 100 tokens a parameter, trained with QuEST weights",
            note="training in the representation, not quantization afterwards; Figure 6 (other runs) has .45, .74 and .90 where this has .57, .75 and .87",
        ),
    ),
    source=f"{PANFEROV}, Eq 3; full text read",
)
