"""bitlaw's own laws: the format's error times the network's sensitivity, up to the loss of guessing.

    QiD = x / (1 + (x/c)^3)^(1/3)          c = ln(vocabulary) - loss16: what is left until the network guesses
    x   = err^(g + h m) * sensitivity      err: the format's relative error, 10^(-SQNR/10); m = ln(M / 1e6)

    growth        sensitivity = k (D/1e9)^(beta + eta m) / (M/1e6)^alpha (LRpeak/LR)^lam
    sensitivity   sensitivity = growth / (1 + (D0/D)^p) + a (M/1e6)^b

What was seen on our suites (docs/validation.md has the numbers), and how it enters:
- Over three decades and twenty integer, floating and microscaling formats QiD is proportional to the format's
  measured error, at every checkpoint: bits, groups and number formats act through err alone (g about 1.1), methods
  through a factor (`offsets=("method",)`). Larger networks are a little steeper: h.
- In tokens the sensitivity bends: it rises like D^2 until D0, where a young network stops changing quickly, and like
  D^0.5 after. One power law fitted across the bend misses everything later. Before the bend it is a plateau, larger for larger networks: a, b.
- In size it follows the width (M, mean parameters of a quantized layer) and hardly the depth.
- A falling learning rate adds a little: lam. A checkpoint with learning rate 0 has no such factor: use the last one above.
`growth` is for checkpoints beyond the bend, which is all that most published suites have; `sensitivity` is for whole runs.

Both know a little beforehand (`prior`: what mini-pythia said, widened), so that a suite of two or three models can be
fitted; `fit(priors=False)` leaves that out. lnV is held at ln 50304: give yours, fixed={"lnV": math.log(vocabulary)}.
"""

from __future__ import annotations

from bitlaw.laws.law import Law, Published
from bitlaw.laws.written import exponent, positive, written

OURS = "this project; measured on its own suites, see docs/validation.md"
PYTHIA_LOG_VOCABULARY = 10.8258  # ln 50304
MINI_LOG_VOCABULARY = 8.3178  # ln 4096
BEYOND, WHOLE = (1.2e8, 5.12e8), (4e6, 5.12e8)  # tokens

K = positive(
    "k",
    "scale: sensitivity of a layer of 1e6 parameters at 1e9 tokens",
    "nats",
    2.0,
    0.2,
    20.0,
    lower=1e-12,
    upper=1e12,
)
G = exponent("g", "exponent of the format's error", 1.1, lower=0.3, upper=3.0, prior=(1.2, 0.15))
H = exponent("h", "how it grows with width", 0.0, lower=-0.5, upper=0.5, prior=(0.05, 0.06))
BETA = exponent("beta", "growth with training tokens at 1e6 parameters a layer", 0.5, 0.3, 0.8, prior=(0.5, 0.2))
ETA = exponent("eta", "how it grows with width", 0.0, lower=-0.5, upper=0.5, prior=(0.03, 0.05))
ALPHA = exponent("alpha", "decline with width", 0.35, 0.2, lower=-1.0, prior=(0.3, 0.15))
LAM = exponent("lam", "growth as the learning rate falls", 0.1, 0.3, upper=3.0, prior=(0.1, 0.1))
LNV = exponent(
    "lnV",
    "logarithm of the vocabulary: the loss of guessing",
    PYTHIA_LOG_VOCABULARY,
    lower=1.0,
    upper=16.0,
    held=PYTHIA_LOG_VOCABULARY,
)
ERR = "err^(g + h*log(M/1e6))"
GROWTH_TEXT = "k * (D/1e9)^(beta + eta*log(M/1e6)) / (M/1e6)^alpha * (LRpeak / (LR + LRpeak/100))^lam"


def _ceiling(x: str) -> str:
    return f"QiD = {x} / (1 + ({x} / (lnV - L16))^3)^(1/3)"


def _mini(method: str, values: dict[str, float], tokens: tuple[float, float]) -> Published:
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


GROWTH: Law = written(
    name="bitlaw-growth",
    summary="QiD beyond the bend: format error, width, tokens, learning rate, ceiling",
    text=_ceiling(f"({ERR} * {GROWTH_TEXT})"),
    target="qid",
    parameters=(K, G, H, BETA, ETA, ALPHA, LAM, LNV),
    published=(
        _mini(
            "nearest",
            {"k": 8.103, "g": 1.206, "h": 0.0446, "beta": 0.6106, "eta": 0.03652, "alpha": 0.2184, "lam": 0.05627},
            BEYOND,
        ),
        _mini(
            "gptq",
            {"k": 6.87, "g": 1.288, "h": 0.06054, "beta": 0.7748, "eta": 0.07772, "alpha": 0.165, "lam": 0.04893},
            BEYOND,
        ),
    ),
    source=OURS,
)
SENSITIVITY: Law = written(
    name="bitlaw-sensitivity",
    summary="QiD over whole training runs: as bitlaw-growth, with the bend and the plateau before it",
    text=_ceiling(f"({ERR} * ({GROWTH_TEXT} / (1 + (D0/D)^p) + a * (M/1e6)^b))"),
    target="qid",
    parameters=(
        K,
        G,
        H,
        BETA,
        ETA,
        ALPHA,
        LAM,
        positive("D0", "tokens at the bend", "tokens", 5e7, 1e7, 1e9, 1e6, lower=1e4, upper=1e13),
        exponent("p", "how much steeper it is before the bend", 2.0, 1.0, lower=0.2, upper=8.0, prior=(2.0, 0.4)),
        positive(
            "a", "plateau of a young network with layers of 1e6 parameters", "nats", 0.1, 0.01, lower=1e-9, upper=1e3
        ),
        exponent("b", "its growth with width", 0.8, 0.4, prior=(0.9, 0.3)),
        LNV,
    ),
    published=(
        _mini(
            "nearest",
            {
                "k": 3.377,
                "g": 1.162,
                "h": 0.03311,
                "beta": 0.1423,
                "eta": -0.06057,
                "alpha": 0.4366,
                "lam": 0.08147,
                "D0": 5.028e7,
                "p": 1.789,
                "a": 0.6506,
                "b": 1.108,
            },
            WHOLE,
        ),
        _mini(
            "gptq",
            {
                "k": 2.536,
                "g": 1.208,
                "h": 0.04006,
                "beta": 0.2731,
                "eta": -0.01774,
                "alpha": 0.3785,
                "lam": 0.1062,
                "D0": 5.347e7,
                "p": 2.254,
                "a": 0.2438,
                "b": 0.9976,
            },
            WHOLE,
        ),
    ),
    source=OURS,
)
