"""Records: keys that never move, rows that come back, and standard errors against a computation from the windows."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.records import (
    COLUMNS,
    NULLABLE,
    Asked,
    Checkpoint,
    Made,
    Measurement,
    Seen,
    TextSet,
    Variant,
    flatten,
    unflatten,
)

CHECKPOINT = Checkpoint(
    suite="tiny", model="neox-100k", step=1200, commit="a" * 64, family="gpt_neox", parameters=100_352, tokens=2_457_600
)
VARIANT = Variant(
    method="gptq", format="int4_g128", bits=4.0, group_size=128, options={"damping": 0.01, "order": "natural"}
)
CALIBRATION = TextSet(name="train", token_hash="b" * 64, windows=64, window_tokens=128)
EVALUATION = TextSet(name="held-out", token_hash="c" * 64, windows=32, window_tokens=128)
ASKED = Asked(checkpoint=CHECKPOINT, variant=VARIANT, calibration=CALIBRATION, evaluation=EVALUATION)


def from_windows(tokens, baseline, quantized, **more) -> Measurement:
    """The measurement of windows: tokens [W], nats of the 16-bit model [W] and of the variant [W]."""
    difference = quantized - baseline
    seen = Seen(
        windows=len(tokens), tokens_scored=int(tokens.sum()), tokens_squared=float((tokens**2).sum()),
        nats=float(quantized.sum()), nats_squared=float((quantized**2).sum()), nats_tokens=float(quantized @ tokens),
        baseline_nats=float(baseline.sum()), difference_squared=float((difference**2).sum()),
        difference_tokens=float(difference @ tokens), **more,
    )  # fmt: skip
    return Measurement(asked=ASKED, seen=seen)


def random_windows(windows: int = 50):
    generator = np.random.default_rng(7)
    tokens = generator.integers(20, 128, windows).astype(float)
    baseline = tokens * generator.normal(3.0, 0.4, windows)
    return tokens, baseline, baseline + tokens * generator.normal(0.05, 0.02, windows)


def test_the_key_of_a_fixed_question_never_moves():
    assert ASKED.key == "0e23873c4806c8b6ec2e0cc95649582c"


def test_the_key_ignores_what_does_not_identify():
    described = dataclasses.replace(
        CHECKPOINT, tokens=None, learning_rate=1e-3, schedule="cosine", family="other", parameters=1
    )
    renamed = dataclasses.replace(EVALUATION, name="another name of the same ids")
    reordered = dataclasses.replace(VARIANT, options={"order": "natural", "damping": 0.01}, bits=4)
    other = dataclasses.replace(ASKED, checkpoint=described, evaluation=renamed, variant=reordered)
    assert other.key == ASKED.key


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("checkpoint", {"suite": "local"}),
        ("checkpoint", {"model": "neox-25k"}),
        ("checkpoint", {"step": 1201}),
        ("checkpoint", {"commit": "d" * 64}),
        ("variant", {"method": "nearest"}),
        ("variant", {"format": "int4_g128_sym"}),
        ("variant", {"bits": 3.0}),
        ("variant", {"group_size": 64}),
        ("variant", {"options": {"damping": 0.02, "order": "natural"}}),
        ("variant", {"options": {"damping": 0.01}}),
        ("variant", {"activations": "int8_token"}),
        ("variant", {"kv_cache": "int8_token"}),
        ("calibration", {"token_hash": "d" * 64}),
        ("calibration", {"windows": 65}),
        ("evaluation", {"token_hash": "d" * 64}),
        ("evaluation", {"window_tokens": 256}),
        ("evaluation", {"beginning_of_sequence": "<s>"}),
    ],
)
def test_the_key_sees_everything_that_changes_the_number(part, change):
    other = dataclasses.replace(ASKED, **{part: dataclasses.replace(getattr(ASKED, part), **change)})
    assert other.key != ASKED.key


def test_calibration_and_evaluation_are_not_interchangeable():
    assert dataclasses.replace(ASKED, calibration=EVALUATION, evaluation=CALIBRATION).key != ASKED.key


@pytest.mark.parametrize("windows", [2, 3, 50])
def test_losses_and_standard_errors_equal_those_of_the_windows(windows):
    tokens, baseline, quantized = random_windows(windows)
    m = from_windows(tokens, baseline, quantized)

    def ratio_and_se(x):
        ratio = x.sum() / tokens.sum()
        return ratio, np.sqrt(windows * np.var(x - ratio * tokens, ddof=1)) / tokens.sum()

    # x - ratio t sums to zero, so its sample variance is the estimator's
    np.testing.assert_allclose([m.loss, m.loss_se], ratio_and_se(quantized), rtol=1e-9)
    np.testing.assert_allclose([m.qid, m.qid_se], ratio_and_se(quantized - baseline), rtol=1e-6)
    np.testing.assert_allclose(m.baseline_loss, baseline.sum() / tokens.sum(), rtol=1e-12)


def test_the_standard_error_is_the_spread_over_repeated_samples():
    generator = np.random.default_rng(3)
    found = []
    for _ in range(400):
        tokens = generator.integers(20, 128, 40).astype(float)
        baseline = tokens * generator.normal(3.0, 0.4, 40)
        found.append(from_windows(tokens, baseline, baseline + tokens * generator.normal(0.05, 0.02, 40)))
    spread = np.std([m.qid for m in found])
    assert np.mean([m.qid_se for m in found]) == pytest.approx(spread, rel=0.1)
    assert np.mean([m.loss_se for m in found]) > 10 * spread  # pairing is what makes small QiD visible


def test_one_window_has_no_standard_error():
    m = from_windows(*random_windows(1))
    assert math.isnan(m.qid_se)
    assert math.isfinite(m.qid)


def test_an_unchanged_model_has_no_qid():
    tokens, baseline, _ = random_windows()
    m = from_windows(tokens, baseline, baseline)
    assert (m.qid, m.qid_se) == (0.0, 0.0)


def test_shares_and_bytes():
    m = from_windows(*random_windows(), kl_nats=40.0, agreements=900, bytes_scored=9000)
    tokens = m.seen.tokens_scored
    assert (m.kl, m.agreement) == (40.0 / tokens, 900 / tokens)
    assert m.bits_per_byte == pytest.approx(m.seen.nats / np.log(2) / 9000)


@pytest.mark.parametrize(
    "name", ["loss", "loss_se", "baseline_loss", "qid", "qid_se", "kl", "agreement", "bits_per_byte"]
)
def test_a_failed_measurement_has_no_numbers(name):
    failed = Measurement(asked=ASKED, seen=Seen(state="failed", reason="Hessian of layer 3 is singular"))
    with pytest.raises(InputError, match=r"state 'failed', reason 'Hessian of layer 3 is singular'"):
        getattr(failed, name)
    numbers_and_failed = from_windows(
        *random_windows(), state="failed", reason="late", kl_nats=1.0, agreements=1, bytes_scored=1
    )
    with pytest.raises(InputError, match="state 'failed'"):
        getattr(numbers_and_failed, name)


def test_a_number_that_was_not_counted_is_not_zero():
    with pytest.raises(InputError, match="has no kl_nats"):
        _ = from_windows(*random_windows()).kl


def test_a_row_has_the_columns_in_order_and_comes_back():
    m = dataclasses.replace(from_windows(*random_windows()), made=Made(device="cpu", seconds=1.5))
    row = flatten(m)
    assert list(row) == list(COLUMNS)
    assert row["options"] == '{"damping": 0.01, "order": "natural"}'
    assert (row["calibration_windows"], row["evaluation_windows"], row["key"]) == (64, 32, m.key)
    assert unflatten(row) == m


def test_types_and_missing_values_of_the_columns():
    row = flatten(Measurement(asked=ASKED, seen=Seen(state="failed", reason="x")))
    for column, kind in COLUMNS.items():
        assert row[column] is None if row[column] is None else isinstance(row[column], kind), column
        assert (row[column] is None) <= (column in NULLABLE), column
    assert {"schedule", "nats", "tokens"} <= NULLABLE
    assert not {"key", "state", "reason", "bits"} & NULLABLE


def test_a_row_that_was_edited_is_refused():
    row = flatten(from_windows(*random_windows()))
    with pytest.raises(InputError, match="was changed"):
        unflatten({**row, "bits": 3.0})


def test_labels():
    assert Variant().label == "none"
    assert VARIANT.label == "gptq int4_g128"
    rounded = dataclasses.replace(VARIANT, activations="int8_token", kv_cache="int4_token")
    assert rounded.label == "gptq int4_g128 A:int8_token KV:int4_token"
    assert Variant(activations="int8_token").label == "none A:int8_token"


def test_a_baseline_rounds_nothing():
    assert Variant().is_baseline
    assert VARIANT.weights_only
    for variant in (VARIANT, Variant(activations="int8_token"), Variant(kv_cache="int8_token")):
        assert not variant.is_baseline
    assert not Variant(activations="int8_token").weights_only
    assert not Variant(kv_cache="int8_token").weights_only


def test_the_common_ground_loads_nothing_heavy():
    code = (
        "import sys, bitlaw.records, bitlaw.catalog, bitlaw.progress\n"
        "sys.exit(', '.join({'torch', 'transformers', 'numpy', 'scipy', 'rich', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
