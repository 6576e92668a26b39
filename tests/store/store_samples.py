"""Measurements for the store tests: simple ones by number, and any at all from hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from bitlaw.records import Asked, Checkpoint, Made, Measurement, Seen, TextSet, Variant


def sample(
    number: int = 0, *, state: str = "ok", suite: str = "tiny", bits: float = 4.0, date: str = "2026-01-01"
) -> Measurement:
    """Measurement `number` of an imaginary suite: models a and b in turn, a step a number."""
    checkpoint = Checkpoint(
        suite=suite, model="ab"[number % 2], step=number, commit=f"{number:040x}", family="gpt_neox", parameters=25_000
    )
    seen = Seen(
        windows=8, tokens_scored=800, tokens_squared=80_000.0, nats=2400.1 + number / 3, nats_squared=720_060.0 + number,
        nats_tokens=240_010.0, baseline_nats=2320.0, difference_squared=900.0, difference_tokens=8_000.0, kl_nats=40.0,
        agreements=700, quantized_layers=8, quantized_parameters=25_000, bits_per_weight=4.25, sqnr_db=21.5,
    )  # fmt: skip
    if state == "failed":
        seen = Seen(state="failed", reason="Hessian of layer 3 cannot be factorised")
    return Measurement(
        asked=Asked(
            checkpoint=checkpoint,
            variant=Variant(method="gptq", format="int4_g128", bits=bits, group_size=128, options={"damping": 0.01}),
            calibration=TextSet(name="train", token_hash="c" * 64, windows=4, window_tokens=128),
            evaluation=TextSet(name="held-out", token_hash="e" * 64, windows=8, window_tokens=128),
        ),
        seen=seen,
        made=Made(device="cpu", dtype="float32", seconds=0.25, date=date),
    )


_texts = st.text(max_size=12)  # any Unicode: commas, quotes, newlines, backslashes, NUL
_counts = st.integers(min_value=0, max_value=2**63 - 1)
_numbers = st.floats(allow_nan=False)


def _optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


_text_sets = st.builds(
    TextSet, name=_texts, token_hash=_texts, windows=_counts, window_tokens=_counts, beginning_of_sequence=_texts
)

measurements = st.builds(
    Measurement,
    asked=st.builds(
        Asked,
        checkpoint=st.builds(
            Checkpoint, suite=_texts, model=_texts, step=st.integers(-(2**63), 2**63 - 1), commit=_texts, family=_texts,
            parameters=_counts, parameters_total=_optional(_counts), tokens=_optional(_counts),
            learning_rate=_optional(_numbers), peak_learning_rate=_optional(_numbers), schedule=_optional(_texts),
            training_seed=_optional(_counts),
        ),
        variant=st.builds(
            Variant, method=_texts, format=_texts, bits=_numbers, group_size=_counts,
            options=st.dictionaries(_texts, st.none() | st.booleans() | _counts | _numbers | _texts, max_size=3),
        ),
        calibration=_text_sets,
        evaluation=_text_sets,
    ),
    seen=st.builds(
        Seen, state=st.sampled_from(["ok", "failed"]), reason=_texts, windows=_optional(_counts),
        tokens_scored=_optional(st.integers(1, 2**40)), tokens_squared=_optional(_numbers), nats=_optional(_numbers),
        nats_squared=_optional(_numbers), nats_tokens=_optional(_numbers), baseline_nats=_optional(_numbers),
        difference_squared=_optional(_numbers), difference_tokens=_optional(_numbers), kl_nats=_optional(_numbers),
        agreements=_optional(_counts), non_finite_tokens=_counts, bytes_scored=_optional(_counts),
        quantized_layers=_counts, quantized_parameters=_counts, bits_per_weight=_optional(_numbers),
        sqnr_db=_optional(_numbers), fallback_layers=_counts, fallbacks=_texts,
    ),
    made=st.builds(
        Made, bitlaw_version=_texts, torch_version=_texts, transformers_version=_texts, device=_texts, dtype=_texts,
        kernel=_texts, seconds=_numbers, date=_texts,
    ),
)  # fmt: skip
"""Any measurement a store must keep, whether or not its numbers make sense."""
