"""Mixed quantization: degradation when only a share of the parameters is in low precision (Cao et al. 2024).

    weak law     QiD = C exp(A Qr) N^-gN
    strong law   QiD = C exp(A Qr) N^-gN (G + d)^gc

Qr is the share of parameters in low precision, G the values that share a scale. QiD is that of the best assignment of
layers that a search found at this Qr, an order statistic: it depends on the search budget. The constants belong to
one quantization method each; we found none, so there are none here.
"""

from __future__ import annotations

from bitlaw.laws.written import exponent, positive, written

PAPER = "Cao et al. 2024, arXiv 2410.06722v3"
SECOND_HAND = "form read in study notes, not in the paper"
C = positive("C", "scale of the degradation", "nats, in raw counts of N", 1.0, 1e-3, 1e3)
A = exponent("A", "growth with the share in low precision", 3.0, 1.0, 6.0, lower=-5.0, upper=30.0)
G_N = exponent("gN", "decline with model size", 0.3, 0.6, 0.1)

WEAK = written(
    name="cao2024-weak",
    summary="QiD of mixed quantization from size and the share in low precision",
    text="QiD = C * exp(A * Qr) / N^gN",
    target="qid",
    parameters=(C, A, G_N),
    source=f"{PAPER} (weak law; {SECOND_HAND})",
)
STRONG = written(
    name="cao2024-strong",
    summary="QiD of mixed quantization from size, share in low precision and block size",
    text="QiD = C * exp(A * Qr) / N^gN * (G + d)^gc",
    target="qid",
    parameters=(
        C,
        A,
        G_N,
        positive(
            "d", "block size below which blocks hardly matter", "weights", 16.0, 1.0, 100.0, lower=1e-3, upper=1e4
        ),
        exponent("gc", "growth with block size", 0.3, 0.1, 0.8),
    ),
    source=f"{PAPER} (strong law; {SECOND_HAND})",
)
