"""Laws of the 16-bit loss: Kaplan et al. 2020 and the sum of powers of Hoffmann et al. 2022 ("Chinchilla").

Kaplan, Eq 1.5       loss = ((Nc/N)^(aN/aD) + Dc/D)^aD      constants of other people's refits: ouyang2024-loss
Chinchilla, Eq 10    loss = E + A/N^alpha + B/D^beta
"""

from __future__ import annotations

from bitlaw.laws.law import Law, Published
from bitlaw.laws.ouyang2024 import LOSS as OUYANG_LOSS
from bitlaw.laws.written import exponent, positive, written

REMEMBERED = "remembered and widely reprinted; the paper was not at hand"

KAPLAN = Law(
    name="kaplan2020-loss",
    summary="16-bit loss from size and tokens, one power around two",
    text=OUYANG_LOSS.text,
    target="baseline_loss",
    parameters=OUYANG_LOSS.parameters,
    variables=OUYANG_LOSS.variables,
    formula=OUYANG_LOSS.formula,
    gradient=OUYANG_LOSS.gradient,
    published=(
        Published(
            values={"Nc": 6.4e13, "aN": 0.076, "Dc": 1.8e13, "aD": 0.103},
            source="Kaplan et al. 2020, arXiv 2001.08361, Table 2",
            sureness=REMEMBERED,
            fitted={"parameters": (768.0, 1.5e9), "tokens": (2.2e7, 2.3e10)},
            data="decoder-only transformers on WebText2; N non-embedding; loss per token of the GPT-2 tokenizer",
        ),
    ),
    source="Kaplan et al. 2020, arXiv 2001.08361, Eq 1.5",
)

E = positive("E", "loss that neither size nor tokens remove", "nats", 1.7, 0.5, 2.8, lower=1e-6, upper=20.0)
A = positive("A", "scale of the size term", "nats, in raw counts", 400.0, 10.0, 1e4, lower=1e-6, upper=1e12)
B = positive("B", "scale of the tokens term", "nats, in raw counts", 400.0, 10.0, 1e4, lower=1e-6, upper=1e12)

CHINCHILLA = written(
    name="chinchilla2022-loss",
    summary="16-bit loss: a constant, a power of size and a power of tokens",
    text="loss = E + A/N^alpha + B/D^beta",
    target="baseline_loss",
    parameters=(
        E,
        A,
        B,
        exponent("alpha", "exponent of size", 0.34, 0.2, 0.5, lower=0.01, upper=3.0),
        exponent("beta", "exponent of tokens", 0.28, 0.2, 0.5, lower=0.01, upper=3.0),
    ),
    published=(
        Published(
            setting="hoffmann2022",
            values={"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
            source="Hoffmann et al. 2022, arXiv 2203.15556, approach 3",
            sureness=REMEMBERED,
            fitted={"parameters": (4.4e7, 1.6e10), "tokens": (1e9, 5e11)},
            data="MassiveText, 245 runs read off the figure by the replication; N counts embeddings",
            note="the replication below found that this fit had stopped early",
        ),
        Published(
            setting="besiroglu2024",
            values={"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
            source="Besiroglu et al. 2024, arXiv 2404.10102",
            sureness=REMEMBERED,
            fitted={"parameters": (4.4e7, 1.6e10), "tokens": (1e9, 5e11)},
            data="the same runs, five outlying points left out",
        ),
        Published(
            setting="kumar2024",
            values={"E": 2.7648, "A": 4.299e3, "B": 1.806e4, "alpha": 0.4965, "beta": 0.4965},
            source="Kumar et al. 2024, arXiv 2411.04330, appendix table",
            sureness="read",
            fitted={"parameters": (3e7, 2.2e8), "tokens": (1.5e9, 2.6e10)},
            data="OLMo-style decoder on Dolma v1.7 common crawl; exponents tied",
        ),
        Published(
            setting="chen2025",
            values={"E": 1.9279, "A": 237.7042, "B": 596.2490, "alpha": 0.3022, "beta": 0.3022},
            source="Chen et al. 2025, arXiv 2505.14302",
            sureness="read; that both exponents are equal is inferred from the value it gives at 595M and 100B tokens",
            fitted={"parameters": (7.4e7, 5.95e8), "tokens": (1e10, 1e11)},
            data="Llama-3-style decoder on OLMo2-Mix-1124, smoothed training loss",
        ),
    ),
    source="Hoffmann et al. 2022, arXiv 2203.15556, Eq 10",
)
