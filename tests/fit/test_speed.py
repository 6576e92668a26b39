"""Fits are fast in CPU seconds, which do not count who else uses the machine. benchmarks/fit_speed.py has the figures."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.fit import Intervals, fit, public_table
from tests.fit.simulated import MANY

LARGE = replace(MANY, sizes=tuple(np.geomspace(1e6, 1e9, 20)), tokens=tuple(np.geomspace(1e9, 2e11, 34)))


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of the fastest of three runs, after one that loads what is loaded once."""
    found = []
    for _ in range(4):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found[1:])


@pytest.mark.parametrize("rows", ["digitised points", "2 040 rows"])
def test_a_plain_fit_takes_less_than_three_tenths_of_a_second(rows: str) -> None:
    table = public_table("pythia-digitised") if rows == "digitised points" else LARGE.draw(np.random.default_rng(0))
    assert cpu(lambda: fit("ouyang2024-unified", table)) < 0.3


def test_a_thousand_replicates_of_two_thousand_rows_take_less_than_ten_seconds() -> None:
    table = LARGE.draw(np.random.default_rng(0))
    assert len(table) == 2040
    begun = time.process_time()
    result = fit("ouyang2024-unified", table, intervals=Intervals(kind="bootstrap-model", replicates=1000))
    assert time.process_time() - begun < 10
    assert len(result.draws) == 1000
