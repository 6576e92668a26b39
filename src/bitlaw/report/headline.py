"""The first sentences of the page, made from the data: what few bits cost, whether it grows, what the law says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.experiments import Experiment, Setup, last_points, trajectories
from bitlaw.report.words import bits_name, count, interval, listed, measured, plain, several

_SENTENCES = {
    "beta": "grows with tokens as D^{value} {interval}",
    "alpha": "falls with size as N^-{value} {interval}",
    "gamma": "falls with bits as P^-{value} {interval}",
}


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
    largest, smallest = models[-1], models[0]
    parts = []
    for bits in sorted({b for _, b in last}):
        big, small = last.get((largest, bits)), last.get((smallest, bits))
        if big is None:
            continue
        part = f"{measured(big.qid, big.qid_se)} nats per token at {bits_name(bits)}"
        if small is not None and largest != smallest:
            part += f" (smallest model: {measured(small.qid, small.qid_se)})"
        parts.append(part)
    of_largest = [m for (name, _), m in last.items() if name == largest]
    tokens = max(m.asked.checkpoint.tokens or 0 for m in of_largest)
    size = count(experiment.models[largest])
    which = "the model" if largest == smallest else "the largest model"
    return f"{setup.label} costs {which} ({size} parameters, {count(tokens)} tokens) {listed(parts)}."


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
    for name, sentence in _SENTENCES.items():
        if name in one.free and name in one.intervals:
            low, high = one.intervals[name]
            parts.append(sentence.format(value=plain(one.values[name]), interval=interval(low, high)))
    if not parts:
        return ""
    doubt = "" if one.converged else f" The fit did not end well: {one.outcome}."
    return f"The law {one.law} fitted to {setup.label}: QiD {listed(parts)} ({one.level:.0%} intervals).{doubt}"
