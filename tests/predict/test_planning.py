"""Plans: the best choice is that of brute force, the frontier is the Pareto set by definition, budgets hold at the edge."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlaw.errors import InputError
from bitlaw.fit import Table, fit
from bitlaw.laws import law_from_text
from bitlaw.predict import Candidate, fewest_bits, plan, predict
from bitlaw.predict.candidates import read_candidates
from bitlaw.predict.grids import gaussian_error, grid, integer_grid
from bitlaw.predict.memory import parse_size
from bitlaw.predict.planning import frontier
from tests.fit.simulated import EXACT, FEW

MODELS = ("s:85e6:1e11:162e6", "m:805e6:1e11:1.01e9", "l:11.3e9:2e11:11.8e9")
LOSS = {"Nc": 1e10, "aN": 0.1, "Dc": 1e6, "aD": 0.3}


def brute_force(memory: float, overhead: float) -> list[tuple[float, float, str, int, int]]:
    """Every choice as (loss, bytes, name, bits, group), from predictions and the storage formula written out again."""
    found = []
    for name, n, d, total in (("s", 85e6, 1e11, 162e6), ("m", 805e6, 1e11, 1.01e9), ("l", 11.3e9, 2e11, 11.8e9)):
        for bits in (2, 3, 4):
            stored = bits + (16 + bits) / 128
            size = (n * stored + (total - n) * 16) / 8 + overhead
            found.append((predict(n, d, bits).quantized_loss, size, name, bits, 128))
        found.append((predict(n, d, 4).baseline_loss, 2 * total + overhead, name, 16, 0))
    return [choice for choice in found if choice[1] <= memory]


@pytest.mark.parametrize("memory", ["300MB", "500MB", "1GB", "2.2GB", "4GiB", "7GB", "30GB"])
@pytest.mark.parametrize("overhead", [0.0, 1e8])
def test_brute_force_enumeration(memory: str, overhead: float) -> None:
    made = plan(memory, MODELS, bits=[2, 3, 4, 16], overhead=overhead)
    loss, size, name, bits, group = min(brute_force(parse_size(memory), overhead))
    assert made.best is not None
    assert (made.best.name, made.best.bits, made.best.group_size) == (name, bits, group)
    assert (made.best.loss, made.best.bytes) == pytest.approx((loss, size))
    assert made.safest.interval.high == min(c.interval.high for c in made.choices if c.fits)


def test_the_frontier_is_the_pareto_set() -> None:
    choices = plan("24GiB", MODELS, groups=[32, 128, 1024]).choices
    for one in choices:
        beaten = any(
            other.bytes <= one.bytes and other.loss <= one.loss and (other.bytes < one.bytes or other.loss < one.loss)
            for other in choices
            if not other.broken
        )
        assert one.frontier == (not beaten and not one.broken)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_pareto_sets_by_definition(points: list[tuple[int, int]]) -> None:
    sizes, losses = zip(*points)
    for on, (size, loss) in zip(frontier(sizes, losses), points):
        assert on == (not any(s <= size and q <= loss and (s, q) != (size, loss) for s, q in points))


def test_intervals_join_those_of_qid_and_loss() -> None:
    made = plan("24GiB", MODELS[1:2], bits=[3])
    answer = predict(805e6, 1e11, 3)
    assert made.choices[0].interval.low == pytest.approx(answer.quantized_interval.low)
    assert made.choices[0].interval.high == pytest.approx(answer.quantized_interval.high)


def test_a_budget_is_kept_at_its_edge() -> None:
    exact = plan("24GiB", MODELS[:1], bits=[4]).choices[0].bytes
    assert plan(exact, MODELS[:1], bits=[4]).best is not None
    assert plan(np.nextafter(exact, 0), MODELS[:1], bits=[4]).best is None
    assert plan(exact + 1e6, MODELS[:1], bits=[4], overhead="1MB").best is not None


def test_choices_worse_than_guessing_are_no_choices() -> None:
    made = plan("24GiB", ["a:7e9:100e12"], bits=[2])
    assert made.choices[0].broken
    assert (made.best, made.safest, made.frontier) == (None, None, ())


def test_smaller_groups_cost_bytes_and_save_loss() -> None:
    small, published, large = (plan("24GiB", MODELS[:1], bits=[3], groups=[g]).choices[0] for g in (32, 128, 1024))
    assert small.bytes > published.bytes > large.bytes
    assert small.loss < published.loss < large.loss
    assert published.qid == pytest.approx(predict(85e6, 1e11, 3).value)
    assert large.qid / published.qid == pytest.approx(integer_grid(3, 1024).factor()[0])
    spread = [(c.interval.high - c.loss) / c.qid for c in (published, large)]
    assert spread[0] < spread[1]  # the correction is uncertain itself


def test_other_formats_are_scaled_by_their_rounding_error() -> None:
    made = plan("24GiB", MODELS[:1], bits=[4, 16], formats=["nf4_g64", "mxfp4_e2m1_k32", "int4_g128"])
    found = {c.format: c for c in made.choices}
    assert set(found) == {"int4_g128", "nf4_g64", "mxfp4_e2m1_k32", "16 bit"}
    for name in ("nf4_g64", "mxfp4_e2m1_k32"):
        assert found[name].qid / found["int4_g128"].qid == pytest.approx(grid(name).factor()[0])
        assert found[name].bits_per_weight == grid(name).stored
    assert found["nf4_g64"].loss < found["int4_g128"].loss < found["mxfp4_e2m1_k32"].loss
    assert any("reads no formats or group sizes" in said for said in made.conditions)
    assert not any("reads no formats" in said for said in plan("24GiB", MODELS[:1]).conditions)
    only = plan("24GiB", MODELS[:1], bits=[], formats=["nf4_g64"])
    assert [c.format for c in only.choices] == ["nf4_g64"]


def test_methods_come_from_fits() -> None:
    generator = np.random.default_rng(0)
    exact = replace(FEW, **EXACT)
    table = exact.draw(generator)
    half = replace(exact, truth={**FEW.truth, "k": FEW.truth["k"] * 2}).draw(generator)
    fits = []
    for rows, method in ((table, "gptq"), (half, "nearest")):
        columns = {**rows.columns, "method": np.full(len(rows), method)}
        fits.append(fit("ouyang2024-unified", replace(rows, columns=columns), starts=2))
    losses = fit("ouyang2024-loss", replace(exact, law="ouyang2024-loss", truth=LOSS).draw(generator), starts=2)
    made = plan("1MB", ["a:1e5:1e6:1.2e5"], laws=fits, bits=[3, 16], loss_law=losses)
    assert {(c.method, c.bits) for c in made.choices} == {("gptq", 3), ("nearest", 3), ("none", 16)}
    qid = {c.method: c.qid for c in made.choices}
    assert qid["nearest"] == pytest.approx(2 * qid["gptq"], rel=1e-4)
    with pytest.raises(InputError, match="'a' has no 16-bit loss"):
        plan("1MB", ["a:1e5:1e6"], laws=fits)
    own = plan("1MB", ["a:1e5:1e6:1.2e5:3.5"], laws=fits, bits=[3, 16])
    assert {c.baseline_loss for c in own.choices} == {3.5}


def test_candidates_from_files(tmp_path: Path) -> None:
    expected = read_candidates(MODELS)
    rows = ["name,parameters,tokens,total_parameters,baseline_loss", "s,85e6,100B,162e6,", "m,805e6,1e11,1.01e9,"]
    (tmp_path / "m.csv").write_text("\n".join([*rows, "l,11.3B,2e11,11.8e9,"]))
    sections = (
        f'[[candidate]]\nname = "{c.name}"\nparameters = {c.parameters}\ntokens = {c.tokens}\n'
        f"total_parameters = {c.total_parameters}\n"
        for c in expected
    )
    (tmp_path / "m.toml").write_text("\n".join(sections))
    for name in ("m.csv", "m.toml"):
        found = read_candidates([str(tmp_path / name)])
        assert [(c.name, c.parameters, c.tokens, c.total) for c in found] == [
            (c.name, c.parameters, c.tokens, c.total) for c in expected
        ]
        assert all(math.isnan(c.baseline_loss) for c in found)


def test_strict_keeps_choices_inside_the_range() -> None:
    assert {c.bits for c in plan("24GiB", MODELS, strict=True).choices} == {2.0, 3.0, 4.0, 16.0}
    with pytest.raises(InputError, match="Every choice lies outside"):
        plan("24GiB", ["a:70e9:15e12"], strict=True)


def test_it_is_plain_json() -> None:
    content = json.loads(json.dumps(plan("24GiB", MODELS).to_dict(), allow_nan=False))
    assert content["best"] in content["choices"]


BAD = [
    ({"memory": "-24GiB"}, "not above 0"),
    ({"memory": "24"}, "no unit"),
    ({"memory": "24 parsecs"}, "unknown unit"),
    ({"overhead": "-1GB"}, "not above 0"),
    ({"candidates": []}, "no candidates"),
    ({"candidates": ["a:7e9"]}, "not of the form name:params:tokens"),
    ({"candidates": ["a:7:15e12"]}, "7e9 for 7 billion"),
    ({"candidates": ["a:seven:15e12"]}, "not a number of parameters"),
    ({"candidates": [":7e9:15e12"]}, "lacks name"),
    ({"candidates": ["a:7e9:15e12:6e9"]}, "6e.09 parameters in all but 7e.09"),
    ({"candidates": ["a:7e9:15e12:8e9:300"]}, "not perplexity"),
    ({"candidates": ["a:7e9:15e12", "a:8e9:15e12"]}, "given twice"),
    ({"candidates": ["none.csv"]}, "Cannot read the candidates"),
    ({"groups": [0]}, "group_size=0"),
    ({"groups": []}, "at least one"),
    ({"bits": []}, "at least one"),
    ({"bits": [0]}, "bits=0"),
    ({"laws": []}, "at least one"),
    ({"formats": ["nf4_g63"]}, "Did you mean 'nf4_g64'"),
    ({"loss_law": "none"}, "has no 16-bit loss"),
]


@pytest.mark.parametrize(("asked", "said"), BAD, ids=[said for _, said in BAD])
def test_impossible_questions_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(**{"memory": "24GiB", "candidates": ["a:7e9:2e12"], **asked})


def test_files_that_hold_no_candidates_are_refused(tmp_path: Path) -> None:
    for name, text, said in (
        ("a.csv", "name,parameters,tokens\n", "holds no candidates"),
        ("b.csv", "name,params,tokens\na,7e9,1e12\n", "unknown column 'params'"),
        ("c.csv", "name,parameters,tokens\na,,1e12\n", "candidate 1 lacks parameters"),
        ("d.toml", "candidate = 3", r"one \[\[candidate\]\] section"),
        ("e.toml", "[[candidate", "is not TOML"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=said):
            read_candidates(str(tmp_path / name))


def test_candidates_can_be_objects() -> None:
    listed = [Candidate(name="a", parameters=85e6, tokens=1e11, baseline_loss=3.2)]
    choices = plan("1GB", listed, bits=[3, 4]).choices
    assert [c.bits for c in choices] == [3.0, 4.0]
    assert all(c.loss == pytest.approx(3.2 + c.qid) for c in choices)


def test_laws_that_read_the_grid_are_asked_about_it() -> None:
    """Fits that read group size or rounding error need no correction and say what was assumed where nobody gave it."""
    rows = [
        {"parameters": n, "tokens": d, "bits": b, "group_size": g, "format_error": gaussian_error(b, g)}
        for n in (1e5, 1e6, 1e7)
        for d in (1e7, 1e8)
        for b in (2, 3, 4)
        for g in (32, 128)
    ]
    for text, truth in (
        ("QiD = k * D^b / N^a * G^g / P^c", lambda r: 1e-2 * r["group_size"] ** 0.4 / r["bits"] ** 5),
        ("QiD = k * D^b / N^a * err^c", lambda r: 2.0 * r["format_error"] ** 1.1),
    ):
        made = [{**r, "qid": (r["tokens"] / r["parameters"]) ** 0.5 * truth(r)} for r in rows]
        law = law_from_text(text, parameters={"b": (0.0, 2.0), "a": (0.0, 2.0)})
        ours = fit(law, Table.from_rows(made, source="planted"), starts=4)
        found = plan("1GB", ["a:1e6:1e8:2e6:3.0"], laws=[ours], bits=[3], groups=[32, 128])
        for choice in found.choices:
            row = {"group_size": choice.group_size, "bits": 3.0, "format_error": gaussian_error(3, choice.group_size)}
            assert choice.qid == pytest.approx(10 * truth(row), rel=1e-3)
        assert not any("scaled" in said for said in found.conditions)
        answer = predict(1e6, 1e8, 3, law=ours)
        assert answer.value == pytest.approx(found.choices[0].qid)  # groups of 128, the larger error, fewer bytes
        assert any("not given: taken as of integers in groups of 128" in said for said in answer.conditions)
        assert predict(1e6, 1e8, 3, law=ours, also={"group_size": 32}).value == pytest.approx(found.choices[1].qid)
        assert fewest_bits(1e6, 1e8, answer.value, law=ours).value == pytest.approx(3.0, abs=1e-4)
