"""Floating-point training (Sun et al. 2025, "Capybara"), and the Shannon law (Ouyang et al. 2026).

    Capybara   loss = n/N^a + d/D^b + eps + D^b/N^a log2(G) / (gam (Eb + .5)^del (Mb + .5)^nu)
    Shannon    loss = 1/C, C = a N^al log2(1 + b D^be / (c (D N)^g + d D^de + e))

Capybara's last term grows with D: more training in few bits finally hurts. The Shannon law is the total loss under one
kind of noise or one bit width, U-shaped in D; b, c, d and e are known up to a common factor only, so a fit holds e at 1.
"""

from __future__ import annotations

from bitlaw.laws.law import Published
from bitlaw.laws.written import exponent, positive, written

SUN = "Sun et al. 2025, arXiv 2501.02423"
OUYANG = "Ouyang et al. 2026, arXiv 2605.23901"

CAPYBARA = written(
    name="sun2025-capybara",
    summary="loss of training in small floats, from size, tokens, block size, exponent and mantissa bits",
    text="loss = eps + n/N^a + d/D^b + D^b/N^a * log2(G) / (gam * (Eb + 0.5)^del_ * (Mb + 0.5)^nu)",
    target="loss",
    parameters=(
        positive("eps", "loss that neither size nor tokens remove", "nats", 1.9, 0.5, 2.8, lower=1e-6, upper=20.0),
        positive("n", "scale of the size term", "nats, in raw counts", 70.0, 500.0, lower=1e-6, upper=1e12),
        exponent("a", "exponent of size", 0.24, 0.4, lower=0.01, upper=3.0),
        positive("d", "scale of the tokens term", "nats, in raw counts", 7e4, 500.0, lower=1e-6, upper=1e12),
        exponent("b", "exponent of tokens", 0.5, 0.3, lower=0.01, upper=3.0),
        positive("gam", "scale of the precision term", "1/nats, in raw counts", 1e4, 1e3, 1e5),
        exponent("del_", "gain from exponent bits", 3.2, 1.5, upper=10.0),
        exponent("nu", "gain from mantissa bits", 3.0, 1.5, upper=10.0),
    ),
    published=(
        Published(
            values={
                "eps": 1.9061,
                "n": 69.2343,
                "a": 0.2368,
                "d": 68973.0621,
                "b": 0.5162,
                "gam": 11334.5197,
                "del_": 3.1926,
                "nu": 2.9543,
            },
            source=SUN,
            sureness="read",
            fitted={"parameters": (4.1e7, 6.79e8), "tokens": (1e10, 1e11)},
            data="366 training runs in floating formats, 41M to 679M; checked at 1.2B, 7B and 70B",
            note="training in small floats, not quantization afterwards",
        ),
    ),
    source=SUN,
)

SHANNON = written(
    name="ouyang2026-shannon",
    summary="loss as the inverse of a channel's capacity; one set of constants a bit width",
    text="loss = 1 / (a * N^al * log2(1 + b * D^be / (c * (D * N)^g + d * D^de + e)))",
    target="loss",
    parameters=(
        positive("a", "scale of the capacity", "1/nats, in raw counts", 0.02, 0.1, 0.005),
        exponent("al", "growth of the capacity with size", 0.05, 0.1, 0.02),
        positive("b", "scale of the signal", "1", 1e-3, 1.0, 1e-6),
        exponent("be", "growth of the signal with tokens", 0.5, 0.3, 1.0),
        positive("c", "scale of the noise that grows with tokens and size", "1", 1e-9, 1e-6, 1e-12),
        exponent("g", "its exponent", 0.5, 0.3, 0.8),
        positive("d", "scale of the noise that grows with tokens", "1", 1e-6, 1e-3, 1e-9),
        exponent("de", "its exponent", 0.5, 0.8, 0.3),
        positive("e", "noise at the beginning", "1", 1.0, lower=1e-12, upper=1e12, held=1.0),
    ),
    source=f"{OUYANG}; form second hand (public notes on the paper), constants not found",
)
