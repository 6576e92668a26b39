import math
from itertools import pairwise

import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.train import Schedule
from bitlaw.train.schedule import checkpoint_steps


@pytest.mark.parametrize("kind", ["cosine", "constant", "wsd"])
def test_warmup_is_a_straight_line_to_the_peak(kind: str) -> None:
    schedule = Schedule(kind=kind, warmup_tokens=100)
    assert [schedule.share(t, 1000) for t in (0, 25, 50)] == [0, 0.25, 0.5]
    assert schedule.share(100, 1000) == pytest.approx(1.0)


def test_cosine_at_known_points() -> None:
    schedule = Schedule(kind="cosine", warmup_tokens=100, final_share=0.1)
    assert schedule.share(550, 1000) == pytest.approx(0.55)  # half way: mean of 1 and f
    assert schedule.share(400, 1000) == pytest.approx(0.1 + 0.9 * 0.75)  # cos(pi / 3) = 1/2
    assert schedule.share(1000, 1000) == pytest.approx(0.1)
    assert Schedule(kind="cosine", final_share=0.0).share(1000, 1000) == pytest.approx(0.0, abs=1e-12)


def test_constant_stays() -> None:
    assert {Schedule(kind="constant").share(t, 1000) for t in (1, 500, 1000)} == {1.0}


def test_wsd_stays_then_falls_in_a_straight_line() -> None:
    schedule = Schedule(kind="wsd", warmup_tokens=50, final_share=0.2, decay_share=0.25)
    assert [schedule.share(t, 1000) for t in (50, 400, 750)] == [1.0, 1.0, 1.0]
    assert schedule.share(875, 1000) == pytest.approx(0.6)
    assert schedule.share(1000, 1000) == pytest.approx(0.2)


def test_cosine_never_rises_after_warmup() -> None:
    schedule = Schedule(kind="cosine", warmup_tokens=7)
    shares = [schedule.share(t, 300) for t in range(7, 301)]
    assert all(a >= b for a, b in pairwise(shares))


@pytest.mark.parametrize(
    "settings",
    [
        {"warmup_tokens": -1},
        {"warmup_tokens": math.nan},
        {"final_share": 1.1},
        {"decay_share": 0.0},
        {"decay_share": 2},
    ],
)
def test_impossible_settings(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        Schedule(**settings)


def test_unknown_schedule() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        Schedule(kind="cosin")


def test_checkpoints_are_even_in_log_tokens() -> None:
    assert checkpoint_steps(count=5, first_tokens=2048, last_step=256, step_tokens=2048) == (1, 4, 16, 64, 256)
    assert checkpoint_steps(count=4, first_tokens=1e5, last_step=1000, step_tokens=1e5) == (1, 10, 100, 1000)


def test_checkpoints_where_steps_run_out() -> None:
    assert checkpoint_steps(count=6, first_tokens=1, last_step=3, step_tokens=100) == (1, 2, 3)
    assert checkpoint_steps(count=1, first_tokens=1, last_step=9, step_tokens=100) == (9,)
    assert checkpoint_steps(count=4, first_tokens=1e9, last_step=9, step_tokens=100) == (9,)
