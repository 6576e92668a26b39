"""Variants that round activations or KV cache stand apart in a report, and are no baselines."""

from __future__ import annotations

import dataclasses

from bitlaw.records import Measurement, Variant
from bitlaw.report.experiments import sort_experiments
from tests.report.simulated_suite import simulate


def with_variant(m: Measurement, variant: Variant) -> Measurement:
    return dataclasses.replace(m, asked=dataclasses.replace(m.asked, variant=variant))


def test_rounded_activations_are_setups_of_their_own() -> None:
    rows = simulate()
    weights = [m for m in rows if m.asked.variant.method == "gptq"]
    baselines = [m for m in rows if m.asked.variant.is_baseline]
    rounded = [
        with_variant(m, dataclasses.replace(m.asked.variant, activations="int8_token", kv_cache="int4_token"))
        for m in weights
    ]
    alone = [with_variant(m, Variant(activations="int8_token")) for m in baselines]
    (experiment,) = sort_experiments([*rows, *rounded, *alone])
    assert len(experiment.baselines) == len(baselines)
    counts = {setup.label: len(found) for setup, found in experiment.quantized.items()}
    assert counts["gptq"] == counts["gptq A:int8_token KV:int4_token"] == len(weights)
    assert counts["none A:int8_token"] == len(baselines)
