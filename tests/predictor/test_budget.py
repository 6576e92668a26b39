"""The frontier: bytes by hand, the Pareto set by brute force, best at a budget, GPTQ's worth, and what cannot be compared."""

import dataclasses
import math

import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import Predictors, collect, frontier
from bitlaw.predictor.budget import ON, Frontier
from bitlaw.records import Measurement
from tests.predictor.simulated_families import simulate

FORMATS = ("mxint4_k32", "mxint3_k32", "mxint2_k128", "mxint6_k128")


@pytest.fixture(scope="module")
def measured() -> list[Measurement]:
    return simulate(("opt", "mpt"), formats=FORMATS, along=False)


@pytest.fixture(scope="module")
def found(measured: list[Measurement]) -> Frontier:
    return frontier(measured)


def test_bytes_count_scales_and_embeddings_once(found: Frontier, measured: list[Measurement]) -> None:
    point = next(p for p in found.points if (p.model, p.method, p.format) == ("opt-200k", "gptq", "mxint4_k32"))
    assert point.bytes == 200_000 * 4.25 / 8 + 64_000 * 2
    plain = next(p for p in found.points if (p.model, p.method) == ("opt-200k", "none"))
    assert plain.bytes == 264_000 * 2
    bare = frontier(measured, embeddings=False)
    assert next(p for p in bare.points if (p.model, p.method) == ("opt-200k", "none")).bytes == 400_000


def test_members_are_those_no_other_point_beats(found: Frontier) -> None:
    for point in found.points:
        beaten = any(
            o is not point and o.bytes <= point.bytes and (o.loss < point.loss or (o.loss == point.loss and o.bytes < point.bytes))
            for o in found.points
        )  # fmt: skip
        assert (point.state == ON) == (not beaten)
    losses = [p.loss for p in found.members]
    assert losses == sorted(losses, reverse=True)
    assert any(p.state == "may be" for p in found.points)
    assert any(p.state == "beaten" for p in found.points)


def test_best_at_a_budget_is_the_least_loss_that_fits(measured: list[Measurement], found: Frontier) -> None:
    one = frontier(measured, budgets=[1e3, 3e5, 1e9])
    assert one.budgets[0][1] is None
    for size, best in one.budgets[1:]:
        assert best is not None
        assert best.bytes <= size
        assert best.loss == min(p.loss for p in one.points if p.bytes <= size)
    assert len(found.budgets) == 10


def test_gptq_is_worth_it_where_it_saves_more_than_counts(found: Frontier, measured: list[Measurement]) -> None:
    verdicts = {(w.model, w.format): w for w in found.worth}
    three, six = verdicts["opt-50k", "mxint3_k32"], verdicts["opt-50k", "mxint6_k128"]
    assert (three.verdict, six.verdict) == ("worth it", "not worth it")
    losses = {(p.model, p.method, p.format): p for p in found.points}
    n, g = (losses["opt-50k", method, "mxint3_k32"] for method in ("nearest", "gptq"))
    assert three.saved == pytest.approx(n.loss - g.loss)
    assert three.high - three.low == pytest.approx(2 * 1.6449 * math.hypot(n.qid_se, g.qid_se), rel=1e-4)
    assert three.seconds == pytest.approx(5 * 0.05)
    assert {w.verdict for w in frontier(measured, least=1e6).worth} == {"not worth it"}


def test_probed_formats_are_filled_in_by_a_predictor(measured: list[Measurement], trained: Predictors) -> None:
    filled = frontier(measured, predictor=trained)
    guessed = [p for p in filled.points if p.predicted]
    assert {p.format for p in guessed}.isdisjoint(FORMATS)
    assert len(guessed) == 8 * 2 * (28 - len(FORMATS))
    assert all(p.low < p.loss < p.high for p in guessed)


def test_what_does_not_compare_is_refused(measured: list[Measurement]) -> None:
    other = [
        dataclasses.replace(m, asked=dataclasses.replace(m.asked, evaluation=dataclasses.replace(m.asked.evaluation, token_hash="f" * 64)))
        for m in measured
        if m.asked.checkpoint.family == "mpt"
    ]  # fmt: skip
    with pytest.raises(InputError, match="2 different texts"):
        frontier([*measured, *other])
    with pytest.raises(InputError, match="family 'bert'"):
        frontier(measured, families=["bert"])
    with pytest.raises(InputError, match="least"):
        frontier(measured, least=-1)
    sizeless = [
        dataclasses.replace(
            m,
            asked=dataclasses.replace(
                m.asked, checkpoint=dataclasses.replace(m.asked.checkpoint, parameters_total=None)
            ),
        )
        for m in measured
    ]
    with pytest.raises(InputError, match="embeddings=False"):
        frontier(sizeless)
    assert frontier(sizeless, embeddings=False).points


def test_only_the_last_checkpoint_of_a_model_counts(measured: list[Measurement]) -> None:
    early = [
        dataclasses.replace(m, asked=dataclasses.replace(m.asked, checkpoint=dataclasses.replace(m.asked.checkpoint, step=10)))
        for m in measured
    ]  # fmt: skip
    assert len(collect([*measured, *early])) == 16
    assert len(frontier([*measured, *early]).points) == len(frontier(measured).points)
