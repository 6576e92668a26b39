"""The conditions of every number in words, and what figures and fits leave out."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup, text_name
from bitlaw.report.words import several


def conditions(experiment: Experiment) -> list[tuple[str, list[str]]]:
    """Return (condition, its values with how many measurements share each) of an experiment."""
    rows = experiment.all_ok

    def tally(values: Iterable[str]) -> list[str]:
        counted = Counter(values)
        return [v if len(counted) == 1 else f"{v} ({several(n, 'measurement')})" for v, n in sorted(counted.items())]

    def text(m: Measurement, which: str) -> str:
        one = getattr(m.asked, which)
        return f"{text_name(one)}, start token {one.beginning_of_sequence}, SHA-256 of the token ids {one.token_hash}"

    quantized = [m for m in rows if not m.asked.variant.is_baseline]
    calibrated = [m for m in quantized if m.asked.calibration.name != "none"]
    dates = sorted(m.made.date for m in rows if m.made.date)
    seconds = sum(m.made.seconds for m in rows)
    tokens = sorted({m.seen.tokens_scored or 0 for m in rows})
    return [
        ("evaluation text", tally(text(m, "evaluation") for m in rows)),
        ("calibration text", tally(text(m, "calibration") for m in calibrated) or ["none: no method looked at inputs"]),
        ("scored tokens", [f"{' or '.join(f'{t:,}' for t in tokens)} a measurement, each token once"]),
        ("variants", _variants(quantized)),
        ("device", tally(m.made.device or "unknown" for m in rows)),
        ("dtype", tally(m.made.dtype or "unknown" for m in rows)),
        ("kernel", tally(m.made.kernel or "unknown" for m in rows)),
        ("versions", tally(_versions(m) for m in rows)),
        (
            "measured",
            [f"{dates[0]} to {dates[-1]}" if dates else "date unknown", f"{seconds:.0f} s of measuring in all"],
        ),
    ]


def _variants(quantized: Sequence[Measurement]) -> list[str]:
    """Return a sentence for each variant: group, options, stored bits (they differ where rows are shorter than a group)."""
    stored: dict[str, list[float]] = {}
    for m in quantized:
        variant = m.asked.variant
        group = "one group a row" if variant.group_size == 0 else f"group size {variant.group_size}"
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in sorted(variant.options.items()))
        words = f"{variant.label}: {group}; {options or 'no options'}"
        stored.setdefault(words, []).append(math.nan if m.seen.bits_per_weight is None else m.seen.bits_per_weight)
    said = []
    for words, sizes in sorted(stored.items()):
        low, high = f"{min(sizes):.4g}", f"{max(sizes):.4g}"
        size = "unknown" if "nan" in (low, high) else low if low == high else f"{low} to {high}"
        said.append(f"{words}; {size} stored bits per weight ({several(len(sizes), 'measurement')})")
    return said


def _versions(m: Measurement) -> str:
    made = m.made
    named = (
        ("bitlaw", made.bitlaw_version),
        ("torch", made.torch_version),
        ("transformers", made.transformers_version),
    )
    return ", ".join(f"{name} {version or 'unknown'}" for name, version in named)


def left_out(experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]], said: Sequence[str]) -> list[str]:
    """Return sentences about what figures and fits do not show, and about measurements that are not quite as asked."""
    words = [f"{several(n, 'measurement')}: {why}." for why, n in experiment.left_out.items()]
    fell_back = [m for m in experiment.all_ok if m.seen.fallback_layers]
    if fell_back:
        words.append(
            f"{several(len(fell_back), 'measurement')} had layers that were not quantized as asked; they are shown and "
            "fitted like the others, and the table says which layers."
        )
    short = [m for m in experiment.all_ok if m.seen.windows is not None and m.seen.windows < 2]
    if short:
        words.append(f"{several(len(short), 'measurement')} of a single window: no standard error, no bar.")
    for setup, ones in fits.items():
        for one in ones:
            words += [
                f"Fit of {one.law} to {setup.label}: {several(n, 'row')} left out: {why}."
                for why, n in one.data.left_out.items()
            ]
    return [*words, *said]
