"""The laws of Kumar et al. 2024, "Scaling Laws for Precision" (arXiv 2411.04330v2, ICLR 2025).

    PTQ term            QiD = C_T D^gD / N^gN exp(-P/g_post + n_post)
    capacity            N_eff/N = prod_x (1 - exp(-P_x/g_x + n_x))            x: weights, activations, keys and values
    unified, Eq 9       loss = A/N_eff^a + B/D^b + E + QiD(N_eff) prod_x (1 - exp(-C_x (P_x - P)))
    critical tokens     D_crit = (b B N^gN exp(P/g_post - n_post) / (gD C_T))^(1/(gD + b))
                        b and B belong to the 16-bit loss; a table of D_crit cannot tell them, nor gD, so a fit holds them

The bias. The printed equations have no n; the authors' fits used exponents P/g + n, and the constants in the appendix
come with a bias each. Its sign is not printed: "+" is inferred, since 1 - exp(-P/g + n) then reproduces the paper's
sensitivity of keys and values at 4 to 5 bits. So n is a parameter of every law here, and both readings are
published sets: `printed` (n = 0) and `with bias`. For the PTQ term they differ by a factor exp(1.1277) = 3.09; a fit
holds n, which a table cannot tell from C_T.
"""

from __future__ import annotations

from bitlaw.laws.base_losses import A, B, E
from bitlaw.laws.law import Law, Parameter, Published
from bitlaw.laws.written import exponent, positive, written

PAPER = "Kumar et al. 2024, arXiv 2411.04330v2"
READ = "read in the appendix table"
SIGN = f"{READ}; sign of the bias inferred, not printed"
SIZES, TOKENS, BITS = (3e7, 2.2e8), (1.5e9, 2.6e10), (3.0, 16.0)
FITTED = {"parameters": SIZES, "tokens": TOKENS, "bits": BITS}
DATA = "OLMo-style decoders of 30M to 220M on Dolma v1.7 common crawl, cosine schedule; GPTQ on the weights"
PRINTED, BIASED = "printed", "with bias"
BASE = {"A": 4.299e3, "B": 1.806e4, "E": 2.7648, "a": 0.4965, "b": 0.4965}
TERM = {"C_T": 0.0598, "gD": 0.5068, "gN": 0.3439, "g_post": 0.5907}
WIDTHS = {"g_w": 2.6745, "g_a": 2.2102, "g_kv": 0.9578}
BIASES = {"n_w": 0.3037, "n_a": 1.4072, "n_kv": 2.4185}

C_T = positive("C_T", "scale of the degradation", "nats, in raw counts of N and D", 0.06, 1e-5, 10.0)
G_D = exponent("gD", "growth with training tokens", 0.5, 1.0, 0.2)
G_N = exponent("gN", "decline with model size", 0.35, 0.6, 0.1)
G_POST = positive("g_post", "bits that divide the degradation by e", "bits", 0.6, 0.3, 1.5, lower=0.05, upper=50.0)
N_POST = exponent("n_post", "bias in the exponent of P", 0.0, lower=-5.0, upper=5.0, held=0.0)


def _sets(
    *parts: dict[str, float], biases: dict[str, float], fitted: dict[str, tuple[float, float]]
) -> tuple[Published, ...]:
    values = {name: value for part in parts for name, value in part.items()}
    without = dict.fromkeys(biases, 0.0)
    return tuple(
        Published(
            values=values | bias, source=f"{PAPER}, {where}", sureness=sure, fitted=fitted, data=DATA, setting=setting
        )
        for setting, bias, sure, where in (
            (PRINTED, without, READ, "equations as printed"),
            (BIASED, biases, SIGN, "equations with the biases of the appendix"),
        )
    )


PTQ = written(
    name="kumar2024-ptq",
    summary="QiD from tokens, size and bits, exponential in bits",
    text="QiD = C_T * D^gD / N^gN * exp(-P/g_post + n_post)",
    target="qid",
    parameters=(C_T, G_D, G_N, G_POST, N_POST),
    published=_sets(TERM, biases={"n_post": 1.1277}, fitted=FITTED),
    source=f"{PAPER}, section 3",
)


def _width(name: str, bias: str, what: str) -> tuple[Parameter, Parameter]:
    return (
        positive(
            name, f"bits at which {what} recover most of their capacity", "bits", 2.0, 1.0, 4.0, lower=0.05, upper=50.0
        ),
        exponent(bias, f"bias in the exponent of {what}", 0.0, lower=-5.0, upper=5.0, held=0.0),
    )


CAPACITY_PARAMETERS = (
    *_width("g_w", "n_w", "weights"),
    *_width("g_a", "n_a", "activations"),
    *_width("g_kv", "n_kv", "keys and values"),
)
CAPACITY_TEXT = "(1 - exp(-Pw/g_w + n_w)) * (1 - exp(-Pa/g_a + n_a)) * (1 - exp(-Pkv/g_kv + n_kv))"
CAPACITY_FITTED = {"weight_bits": (3.0, 12.0), "activation_bits": (3.0, 12.0), "cache_bits": (3.0, 12.0)}

CAPACITY = written(
    name="kumar2024-capacity",
    summary="effective over actual parameters of a model trained in low precision",
    text=f"capacity = {CAPACITY_TEXT}",
    target="capacity",
    parameters=CAPACITY_PARAMETERS,
    published=_sets(WIDTHS, biases=BIASES, fitted=CAPACITY_FITTED),
    source=f"{PAPER}, section 4",
)

SIZE = exponent("a", "exponent of size", 0.5, 0.3, lower=0.01, upper=3.0)
DATA_EXPONENT = exponent("b", "exponent of tokens", 0.5, 0.3, lower=0.01, upper=3.0, tied="a")

TRAINING = written(
    name="kumar2024-loss",
    summary="loss of a model trained in low precision, from its effective parameters",
    text=f"loss = E + A / (N * {CAPACITY_TEXT})^a + B / D^b",
    target="loss",
    parameters=(E, A, B, SIZE, DATA_EXPONENT, *CAPACITY_PARAMETERS),
    published=_sets(BASE, WIDTHS, biases=BIASES, fitted={"parameters": SIZES, "tokens": TOKENS} | CAPACITY_FITTED),
    source=f"{PAPER}, section 4",
)


def _recovery(name: str, what: str) -> Parameter:
    return positive(
        name,
        f"how fast training {what} in low precision makes PTQ cheaper",
        "1/bit",
        0.5,
        0.1,
        2.0,
        lower=1e-3,
        upper=50.0,
    )


UNIFIED = written(
    name="kumar2024-unified",
    summary="loss after training and quantizing in any precision",
    text=(
        f"loss = E + A / (N * {CAPACITY_TEXT})^a + B / D^b "
        f"+ C_T * D^gD / (N * {CAPACITY_TEXT})^gN * exp(-P/g_post + n_post) "
        "* (1 - exp(-C_w * (Pw - P))) * (1 - exp(-C_a * (Pa - P))) * (1 - exp(-C_kv * (Pkv - P)))"
    ),
    target="loss",
    parameters=(
        *TRAINING.parameters,
        C_T,
        G_D,
        G_N,
        G_POST,
        N_POST,
        _recovery("C_w", "weights"),
        _recovery("C_a", "activations"),
        _recovery("C_kv", "keys and values"),
    ),
    published=_sets(BASE, WIDTHS, TERM, biases=BIASES | {"n_post": 1.1277}, fitted=FITTED | CAPACITY_FITTED),
    source=f"{PAPER}, Eq 9; C_w, C_a, C_kv were not found",
)

CRITICAL: Law = written(
    name="kumar2024-critical-tokens",
    summary="training tokens beyond which more of them make the quantized model worse",
    text="D_crit = (b * B * N^gN * exp(P/g_post - n_post) / (gD * C_T))^(1 / (gD + b))",
    target="critical_tokens",
    parameters=(
        positive("B", B.meaning, B.unit, BASE["B"], lower=1e-6, upper=1e12, held=BASE["B"]),
        exponent("b", "exponent of tokens", BASE["b"], lower=0.01, upper=3.0, held=BASE["b"]),
        C_T,
        exponent("gD", "growth with training tokens", TERM["gD"], lower=0.01, held=TERM["gD"]),
        G_N,
        G_POST,
        N_POST,
    ),
    published=_sets({"B": BASE["B"], "b": BASE["b"]}, TERM, biases={"n_post": 1.1277}, fitted=FITTED),
    source=f"{PAPER}, section 3: where the 16-bit loss falls as fast as the PTQ term grows",
)
