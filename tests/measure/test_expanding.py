"""Lines that stand for many, formats under two names, and the shipped grid."""

import pytest

from bitlaw.errors import InputError
from bitlaw.formats.equality import canonical
from bitlaw.measure import MeasurePlan, measure_plan, read_plan
from bitlaw.measure.expanding import expand


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a b", ["a b"]),
        ("a{1,2}", ["a1", "a2"]),
        ("{a,b}_{1,2}", ["a_1", "a_2", "b_1", "b_2"]),
        ("{a{1,2},b}c", ["a1c", "a2c", "bc"]),
        ("x={2..-2..2}", ["x=2", "x=0", "x=-2"]),
        ("x={1..3}", ["x=1", "x=2", "x=3"]),
        ("x={-6..-6}", ["x=-6"]),
        ("{,_sym}", ["", "_sym"]),
        ("{30..-5..10}", ["30", "20", "10", "0"]),
    ],
)
def test_braces(line: str, wanted: list[str]) -> None:
    assert expand(line) == wanted


@pytest.mark.parametrize("line", ["a{1,2", "a}b", "{a}}", "{{a,b}"])
def test_braces_that_do_not_match(line: str) -> None:
    with pytest.raises(InputError, match="brace with"):
        expand(line)


def test_a_range_without_a_step() -> None:
    with pytest.raises(InputError, match="steps of 0"):
        expand("{1..2..0}")


def test_a_format_under_two_names_is_measured_once_and_shown() -> None:
    plan = MeasurePlan.make(variants=["nearest {mxint4,mxfp4_e1m2}_k32", "gptq mxfp4_e1m2_k32", "nearest int4_g32"])
    assert [v.label for v in plan.variants] == [
        "none", "nearest mxint4_k32", "gptq mxfp4_e1m2_k32", "nearest int4_g32"
    ]  # fmt: skip
    assert plan.duplicates == (("nearest mxfp4_e1m2_k32", "nearest mxint4_k32"),)
    again = MeasurePlan(variants=plan.variants, duplicates=plan.duplicates, evaluation="other.txt")
    assert again.duplicates == plan.duplicates


def test_the_grid_is_the_paper_s() -> None:
    plan = measure_plan(read_plan("grid"))
    of = {name: [v for v in plan.variants if v.method == name] for name in ("nearest", "gptq", "perturb_random")}
    assert [len(v) for v in of.values()] == [28, 28, 3 * 19]
    assert len({canonical(v.format) for v in of["nearest"]}) == 28
    assert {v.format for v in of["nearest"]} == {v.format for v in of["gptq"]}
    assert len([v for v in plan.variants if v.method == "perturb_along"]) == 2 * 28
    assert len([name for name, _ in plan.duplicates if name.startswith("nearest")]) == 8
    for v in of["gptq"]:
        assert v.options["micro_block"] == v.group_size
        assert (v.options["upstream"], v.options["damping_rule"]) == ("full_precision", "search")
    assert {v.options["snr_db"] for v in of["perturb_random"]} == {float(db) for db in range(-6, 31, 2)}
    compensated = [v.options for v in plan.variants if v.method == "perturb_compensated"]
    assert len({(o["snr_db"], o["micro_block"]) for o in compensated}) == len(compensated) == 6 * 4
    # where the same direction was probed without compensation, at the blocks of the formats
    assert {o["micro_block"] for o in compensated} == {v.group_size for v in of["gptq"]}
    plain = {(v.options["seed"], v.options["snr_db"]) for v in of["perturb_random"]}
    assert {(o["seed"], o["snr_db"]) for o in compensated} <= plain


def test_the_plan_beside_the_grid_can_be_read() -> None:
    plan = measure_plan(read_plan("grid-more"))
    assert sum(v.options.get("taylor") is True for v in plan.variants) == 3
    assert not plan.duplicates
