"""The default intervals contain the planted truth about as often as they say, on few models and on many.

benchmarks/fit_coverage.py runs the large study; docs/laws.md has its figures. Over 400 tables a share of .90 has a binomial standard
deviation of .015, so that .85 and .95 are more than three of them away: over 200, one share in a hundred would leave that range by chance.
"""

from dataclasses import replace

import numpy as np
import pytest

from bitlaw.fit import Intervals, fit
from bitlaw.fit.simulate import Design
from tests.fit.simulated import FEW, MANY

TABLES = 400


@pytest.mark.parametrize(
    ("design", "seed"),
    [(FEW, 11), (replace(MANY, tokens=MANY.tokens[::2], bits=(2.0, 4.0)), 12)],
    ids=["three-models", "twelve-models"],
)
def test_ninety_per_cent_intervals_cover_about_ninety_per_cent(design: Design, seed: int) -> None:
    generator = np.random.default_rng(seed)
    hits = dict.fromkeys(design.truth, 0)
    for index in range(TABLES):
        result = fit("ouyang2024-unified", design.draw(generator), starts=1, seed=index)
        for name, truth in design.truth.items():
            low, high = result.intervals[name]
            hits[name] += low <= truth <= high
    covered = {name: count / TABLES for name, count in hits.items()}
    assert all(0.85 <= share <= 0.95 for share in covered.values()), covered


def test_ignoring_models_covers_too_rarely_where_models_differ() -> None:
    """The reason for the default: by checkpoint, the exponent of size is far too sure of itself with three models."""
    generator = np.random.default_rng(13)
    design = replace(FEW, by_model=0.2)
    hits = 0
    for index in range(60):
        kind = Intervals(kind="clustered-checkpoint")
        low, high = fit("ouyang2024-unified", design.draw(generator), starts=1, seed=index, intervals=kind).intervals[
            "alpha"
        ]
        hits += low <= design.truth["alpha"] <= high
    assert hits / 60 < 0.75
