"""Measurements sorted into what belongs in one picture.

    experiment   one suite scored on one evaluation text
    setup        one way of quantizing, at any bit width: method, format family, group size, options, calibration text
    trajectory   one model under one setup at one bit width, by training tokens

Nothing is averaged and nothing is dropped silently: `Experiment.left_out` says what no picture can show, and why.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bitlaw.records import Measurement, TextSet, Variant


@dataclass(frozen=True, kw_only=True, order=True)
class Setup:
    """A way of quantizing apart from the bit width; `label` is short and tells the setups of a page apart.

    `rounding` is what is rounded beside weights: `A:int8_token KV:int8_token`, or nothing.
    """

    method: str
    family: str
    group_size: int
    options: str
    calibration: str
    rounding: str = ""
    label: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One suite on one text. Measurements are ok ones, by parameters, model, tokens, bits; those of `none` are apart."""

    suite: str
    evaluation: str
    baselines: tuple[Measurement, ...]
    quantized: dict[Setup, tuple[Measurement, ...]]
    failed: tuple[Measurement, ...]
    left_out: dict[str, int]

    @property
    def title(self) -> str:
        """Suite and text in words."""
        return f"{self.suite}, scored on {self.evaluation}"

    @property
    def all_ok(self) -> list[Measurement]:
        """Baselines and quantized measurements."""
        return [*self.baselines, *(m for ms in self.quantized.values() for m in ms)]

    @property
    def models(self) -> dict[str, int]:
        """Model name -> non-embedding parameters, smallest first."""
        found = {m.asked.checkpoint.model: m.asked.checkpoint.parameters for m in self.all_ok}
        return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))

    @property
    def bits(self) -> list[float]:
        """Bit widths of the quantized measurements, fewest first."""
        return sorted({m.asked.variant.bits for ms in self.quantized.values() for m in ms})


def text_name(text: TextSet) -> str:
    """Name and shape of a text: `held-out (256 windows of 128 tokens)`."""
    return "none" if text.name == "none" else f"{text.name} ({text.windows} windows of {text.window_tokens} tokens)"


def format_family(variant: Variant) -> str:
    """Return the format's name without its bit width: int4_g128 -> int_g128."""
    return re.sub(rf"^([a-z]+){re.escape(f'{variant.bits:g}')}(?![0-9])", r"\1", variant.format)


def rounding(variant: Variant) -> str:
    """Return what a variant rounds beside weights, as its label says it; nothing for weights alone."""
    weights = dataclasses.replace(variant, activations="none", kv_cache="none")
    return variant.label.removeprefix(weights.label).strip()


def setup_of(m: Measurement) -> Setup:
    """Return the setup of a measurement, without a label."""
    variant = m.asked.variant
    return Setup(
        method=variant.method,
        family=format_family(variant),
        group_size=variant.group_size,
        options=json.dumps(dict(variant.options), sort_keys=True),
        calibration=text_name(m.asked.calibration),
        rounding=rounding(variant),
    )


def sort_experiments(measurements: Iterable[Measurement]) -> list[Experiment]:
    """Return the experiments among the measurements, largest first."""
    by_place: dict[tuple[str, str], list[Measurement]] = {}
    for m in measurements:
        by_place.setdefault((m.asked.checkpoint.suite, text_name(m.asked.evaluation)), []).append(m)
    ordered = sorted(by_place.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_experiment(suite, text, rows) for (suite, text), rows in ordered]


def _experiment(suite: str, text: str, rows: Sequence[Measurement]) -> Experiment:
    left_out: Counter[str] = Counter()
    probes = [m for m in rows if m.asked.variant.is_probe]
    if probes:
        rows = [m for m in rows if not m.asked.variant.is_probe]
        left_out["probes of the loss landscape, no quantized models"] = len(probes)
    ok = sorted((m for m in rows if m.seen.state == "ok"), key=_order)
    by_setup: dict[Setup, list[Measurement]] = {}
    for m in ok:
        if not m.asked.checkpoint.tokens:
            left_out["no training tokens known, or none yet: on no token axis (the table has it)"] += 1
        if not m.asked.variant.is_baseline:
            by_setup.setdefault(setup_of(m), []).append(m)
    setups = sorted(by_setup)
    labels = _labels(setups)
    return Experiment(
        suite=suite,
        evaluation=text,
        baselines=tuple(m for m in ok if m.asked.variant.is_baseline),
        quantized={labels[s]: tuple(by_setup[s]) for s in setups},
        failed=tuple(m for m in rows if m.seen.state != "ok"),
        left_out=dict(left_out),
    )


def _order(m: Measurement) -> tuple[int, str, int, int, float, str]:
    checkpoint = m.asked.checkpoint
    return (
        checkpoint.parameters,
        checkpoint.model,
        checkpoint.tokens or 0,
        checkpoint.step,
        m.asked.variant.bits,
        m.key,
    )


def _labels(setups: Sequence[Setup]) -> dict[Setup, Setup]:
    """Give each setup the shortest label that tells it from the others: the method, then what differs."""
    labelled = {}
    for setup in setups:
        rivals = [s for s in setups if s.method == setup.method and s != setup]
        words = [setup.method]
        if any(s.family != setup.family or s.group_size != setup.group_size for s in rivals):
            words.append(setup.family)
        own = json.loads(setup.options)
        for name in own:
            if any(json.loads(s.options).get(name) != own[name] for s in rivals):
                words.append(f"{name}={own[name]}")
        if any(s.calibration != setup.calibration for s in rivals):
            words.append(f"calibrated on {setup.calibration}")
        if setup.rounding:
            words.append(setup.rounding)
        labelled[setup] = Setup(**{**vars(setup), "label": " ".join(words)})
    return labelled


def trajectories(rows: Iterable[Measurement]) -> dict[tuple[str, float], list[Measurement]]:
    """Return (model, bits) -> measurements with known tokens, by tokens."""
    found: dict[tuple[str, float], list[Measurement]] = {}
    for m in rows:
        if m.asked.checkpoint.tokens:
            found.setdefault((m.asked.checkpoint.model, m.asked.variant.bits), []).append(m)
    for points in found.values():
        points.sort(key=lambda m: (m.asked.checkpoint.tokens or 0, m.asked.checkpoint.step))
    return found


def last_points(rows: Iterable[Measurement]) -> dict[tuple[str, float], Measurement]:
    """Return (model, bits) -> the measurement after most tokens."""
    return {place: points[-1] for place, points in trajectories(rows).items()}
