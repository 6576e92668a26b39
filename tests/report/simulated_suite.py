"""A planted law as records: windows with sampling noise, summed the way a sweep sums them."""

from __future__ import annotations

import numpy as np

from bitlaw.records import Asked, Checkpoint, Made, Measurement, Seen, TextSet, Variant

SIZES = {"neox-25k": 25_088, "neox-100k": 99_584, "neox-397k": 396_800}
TOKENS = tuple(int(d) for d in np.geomspace(8.2e4, 2.5e6, 6))
PLANTED = {"beta": 0.9, "alpha": 0.3, "gamma": 5.0}
METHODS = {"gptq": 0.12, "nearest": 0.20}  # QiD of 25k parameters after 2.5M tokens at 2 bits
EVALUATION = TextSet(name="sample:evaluation", token_hash="e" * 64, windows=64, window_tokens=128)
CALIBRATION = TextSet(name="sample:train", token_hash="c" * 64, windows=128, window_tokens=128)
MADE = Made(
    bitlaw_version="0.1.0", torch_version="2.13.0", transformers_version="5.17.0", device="cpu", dtype="float32",
    kernel="torch", seconds=0.4, date="2026-11-22T10:00:00+00:00",
)  # fmt: skip


def planted_qid(method: str, parameters: float, tokens: float, bits: float) -> float:
    """The law's value, nats per token."""
    return float(
        METHODS[method]
        * (tokens / 2.5e6) ** PLANTED["beta"]
        * (parameters / 25_088) ** -PLANTED["alpha"]
        * (bits / 2.0) ** -PLANTED["gamma"]
    )


def simulate(
    *,
    suite: str = "tiny",
    bits: tuple[float, ...] = (2.0, 3.0, 4.0),
    group_size: int = 128,
    seed: int = 0,
    noise: float = 1.0,
) -> list[Measurement]:
    """Baselines and variants of every checkpoint: 3 sizes x 6 checkpoints x (1 + methods x bits)."""
    generator = np.random.default_rng(seed)
    found = []
    for model, parameters in SIZES.items():
        for step, tokens in enumerate(TOKENS, start=1):
            checkpoint = Checkpoint(
                suite=suite, model=model, step=40 * step, commit=f"{hash_of(model, step)}", family="gpt_neox",
                parameters=parameters, tokens=tokens, learning_rate=6e-3 / step, peak_learning_rate=6e-3, schedule="cosine",
                training_seed=0,
            )  # fmt: skip
            loss = 3.0 + 3.2 * (tokens / 8.2e4) ** -0.25 * (parameters / 25_088) ** -0.08
            t = np.full(EVALUATION.windows, 127.0)
            base = t * (loss + 0.25 * generator.standard_normal(len(t)))
            found.append(measurement(checkpoint, Variant(), t, base, base))
            for method in METHODS:
                for width in bits:
                    qid = planted_qid(method, parameters, tokens, width)
                    spread = noise * (0.004 + 0.15 * qid)
                    quantized = base + t * (qid + spread * generator.standard_normal(len(t)))
                    variant = Variant(
                        method=method,
                        format=f"int{width:g}_g{group_size}",
                        bits=width,
                        group_size=group_size,
                        options={"damping": 0.01, "order": "natural"} if method == "gptq" else {},
                    )
                    found.append(measurement(checkpoint, variant, t, base, quantized))
    return found


def hash_of(model: str, step: int) -> str:
    return f"{sum(map(ord, model)) * 100 + step:064x}"


def measurement(checkpoint: Checkpoint, variant: Variant, t, base, quantized) -> Measurement:
    """Sum windows (scored tokens t [W], nats of the 16-bit model [W] and of the variant [W]) into a record."""
    difference = quantized - base
    none = variant.method == "none"
    qid = max(float(difference.sum() / t.sum()), 1e-5)
    seen = Seen(
        windows=len(t), tokens_scored=int(t.sum()), tokens_squared=float((t**2).sum()), nats=float(quantized.sum()),
        nats_squared=float((quantized**2).sum()), nats_tokens=float(quantized @ t), baseline_nats=float(base.sum()),
        difference_squared=float((difference**2).sum()), difference_tokens=float(difference @ t),
        kl_nats=0.0 if none else float(1.1 * qid * t.sum()),
        agreements=int(t.sum()) if none else int(t.sum() * np.exp(-1.5 * np.sqrt(qid))), bytes_scored=20_000,
        quantized_layers=0 if none else 8, quantized_parameters=0 if none else checkpoint.parameters,
        bits_per_weight=16.0 if none else variant.bits + (16 + variant.bits) / 128,
        sqnr_db=None if none else 6.02 * variant.bits - 4.0,
    )  # fmt: skip
    return Measurement(
        asked=Asked(
            checkpoint=checkpoint,
            variant=variant,
            calibration=CALIBRATION if variant.method == "gptq" else TextSet(),
            evaluation=EVALUATION,
        ),
        seen=seen,
        made=MADE,
    )
