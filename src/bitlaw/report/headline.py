"""The first sentences of the page, made from the data: what few bits cost, whether it grows, what the law says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup, last_points, trajectories
from bitlaw.report.words import bits_name, count, interval, listed, measured, plain, several

MOST_WIDTHS = 3  # bit widths named in a sentence; the table has them all
_EXPONENTS = {"beta": "tokens", "alpha": "size", "gamma": "bits"}


def headline(experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]]) -> list[str]:
    """Return one to three sentences about the setup with the least degradation at the fewest bits."""
    setup = main_setup(experiment)
    if setup is None:
        return ["No quantized measurement has known training tokens, so there is no degradation to show over training."]
    rows = experiment.quantized[setup]
    return [s for s in (_cost(experiment, setup, rows), _growth(rows), _law(setup, fits.get(setup, ()))) if s]


def main_setup(experiment: Experiment) -> Setup | None:
    """Return the setup the headline speaks of: among those with most models and widths, the least QiD at the fewest bits."""
    found = {setup: last_points(rows) for setup, rows in experiment.quantized.items()}
    found = {setup: last for setup, last in found.items() if last}
    if not found:
        return None
    most = max(len(last) for last in found.values())

    def harm(setup: Setup) -> float:
        fewest = min(bits for _, bits in found[setup])
        values = [m.qid for (_, bits), m in found[setup].items() if bits == fewest]
        return sum(values) / len(values)

    return min((s for s in found if len(found[s]) == most), key=harm)


def _cost(experiment: Experiment, setup: Setup, rows: Sequence[Measurement]) -> str:
    last = last_points(rows)
    models = [model for model in experiment.models if any(name == model for name, _ in last)]

    def costs(model: str) -> str:
        found = sorted(((bits, m) for (name, bits), m in last.items() if name == model), key=lambda item: item[0])
        return listed([f"{measured(m.qid, m.qid_se)} at {bits_name(bits)}" for bits, m in found[:MOST_WIDTHS]])

    largest, smallest = models[-1], models[0]
    tokens = count(max(m.asked.checkpoint.tokens or 0 for (name, _), m in last.items() if name == largest))
    size = count(experiment.models[largest])
    which = "the model" if largest == smallest else "the largest model"
    sentence = f"{setup.label} costs {which} ({size} parameters, {tokens} tokens) {costs(largest)}, in nats per token"
    if largest != smallest:
        sentence += f"; the smallest ({count(experiment.models[smallest])}) {costs(smallest)}"
    return f"{sentence}."


def _growth(rows: Sequence[Measurement]) -> str:
    found = trajectories(rows)
    bits = min(b for _, b in found)
    paths = [ms for (_, b), ms in found.items() if b == bits and len(ms) > 1]
    if not paths:
        return ""
    grew = sum(ms[-1].qid > ms[0].qid for ms in paths)
    return (
        f"From the first to the last checkpoint, QiD at {bits_name(bits)} grew in {grew} of "
        f"{several(len(paths), 'model')}."
    )


def _law(setup: Setup, fits: Sequence[Fit]) -> str:
    one = next((f for f in fits if f.target == "qid"), None)
    if one is None:
        return ""
    parts = []
    for name, what in _EXPONENTS.items():
        if name in one.free and name in one.intervals:
            parts.append(f"{plain(one.values[name])} {interval(*one.intervals[name])} of {what} ({name})")
    if not parts:
        return ""
    doubt = "" if one.converged else f" The fit did not end well: {one.outcome}."
    return (
        f"Fitted to {setup.label}, the law {one.formula().text} has the exponents {listed(parts)}; "
        f"in brackets {one.level:.0%} intervals.{doubt}"
    )
