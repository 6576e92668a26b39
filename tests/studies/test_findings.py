"""The findings' numbers come back when they are planted: records are made whose QiD follows a law that is known."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bitlaw.records import Checkpoint, Measurement, TextSet, Variant
from bitlaw.train import read_train_plan
from tests.predictor.simulated_families import simulate as simulated_families
from tests.report.simulated_suite import measurement

ROOT = Path(__file__).parents[2]
MODULES = (
    "pairing",
    "decay",
    "seeding",
    "ablating",
    "saying",
    "laws_held",
    "landscapes_held",
    "machines",
    "studied",
    "make",
    "devices",
)
PLAIN = {"upstream": "quantized", "scales": "dynamic", "order": "none", "within_block": "parallel", "damping": 0.01}
PAPERS = PLAIN | {"damping": 0.1, "within_block": "sequential"}
WIDTHS = (2, 3, 4)


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "findings"))
    yield
    import sys

    for name in MODULES:
        sys.modules.pop(name, None)


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def gptq(bits: int, suffix: str = "", options: dict[str, Any] = PLAIN) -> Variant:
    return Variant(method="gptq", format=f"int{bits}_g128{suffix}", bits=bits, group_size=128, options=options)


def planted(checkpoint: Checkpoint, variant: Variant, qid: float, *, loss: float = 4.0) -> Measurement:
    """A record whose QiD is exactly this, in 16 windows."""
    t = np.full(16, 100.0)
    base = t * loss
    return measurement(checkpoint, variant, t, base, base + t * qid)


def of_plan(study: str, law: Callable[[Checkpoint, int], float], file: str = "plan.toml") -> list[Measurement]:
    """Records of a study's own training plan, plain GPTQ at three widths and the baseline, with planted QiD."""
    plan = read_train_plan(ROOT / "studies" / study / file)
    rows = []
    for one in plan.models:
        n = one.layers * (12 * one.width**2 + 13 * one.width) + 2 * one.width
        for step in plan.steps(one):
            for suffix in ("", "+mean5") if one.average.count else ("",):
                checkpoint = Checkpoint(
                    suite=study, model=one.name + suffix, step=step, commit=f"{one.name}{suffix}{step}",
                    family="gpt_neox" if one.native == "none" else f"gpt_neox+{one.native}", parameters=n,
                    tokens=step * plan.step_tokens, learning_rate=plan.learning_rate(one, step),
                    peak_learning_rate=one.peak_learning_rate, schedule=one.schedule.kind + suffix, training_seed=one.seed,
                )  # fmt: skip
                rows.append(planted(checkpoint, Variant(), 0.0))
                rows += [planted(checkpoint, gptq(bits), law(checkpoint, bits)) for bits in WIDTHS]
    return rows


def decaying(c: Checkpoint, bits: int) -> float:
    """Grows like D^0.6, by (peak/rate)^0.2, like peak^-0.1; an average has 0.8 of it."""
    assert c.tokens is not None
    assert c.learning_rate is not None
    assert c.peak_learning_rate is not None
    value = 2.0 * (c.tokens / 1e8) ** 0.6 * bits**-2.0 * (c.parameters / 1e6) ** -0.3
    value *= (c.peak_learning_rate / c.learning_rate) ** 0.2 * c.peak_learning_rate**-0.1
    return value * (0.8 if "+mean" in c.model else 1.0)


def test_growth_decay_peak_and_averages_of_lr_state() -> None:
    decay = module("decay")
    rows = of_plan("lr-state", decaying, "long.toml")
    found = decay.found(rows)
    for slope in found.growth.values():
        assert slope.value == pytest.approx(0.6, abs=1e-6)
    assert found.beta[0] == pytest.approx(0.6, abs=1e-6)
    assert found.lam[0] == pytest.approx(0.2, abs=1e-6)
    assert found.control.value == pytest.approx(1.0)
    assert found.control.pairs > 0
    assert {a: r.value for a, r in found.ends.items()} == {
        a: pytest.approx(10**0.2) for a in ("cosine", "wsd25", "wsd50")
    }
    assert found.low_peak.value == pytest.approx(2.5**0.1)
    assert found.averaged.value == pytest.approx(0.8)
    assert found.early_decay.value == pytest.approx(10**0.2, rel=0.05)  # some have not quite decayed
    part = module("studied").of_decay(rows)
    said = {" ".join(c.claim.split(" ")[:2]): c.verdict for c in part.claims}
    assert said.pop("tokens alone") == "does not hold"
    assert list(said) == ["QiD grows", "a decay", "a cosine,", "a lower", "averaging weights"]
    assert set(said.values()) == {"holds"}
    assert "beta\n  0.60" in part.text or "beta 0.60" in " ".join(part.text.split())


def test_a_suite_with_shorter_runs_is_told_beside() -> None:
    rows = of_plan("lr-state", decaying)
    shorter = [
        replace(
            m,
            asked=replace(
                m.asked,
                checkpoint=replace(m.asked.checkpoint, suite="small", tokens=(m.asked.checkpoint.tokens or 0) // 10),
            ),
        )
        for m in of_plan("lr-state", lambda c, bits: 0.1 / bits)
    ]
    alone, both = (module("studied").of_decay(r) for r in (rows, [*shorter, *rows]))
    assert both.claims == alone.claims
    assert (
        "- `small` (sizes 0.8m, 3.2m, to 9.6M tokens): at its last tokens over the constant rate cosine 1.00"
        in both.text
    )
    assert "small" not in alone.text


def test_two_clusters_that_agree_by_chance_are_not_sure() -> None:
    ratio = module("pairing").mean_ratio([-0.5, 0.5, -0.4, 0.4], ["a", "a", "b", "b"])
    assert ratio.low < 0.7
    assert ratio.high > 1.4


def test_the_short_plan_tells_the_same() -> None:
    decay = module("decay")
    found = decay.found(of_plan("lr-state", decaying))
    assert (found.beta[0], found.lam[0]) == (pytest.approx(0.6, abs=1e-6), pytest.approx(0.2, abs=1e-6))
    assert {a: r.value for a, r in found.ends.items()} == dict.fromkeys(
        ("cosine", "wsd25", "wsd50"), pytest.approx(10**0.2)
    )
    assert found.early_decay.value == pytest.approx(10**0.2, rel=0.05)


def test_without_growth_and_decay_nothing_is_held() -> None:
    rows = of_plan("lr-state", lambda c, bits: 0.1 / bits)
    part = module("studied").of_decay(rows)
    assert {c.verdict for c in part.claims} == {"cannot be told"}


def first_and_second(factor: float) -> tuple[list[Measurement], list[Measurement]]:
    """mini-pythia-2's own sizes with seed 0 and, `factor` times as much QiD, seed 1; plain and the paper's variants."""

    def law(c: Checkpoint, bits: int) -> float:
        return 3e3 * (c.tokens or 1) ** 0.5 / c.parameters**0.3 * bits**-5.0 / 1e3

    second = of_plan("mini-pythia-2", lambda c, bits: law(c, bits) * factor)
    first = []
    for m in second:
        c = m.asked.checkpoint
        if not c.model.endswith("-s1"):
            continue
        twin = replace(
            c, suite="mini-pythia", model=c.model.removesuffix("-s1"), training_seed=0, commit="0" + c.commit
        )
        value = 0.0 if m.asked.variant.is_baseline else law(c, int(m.asked.variant.bits))
        first.append(planted(twin, m.asked.variant, value))
        third = replace(twin, model="other", parameters=5_000_000, commit="5" + c.commit)
        if not m.asked.variant.is_baseline:
            bits = int(m.asked.variant.bits)
            first += [planted(x, gptq(bits, "_sym", PAPERS), law(x, bits)) for x in (twin, third)]
    for m in list(second):
        c, v = m.asked.checkpoint, m.asked.variant
        if c.model in ("neox-37.8m", "neox-85m") and not v.is_baseline:
            second.append(planted(c, gptq(int(v.bits), "_sym", PAPERS), law(c, int(v.bits))))
            again = planted(c, v, law(c, int(v.bits)) * factor * 1.2)
            other = TextSet(name="calibration", token_hash="d" * 64, windows=128, window_tokens=128)
            second.append(replace(again, asked=replace(again.asked, calibration=other)))
    return first, second


def test_seeds_samples_and_the_larger_model() -> None:
    seeding = module("seeding")
    first, second = first_and_second(1.1)
    found = seeding.found(first, second)
    assert {bits: r.value for bits, r in found.training.items()} == {b: pytest.approx(1.1) for b in WIDTHS}
    assert found.calibration[3].value == pytest.approx(
        np.log(1.2) / 2**0.5
    )  # two samples a checkpoint: |difference| / sqrt 2
    held = seeding.held_out(first, second, ["ouyang2024-unified"])
    assert [h.model for h in held] == seeding.larger(first, second)
    assert "neox-37.8m" in [h.model for h in held]
    for one in held:
        assert (one.error, one.bias) == (pytest.approx(0.0, abs=0.02), pytest.approx(1.0, abs=0.02))


def test_a_longer_cosine_is_no_second_seed() -> None:
    seeding = module("seeding")

    def law(c: Checkpoint, bits: int) -> float:
        assert c.learning_rate is not None
        assert c.peak_learning_rate is not None
        return 0.1 / bits * (c.peak_learning_rate / c.learning_rate) ** 0.3

    every = of_plan("mini-pythia-2", law)
    short = [m for m in every if m.asked.checkpoint.model == "neox-0.8m-s1"]
    first = [replace(m, asked=replace(m.asked, checkpoint=replace(m.asked.checkpoint, training_seed=0))) for m in short]
    long = [m for m in every if m.asked.checkpoint.model == "neox-0.8m-1b"]
    found = seeding.found(first, long)
    assert {r.pairs for r in found.training.values()} == {0}
    assert found.horizon.pairs > 3
    assert found.horizon.high < 1.0  # the rate of the longer run is higher at equal tokens


def test_texts_groups_and_twins() -> None:
    ablating = module("ablating")
    base = of_plan("native", lambda c, bits: (c.tokens or 1) ** 0.5 / 1e4 / bits, "long.toml")
    valid = TextSet(name=ablating.VALIDATION, token_hash="a" * 64, windows=16, window_tokens=101)
    wiki = TextSet(name="corpus/wikitext2-test.txt.zst", token_hash="b" * 64, windows=16, window_tokens=101)
    rows = []
    for m in base:
        rows.append(replace(m, asked=replace(m.asked, evaluation=valid)))
        doubled = planted(m.asked.checkpoint, m.asked.variant, 2.0 * m.qid)
        rows.append(replace(doubled, asked=replace(doubled.asked, evaluation=wiki)))
    by_name = {t.name: t for t in ablating.texts(rows)}
    assert by_name["WikiText-2"].ratio.value == pytest.approx(2.0)
    assert by_name["corpus validation"].ratio.value == pytest.approx(1.0)
    assert by_name["WikiText-2"].beta["gptq int3_g128"].value == pytest.approx(0.5)
    assert ablating.against(rows, "gptq int2_g128", "gptq int4_g128").value == pytest.approx(2.0)
    gap = {"neox-0.8m-b158": -0.1, "neox-6.3m-b158": 0.2}
    moved = [
        planted(m.asked.checkpoint, Variant(), 0.0, loss=4.0 + gap.get(m.asked.checkpoint.model, 0.0))
        for m in base
        if m.asked.variant.is_baseline
    ]
    twins = {t.name: t for t in ablating.native(moved)}
    assert set(twins) == {"neox-0.8m-b158", "neox-0.8m-b158-fast", "neox-6.3m-b158", "neox-6.3m-b158-fast"}
    assert twins["neox-0.8m-b158"].gaps == pytest.approx([-0.1] * 10)
    assert twins["neox-0.8m-b158"].last_ahead == twins["neox-0.8m-b158"].tokens[-1]
    assert (twins["neox-6.3m-b158"].twin, twins["neox-6.3m-b158"].last_ahead) == ("neox-6.3m", 0)


def test_ratios_are_over_clusters() -> None:
    pairing = module("pairing")
    found = pairing.mean_ratio([0.1, 0.1, 0.3], ["a", "a", "b"])
    assert found.value == pytest.approx(np.exp(0.2))
    assert found.low < found.value < found.high
    assert pairing.mean_ratio([], []).words() == "not measured"
    assert not np.isfinite(pairing.mean_ratio([0.1], ["a"]).low)


def test_the_page_says_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    make, saying = module("make"), module("saying")
    claim = saying.Claim(claim="c", whose="w", verdict="holds", evidence="e")
    text = make.page([saying.Part(title="one", claims=[claim])], ["native"])
    assert "| c | w | holds | e |" in text
    assert "Not measured yet: native" in text


def test_verdicts_follow_from_intervals() -> None:
    saying = module("saying")
    holds, fails, unknown = saying.HOLDS, saying.FAILS, saying.OPEN
    assert [saying.verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1))] == [holds, fails, unknown]
    assert saying.verdict(float("nan"), float("nan")) == unknown
    assert (saying.contrary(holds), saying.contrary(unknown)) == (fails, unknown)
    ends = ((-0.05, 0.05), (0.2, 0.3), (-0.3, -0.2), (-0.3, 0.0), (float("nan"), float("nan")))
    assert [saying.within(*one, -0.1, 0.1) for one in ends] == [holds, fails, fails, unknown, unknown]
    assert saying.all_of([holds, holds]) == holds
    assert saying.all_of([holds, unknown]) == saying.all_of([]) == unknown
    assert saying.all_of([unknown, fails]) == fails


def test_what_a_seed_changes_decides_about_native_low_bit() -> None:
    studied = module("studied")
    gap = {"b158": (-0.1, 0.2), "fast": (0.1, 0.1)}  # by how a model's name ends

    def moved() -> list[Measurement]:
        rows = [m for m in of_plan("native", lambda c, bits: 0.01) if m.asked.variant.is_baseline]
        steps = sorted({m.asked.checkpoint.step for m in rows})
        share = {step: i / (len(steps) - 1) for i, step in enumerate(steps)}
        said = []
        for m in rows:
            first, last = gap.get(m.asked.checkpoint.model.split("-")[-1], (0.0, 0.0))
            here = first + (last - first) * share[m.asked.checkpoint.step]
            said.append(planted(m.asked.checkpoint, Variant(), 0.0, loss=4.0 + here))
        return said

    def verdicts(spread: float) -> list[str]:
        return [c.verdict for c in studied.of_native(moved(), spread).claims]

    assert verdicts(0.02) == ["holds", "holds"]  # the better run begins ahead, both end behind by more than seeds do
    assert verdicts(0.2) == ["holds", "cannot be told"]
    assert verdicts(float("nan")) == ["cannot be told", "cannot be told"]


def test_ablations_are_judged_by_their_intervals() -> None:
    studied, ablating = module("studied"), module("ablating")
    valid = TextSet(name=ablating.VALIDATION, token_hash="a" * 64, windows=16, window_tokens=101)
    wiki = TextSet(name="corpus/wikitext2-test.txt.zst", token_hash="b" * 64, windows=16, window_tokens=101)

    def rows(drift: float, group: float, eight: float) -> list[Measurement]:
        found = []
        for m in of_plan("lr-state", lambda c, bits: (c.tokens or 1) ** 0.5 / 1e4 / bits):
            c, v = m.asked.checkpoint, m.asked.variant
            if not c.model.endswith("-cosine") or v.bits == 2:
                continue
            made = [(v, valid, m.qid), (v, wiki, 2.0 * m.qid * ((c.tokens or 1) / 1e7) ** drift)]
            if not v.is_baseline:
                fine = replace(v, format=f"int{v.bits:g}_g32", group_size=32)
                made += [(fine, valid, group * m.qid), (replace(v, activations="int8_token"), valid, eight * m.qid)]
                near = replace(v, method="nearest", options={})
                made += [(near, valid, m.qid), (replace(near, activations="int8_token"), valid, eight * m.qid)]
            found += [replace(p, asked=replace(p.asked, evaluation=t)) for w, t, q in made for p in [planted(c, w, q)]]
        return found

    def verdicts(*given: float) -> list[str]:
        return [c.verdict for c in studied.of_ablations(rows(*given), []).claims]

    assert verdicts(0.0, 0.7, 1.05) == ["holds", "holds", "holds"]
    assert verdicts(0.4, 1.2, 1.5) == ["does not hold", "does not hold", "does not hold"]


def test_the_planted_landscapes_are_judged_as_they_were_planted() -> None:
    held = module("landscapes_held")
    rows = simulated_families(("opt", "gpt2", "bloom"))
    claims = {c.claim.split(" (")[0]: c for c in held.of_families(rows).claims}
    assert (
        [c.verdict for c in claims.values()]
        == [
            "does not hold",  # SQNR is planted with a standard deviation of 0.25 dB: 12 networks span more than 1 dB somewhere
            "holds",
            "holds",
            "cannot be told",  # no integers with a float scale
            "holds",  # the knee falls by 0.9 dB when the size grows e-fold
            "holds",
        ]
    )
    norm = claims["the norm of the weights grows like the square root of their number"]
    assert "+0.50 (+0.50 to +0.50)" in norm.evidence
    knee = claims["larger networks of a family are flatter"]
    assert float(knee.evidence.split(": ")[1].split(" ")[0]) == pytest.approx(-0.9 * np.log(2), abs=0.1)
    assert held.interval([1.0, 3.0])[0] == 2.0
    assert not np.isfinite(held.interval([1.0])[1])


def test_a_cpu_that_answers_otherwise_is_told() -> None:
    machines, saying = module("machines"), module("saying")
    rows = [m for m in of_plan("native", lambda c, bits: 0.1) if not m.asked.variant.is_baseline]
    noisy = [
        replace(m, seen=replace(m.seen, difference_squared=(m.seen.difference_squared or 0.0) * 1.2)) for m in rows
    ]
    same = machines.of_machines(machines.paired(noisy, noisy))
    assert same.claims[0].verdict == saying.HOLDS
    assert f"{len(rows)} of {len(rows)} rows" in same.claims[0].evidence
    other = [replace(m, seen=replace(m.seen, nats=(m.seen.nats or 0.0) + 80.0)) for m in noisy]
    assert machines.of_machines(machines.paired(other, noisy)).claims[0].verdict == saying.FAILS
