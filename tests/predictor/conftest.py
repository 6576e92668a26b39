"""Simulated records, made once."""

import pytest

from bitlaw.predictor import Predictors, Rows, collect, predictor_train, tabulate
from bitlaw.records import Measurement
from tests.predictor.simulated_families import simulate

TRAINING = ("bloom", "gpt2", "llama", "opt")


@pytest.fixture(scope="session")
def measurements() -> list[Measurement]:
    return simulate(sizes=(50_000, 800_000))


@pytest.fixture(scope="session")
def rows(measurements: list[Measurement]) -> Rows:
    return tabulate(collect(measurements))


@pytest.fixture(scope="session")
def gained() -> Rows:
    """Networks that each have a gain of GPTQ of their own, which only compensated noise tells."""
    return tabulate(collect(simulate(sizes=(50_000, 800_000), gains=True)))


@pytest.fixture(scope="session")
def trained(measurements: list[Measurement]) -> Predictors:
    mine = [m for m in measurements if m.asked.checkpoint.family in TRAINING]
    return predictor_train(mine, kinds=("zero-shot", "after-nearest", "config", "config-no-tokens", "format-mean"))
