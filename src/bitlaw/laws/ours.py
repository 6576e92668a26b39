"""bitlaw's own laws: the format's error times the network's sensitivity, up to the loss of guessing.

    QiD = (x^-3 + c^-3)^(-1/3)               c = ln(vocabulary) - loss16: what is left until the network guesses
    x   = err (1 + u (M/1e6)^h err) * sensitivity      err: the format's relative error, 10^(-SQNR/10)

    growth        sensitivity = k (D/1e9)^(beta + eta ln(M/1e6)) / (M/1e6)^alpha (LRpeak/LR)^lam
    sensitivity   sensitivity = w growth + (1 - w) a (M/1e6)^b, eta = 0,      w = 1 / (1 + (S0/T)^p), T: optimizer steps

What was seen on our suites (docs/validation.md has the numbers), and how it enters:
- At a minimum of the loss a small random change of the weights costs in proportion to its mean square, a larger one
  something of its square too, more so in wide networks: err and u (M/1e6)^h err^2. Bits, groups and number formats act
  through err alone, over three decades of it and twenty formats; methods through a factor (`offsets=("method",)`).
- A young network's sensitivity is a plateau, higher for wider networks (a, b). After about S0 = 650 steps it rises
  steeply to another curve, that grows like D^0.4 and falls with width. Steps, not tokens: the demo's models, with 32
  times fewer tokens a step, turn at about the same step. One power law fitted across the turn misses what comes after.
- In size it follows the width (M, mean parameters of a quantized layer) and hardly the depth.
- A falling learning rate adds a little: lam. At learning rate 0 the formula takes a hundredth of the peak.
`growth` is for tables without steps, far beyond the turn: most of what is published. `sensitivity` is for whole runs.

Both know a little beforehand (`prior`), so that a suite of two or three models can be fitted: what mini-pythia says, the
mean of its two methods, with their difference as standard deviation; at least 0.1 (0.3 of a logarithm), and more where that suite cannot
speak for others: lam 0.2 (its learning rate falls as its tokens grow), p and b 0.5 (warm-ups differ).
`fit(priors=False)` leaves that out. `fit(priors=PUBLISHED_EXPONENTS)` takes what Ouyang 2024 and Kumar 2024 published
instead, by the same rule: two independent sources that never saw our suites. Size acts through the width there too: at a
fixed shape N goes with the cube of the width and M with its square, so alpha is 3/2 of their exponent of N. lnV is held at ln 50304: give yours, fixed={"lnV": math.log(vocabulary)}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bitlaw.laws import kumar2024, ouyang2024
from bitlaw.laws.law import Law, Parameter, Published
from bitlaw.laws.written import exponent, positive, written

OURS = "this project; measured on its own suites, see docs/validation.md"
PYTHIA_LOG_VOCABULARY = 10.8258  # ln 50304
MINI_LOG_VOCABULARY = 8.3178  # ln 4096
BEYOND, WHOLE = (1.2e8, 5.12e8), (4e6, 5.12e8)  # tokens
LEAST, LEAST_LOG = 0.1, 0.3  # standard deviations below which nothing is known beforehand
Constants = Mapping[str, float]
Prior = tuple[float, float]

NEAREST_GROWTH: Constants = {
    "k": 3.068,
    "u": 5.113,
    "h": 0.4182,
    "beta": 0.5937,
    "alpha": 0.4256,
    "lam": 0.05628,
    "eta": 0.03061,
}
GPTQ_GROWTH: Constants = {
    "k": 2.228,
    "u": 5.106,
    "h": 0.4366,
    "beta": 0.7419,
    "alpha": 0.4041,
    "lam": 0.03766,
    "eta": 0.06353,
}
NEAREST_WHOLE: Constants = {
    "k": 3.019,
    "u": 4.023,
    "h": 0.3273,
    "beta": 0.4433,
    "alpha": 0.4195,
    "lam": 0.04744,
    "S0": 582.3,
    "p": 1.929,
    "a": 0.351,
    "b": 0.926,
}
GPTQ_WHOLE: Constants = {
    "k": 1.43,
    "u": 3.951,
    "h": 0.3554,
    "beta": 0.398,
    "alpha": 0.4816,
    "lam": 0.07386,
    "S0": 738.7,
    "p": 2.28,
    "a": 0.1112,
    "b": 0.8539,
}


def _known(name: str, sets: tuple[Constants, Constants], least: float = LEAST, *, log: bool = False) -> Prior:
    """Return what mini-pythia says of a parameter: the mean of its two methods, and their difference."""
    one, two = (math.log(constants[name]) if log else constants[name] for constants in sets)
    return 0.5 * (one + two), max(abs(one - two), LEAST_LOG if log else least)


PER_PARAMETER = 1.5  # exponent of M over that of N at a fixed shape
_OUYANG = ouyang2024.UNIFIED.constants().values
_THEIRS: tuple[Constants, Constants] = (
    {"beta": _OUYANG["beta"], "alpha": PER_PARAMETER * _OUYANG["alpha"]},
    {"beta": kumar2024.TERM["gD"], "alpha": PER_PARAMETER * kumar2024.TERM["gN"]},
)
PUBLISHED_EXPONENTS: Mapping[str, Prior] = {
    "beta": _known("beta", _THEIRS),
    "alpha": _known("alpha", _THEIRS),
    "lam": (0.0, 0.2),  # they know no learning rate
}
"""What to know beforehand of either law, `fit(priors=...)`, where mini-pythia itself is to be judged or is no guide."""


def _shared(sets: tuple[Constants, Constants]) -> tuple[Parameter, ...]:
    """Return the parameters of both laws, with what each set of constants says of them beforehand."""
    return (
        positive(
            "k",
            "scale: sensitivity of a layer of 1e6 parameters at 1e9 tokens",
            "nats",
            2.0,
            0.2,
            20.0,
            lower=1e-12,
            upper=1e12,
            prior=_known("k", sets, log=True),
        ),
        positive(
            "u",
            "weight of the second order of the error",
            "1",
            2.0,
            0.5,
            10.0,
            lower=1e-3,
            upper=1e3,
            prior=_known("u", sets, log=True),
        ),
        exponent("h", "growth of that weight with width", 0.3, 0.0, lower=-3.0, upper=3.0, prior=_known("h", sets)),
        exponent("beta", "growth with training tokens", 0.4, 0.2, 0.8, prior=_known("beta", sets)),
        exponent("alpha", "decline with width", 0.4, 0.2, lower=-1.0, prior=_known("alpha", sets)),
        exponent("lam", "growth as the learning rate falls", 0.1, 0.3, upper=3.0, prior=_known("lam", sets, 0.2)),
    )


LNV = exponent(
    "lnV",
    "logarithm of the vocabulary: the loss of guessing",
    PYTHIA_LOG_VOCABULARY,
    lower=1.0,
    upper=16.0,
    held=PYTHIA_LOG_VOCABULARY,
)
ERR = "err * (1 + u*(M/1e6)^h*err)"


def _growth(beta: str) -> str:
    return f"k * (D/1e9)^{beta} / (M/1e6)^alpha * (LRpeak / (LR + LRpeak/100))^lam"


def _ceiling(x: str) -> str:
    return f"QiD = ({x}^-3 + (lnV - L16)^-3)^(-1/3)"


def _mini(method: str, values: Constants, tokens: tuple[float, float]) -> Published:
    return Published(
        setting=method,
        values={**values, "lnV": MINI_LOG_VOCABULARY},
        source="this project: fitted to the dataset mini-pythia",
        sureness="fitted; tests/laws/test_ours.py fits them again",
        fitted={
            "parameters": (200_064.0, 17_745_408.0),
            "tokens": tokens,
            "layer_size": (12_288.0, 442_368.0),
            "format_error": (2e-5, 0.31),
            "bits": (2.0, 8.0),
        },
        data=f"GPT-NeoX 0.2M to 17.7M, English text, vocabulary 4096, {method}, 2 to 8 bits in integer, MX, FP4 and NF4 formats",
        note="small models: three decades below what people deploy; refit before use elsewhere",
    )


BEYOND_SETS = NEAREST_GROWTH, GPTQ_GROWTH
GROWTH: Law = written(
    name="bitlaw-growth",
    summary="QiD beyond the turn: format error, width, tokens, learning rate, ceiling",
    text=_ceiling(f"({ERR} * {_growth('(beta + eta*log(M/1e6))')})"),
    target="qid",
    parameters=(
        *_shared(BEYOND_SETS),
        exponent("eta", "change of beta with width", 0.0, lower=-0.5, upper=0.5, prior=_known("eta", BEYOND_SETS)),
        LNV,
    ),
    published=(_mini("nearest", NEAREST_GROWTH, BEYOND), _mini("gptq", GPTQ_GROWTH, BEYOND)),
    source=OURS,
)
WHOLE_SETS = NEAREST_WHOLE, GPTQ_WHOLE
SENSITIVITY: Law = written(
    name="bitlaw-sensitivity",
    summary="QiD over whole training runs: bitlaw-growth, and the plateau of a young network before it",
    text=_ceiling(f"({ERR} * ({_growth('beta')} / (1 + (S0/T)^p) + a * (M/1e6)^b / (1 + (T/S0)^p)))"),
    target="qid",
    parameters=(
        *_shared(WHOLE_SETS),
        positive(
            "S0",
            "optimizer steps at the turn",
            "steps",
            700.0,
            200.0,
            3e3,
            lower=1.0,
            upper=1e7,
            prior=_known("S0", WHOLE_SETS, log=True),
        ),
        exponent("p", "how suddenly it turns", 2.0, 1.0, lower=0.2, upper=8.0, prior=_known("p", WHOLE_SETS, 0.5)),
        positive(
            "a",
            "plateau of a young network with layers of 1e6 parameters",
            "nats",
            0.2,
            0.02,
            lower=1e-9,
            upper=1e3,
            prior=_known("a", WHOLE_SETS, log=True),
        ),
        exponent("b", "its growth with width", 0.9, 0.4, lower=-1.0, prior=_known("b", WHOLE_SETS, 0.5)),
        LNV,
    ),
    published=(_mini("nearest", NEAREST_WHOLE, WHOLE), _mini("gptq", GPTQ_WHOLE, WHOLE)),
    source=OURS,
)
