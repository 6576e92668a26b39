"""Forecasts of one model from its probes, the files they come from, flags outside the range, and requests that cannot be answered."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import Predictors, load_predictors, predictor_predict, predictor_train
from bitlaw.records import Measurement
from tests.predictor.simulated_families import simulate


@pytest.fixture(scope="module")
def model() -> list[Measurement]:
    return simulate(("mpt",), (200_000,), seed=7)


def probes(model: list[Measurement]) -> list[Measurement]:
    return [m for m in model if m.asked.variant.method in ("none", "perturb_random")]


def test_probes_alone_predict_every_format_and_method(model: list[Measurement], trained: Predictors) -> None:
    found = predictor_predict(probes(model), predictor=trained)
    assert len(found.rows) == 2 * 28
    assert {row.predictor for row in found.rows} == {"zero-shot"}
    assert all(row.measured is None and row.low < row.loss < row.high for row in found.rows)
    measured = {
        (m.asked.variant.method, m.asked.variant.format): m.loss
        for m in model
        if m.asked.variant.method in ("nearest", "gptq")
    }
    hits = [row.low <= measured[row.method, row.format] <= row.high for row in found.rows]
    assert np.mean(hits) > 0.8
    assert all(row.qid == pytest.approx(row.loss - found.baseline_loss) for row in found.rows)


def test_measured_nearest_points_are_used_for_gptq(model: list[Measurement], trained: Predictors) -> None:
    some = [m for m in model if m.asked.variant.method != "nearest" or m.asked.variant.format == "mxint3_k32"]
    found = predictor_predict(some, predictor=trained, methods=["gptq"], formats=["mxint3_k32", "mxint4_k32"])
    assert {row.format: row.predictor for row in found.rows} == {
        "mxint3_k32": "after-nearest",
        "mxint4_k32": "zero-shot",
    }
    assert all(row.measured is not None for row in found.rows)


def test_a_baseline_alone_is_answered_from_the_config(model: list[Measurement], trained: Predictors) -> None:
    baseline = [m for m in model if m.asked.variant.method == "none"]
    assert {row.predictor for row in predictor_predict(baseline, predictor=trained).rows} == {"config"}
    ageless = [
        dataclasses.replace(m, asked=dataclasses.replace(m.asked, checkpoint=dataclasses.replace(m.asked.checkpoint, tokens=None)))
        for m in baseline
    ]  # fmt: skip
    assert {row.predictor for row in predictor_predict(ageless, predictor=trained).rows} == {"config-no-tokens"}


def test_files_give_the_same_predictions(model: list[Measurement], trained: Predictors, tmp_path: Path) -> None:
    before = predictor_predict(model, predictor=trained)
    for name in ("p.json", "p.json.gz"):
        path = trained.save(tmp_path / name)
        assert predictor_predict(model, predictor=path) == before
        back = load_predictors(path)
        assert back.data["digest"] == trained.data["digest"]
        assert len(back.data["keys"]) == len(trained.data["keys"]) > 100
    with pytest.raises(InputError, match=r"\.json"):
        trained.save(tmp_path / "p.pkl")


def test_a_saved_forest_predicts_the_same_and_without_scikit_learn(model: list[Measurement], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    small = predictor_train(
        simulate(("opt", "gpt2"), (50_000, 800_000), ("mxint4_k32", "mxint3_k32", "mxint2_k32"), probes=False),
        kinds=("forest",), targets=("gptq_change",),
    )  # fmt: skip
    asked = {"methods": ["gptq"], "formats": ["mxint3_k32"], "kind": "forest"}
    before = predictor_predict(model, predictor=small, **asked)
    path = small.save(tmp_path / "forest.json")
    assert predictor_predict(model, predictor=path, **asked) == before
    code = (
        "import sys\nsys.modules['sklearn'] = None\n"
        "from bitlaw.predictor import load_predictors\n"
        f"print(len(load_predictors({str(path)!r}).models))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_what_lies_outside_is_flagged_or_refused(trained: Predictors) -> None:
    large = probes(simulate(("mpt",), (30_000_000,)))
    found = predictor_predict(large, predictor=trained)
    assert not found.inside
    assert all(
        any("quantized parameters 3e+07 is outside 5e+04 to 8e+05" in w for w in row.outside) for row in found.rows
    )
    with pytest.raises(InputError, match="quantized parameters"):
        predictor_predict(large, predictor=trained, strict=True)


def test_formats_nobody_trained_on(model: list[Measurement], trained: Predictors) -> None:
    found = predictor_predict(
        probes(model), predictor=trained, formats=["int4_g128", "mxint4_k16"], methods=["nearest"]
    )
    widths = {row.format: row.high - row.low for row in found.rows}
    said = {row.format: row.outside for row in found.rows}
    assert any("int4 is no format" in words for words in said["int4_g128"])
    assert said["mxint4_k16"] == ()
    point = next(row for row in found.rows if row.format == "int4_g128")
    intervals = trained.find("zero-shot", "nearest_qid").intervals
    assert widths["int4_g128"] / 2 == pytest.approx(float(intervals.half_width(point.qid, 0.9, unseen=True)))
    assert widths["int4_g128"] / 2 >= 1.249 * float(intervals.half_width(point.qid, 0.9))
    with pytest.raises(InputError, match="Unknown format 'mxint5_k7'"):
        predictor_predict(probes(model), predictor=trained, formats=["mxint5_k7"])
    with pytest.raises(InputError, match="mean of format 'int4_g128' is unknown"):
        predictor_predict(model, predictor=trained, formats=["int4_g128"], kind="format-mean")


def test_requests_that_cannot_be_answered(model: list[Measurement], trained: Predictors, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one model at a time"):
        predictor_predict([*model, *simulate(("opt",), (50_000,), ("mxint4_k32",))], predictor=trained)
    with pytest.raises(InputError, match="Unknown method of forecasts 'awq'"):
        predictor_predict(model, predictor=trained, methods=["awq"])
    with pytest.raises(InputError, match="No landscape"):
        predictor_predict([m for m in model if m.asked.variant.method == "none"], predictor=trained, kind="zero-shot")
    with pytest.raises(InputError, match="was not measured for mxint4_k32"):
        predictor_predict(
            probes(model), predictor=trained, formats=["mxint4_k32"], methods=["gptq"], kind="after-nearest"
        )
    with pytest.raises(InputError, match="no 'forest' predictor"):
        predictor_predict(model, predictor=trained, kind="forest", methods=["gptq"])
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="no file of"):
        predictor_predict(model, predictor=tmp_path / "other.json")
    with pytest.raises(InputError, match="Cannot read"):
        predictor_predict(model, predictor=tmp_path / "none.json")


def test_an_overflow_is_counted_and_the_rest_of_the_landscape_used(
    model: list[Measurement], trained: Predictors
) -> None:
    broken = [
        dataclasses.replace(m, seen=dataclasses.replace(m.seen, state="failed", reason="loss is infinite"))
        if m.asked.variant.options.get("snr_db") == -4.0
        else m
        for m in probes(model)
    ]
    whole, rest = predictor_predict(probes(model), predictor=trained), predictor_predict(broken, predictor=trained)
    for a, b in zip(whole.rows, rest.rows):
        assert a.loss == pytest.approx(b.loss, abs=0.3)


def test_compensated_probes_answer_for_gptq_and_a_file_keeps_it(tmp_path: Path) -> None:
    kinds = ("zero-shot", "after-nearest", "zero-shot-compensated", "after-nearest-compensated")
    source = simulate(("bloom", "gpt2", "llama", "opt"), sizes=(50_000, 800_000), gains=True)
    made = predictor_train(source, kinds=kinds)
    assert (made.reads_compensated, made.data["compensated_models"]) == (True, 8)
    path = made.save(tmp_path / "p.json.gz")
    whole = simulate(("mpt",), (200_000,), seed=7, gains=True)
    asked = {"predictor": path, "formats": ["mxint3_k32", "mxint3_k128"]}
    gptq = {m.asked.variant.format: m.loss for m in whole if m.asked.variant.method == "gptq"}

    def found(*methods: str) -> dict[tuple[str, str], Any]:
        some = [m for m in whole if m.asked.variant.method in ("none", "perturb_random", *methods)]
        return {(row.method, row.format): row for row in predictor_predict(some, **asked).rows}

    for methods, kind in (
        (("perturb_compensated",), "zero-shot-compensated"),
        (("perturb_compensated", "nearest"), "after-nearest-compensated"),
    ):
        with_it, without = found(*methods), found(*methods[1:])
        assert {row.predictor for (method, _), row in with_it.items() if method == "gptq"} == {kind}
        assert with_it["nearest", "mxint3_k32"].predictor == "zero-shot"
        assert with_it["nearest", "mxint3_k32"].loss == without["nearest", "mxint3_k32"].loss
        for name in asked["formats"]:
            assert abs(with_it["gptq", name].loss - gptq[name]) < abs(without["gptq", name].loss - gptq[name])
    few = [m for m in whole if m.asked.variant.method in ("none", "perturb_random")]
    with pytest.raises(InputError, match="compensation is worth is unknown for families/mpt-200k"):
        predictor_predict(few, **asked, methods=["gptq"], kind="zero-shot-compensated")


def test_kinds_that_read_compensated_probes_need_models_that_have_them() -> None:
    plain = simulate(("bloom", "gpt2", "llama"), (50_000,), ("mxint4_k32", "mxint3_k32", "mxint2_k32"))
    with pytest.raises(InputError, match="none of the 3 models has"):
        predictor_train(plain, kinds=("zero-shot-compensated",))
    assert not predictor_train(plain, kinds=("zero-shot",)).reads_compensated
    some = simulate(("mpt", "opt"), (50_000,), ("mxint4_k32", "mxint3_k32", "mxint2_k32"), gains=True)
    made = predictor_train([*plain, *some], kinds=("zero-shot", "zero-shot-compensated"))
    networks = {(one.kind, one.target): one.intervals.networks for one in made.models}
    assert networks == {
        ("zero-shot", "gptq_qid"): 5,
        ("zero-shot", "nearest_qid"): 5,
        ("zero-shot-compensated", "gptq_qid"): 2,
    }
