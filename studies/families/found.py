"""What the evaluation says in a few sentences, and where the misses are; Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tables import TARGETS, claims, fixed, markdown

from bitlaw.predictor import Evaluation
from bitlaw.predictor.evaluating import Result
from bitlaw.predictor.kinds import KINDS
from bitlaw.report.xu2024.models import family_name

NAMED = 4  # models that are named as the largest misses


def found_said(judged: Evaluation, blinds: Sequence[tuple[str, Evaluation]]) -> str:
    """Return what was found: families left out, intervals, and suites predicted before they were trained on."""
    said = claims(judged)
    for suite, blind in blinds:
        split = f"blind-{suite}"
        for target, words in TARGETS.items():
            best, baseline = (blind.best(split, target, baseline=b) for b in (False, True))
            said.append(
                f"`{suite}` before it was trained on, {words}: best `{best.kind}` R2 {fixed(best.scores.r2)}, rank correlation {fixed(best.scores.rank)}, {best.scores.covered:.0%} "
                f"inside the 90 % intervals; best baseline *{baseline.kind}* {fixed(baseline.scores.r2)}."
            )
        covered = [
            r.scores.covered for r in blind.results if r.split == split and not r.failed and not KINDS[r.kind].baseline
        ]
        said.append(
            f"`{suite}` before it was trained on: 90 % intervals of {len(covered)} predictors and targets held for {min(covered):.0%} to {max(covered):.0%} of the rows, "
            f"{np.median(covered):.0%} in the median."
        )
    return "\n".join(f"- {line}" for line in said)


def misses_said(judged: Evaluation, split: str = "leave-family") -> str:
    """Return for the best predictor of each target how its squared error is spread over families and widths, and the largest misses."""
    families = list(judged.families)
    bits = sorted(set(judged.table["bits"].tolist()))
    rows, named = [], []
    for target, words in TARGETS.items():
        best = judged.best(split, target, baseline=False)
        if best.rows is None or best.predicted is None or best.measured is None:
            continue
        square = (best.predicted - best.measured) ** 2
        family, width = judged.table.family[best.rows], judged.table["bits"][best.rows]
        cells = [f"{square[family == f].sum() / square.sum():.0%}" for f in families]
        cells += [f"{square[width == b].sum() / square.sum():.0%}" for b in bits]
        rows.append([words, f"`{best.kind}`", *cells])
        named.append(f"- {words}: {_largest(best, judged, square)}.")
    table = markdown(["target", "predictor", *map(family_name, families), *(f"{b:g} bits" for b in bits)], rows)
    return (
        f"Shares of the squared error of the best predictor, families left out:\n\n{table}\n\nNetworks with the largest shares (mean error at 2 bits):\n\n"
        + "\n".join(named)
    )


def _largest(best: Result, judged: Evaluation, square: np.ndarray) -> str:
    assert best.rows is not None
    assert best.predicted is not None
    assert best.measured is not None
    model, width = judged.table.model[best.rows], judged.table["bits"][best.rows]
    shares = {name: float(square[model == name].sum() / square.sum()) for name in dict.fromkeys(model.tolist())}
    top = sorted(shares, key=lambda name: -shares[name])[:NAMED]
    errors = best.predicted - best.measured
    parts = []
    for name in top:
        two = (model == name) & (width == 2)
        parts.append(
            f"{name} {shares[name]:.0%} ({np.mean(errors[two]):+.2f} nats)"
            if two.any()
            else f"{name} {shares[name]:.0%}"
        )
    return ", ".join(parts)
