"""`bitlaw probe` on a small trained suite: landscape, forecasts, verification, resume, a folder of no suite, the path."""

import itertools
import json
import shutil
from pathlib import Path

import pytest

from bitlaw.cli.main import main
from bitlaw.errors import InputError
from bitlaw.predictor import Predictors, collect, predictor_train
from bitlaw.probe import COMPENSATED_BLOCKS, COMPENSATED_DB, grid_variant, open_model, probe, probe_path
from bitlaw.store import open_store
from bitlaw.train import train
from tests.predictor.simulated_families import simulate
from tests.train.conftest import NEOX, small_plan, text_file

__all__ = ["text_file"]
SNR = (30.0, 20.0, 14.0, 10.0, 6.0, 2.0, -2.0, -6.0)
SMALL = {"snr_db": SNR, "evaluation_windows": 12, "device": "cpu"}


@pytest.fixture(scope="module")
def trained() -> Predictors:
    simulated = simulate(("bloom", "gpt2", "llama"), sizes=(50_000, 800_000))
    return predictor_train(simulated, kinds=("zero-shot",))


@pytest.fixture(scope="module")
def suite(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-NeoX of width 16 that has learned the sentences, checkpoints at 30 and 300 steps; and other sentences."""
    folder = tmp_path_factory.mktemp("probed")
    plan = small_plan(
        text_file, tokens=64 * 300, first_checkpoint_tokens=64 * 30, checkpoints=2, models=[{"name": "neox", **NEOX}]
    )
    train(plan, folder / "suite", device="cpu")
    lines = text_file.read_text().splitlines()
    (folder / "other.txt").write_text("\n".join(f"{b} {a}" for a, b in itertools.pairwise(lines[:601])))
    return folder


def test_probe_predicts_then_measures_and_goes_on_from_its_store(suite: Path, trained: Predictors) -> None:
    store = suite / "probe.db"
    texts = {"evaluation": str(suite / "other.txt"), "calibration": str(suite / "other.txt")}
    found = probe(suite / "suite", store, predictor=trained, verify=3, taylor=True, layers=True, **texts, **SMALL)
    assert found.model == "neox@300"
    assert [row["snr_db"] for row in found.landscape] == list(SNR)
    assert found.landscape[-1]["qid"] > found.landscape[0]["qid"] + 0.1
    assert "curvature_along" in found.landscape[0]
    assert len(found.layers) == 4
    assert found.layers[0]["qid"] == max(row["qid"] for row in found.layers)
    assert {row["layer"].split(".layers.0.")[1] for row in found.layers} == {
        "attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
    }  # fmt: skip
    assert found.forecast is not None
    assert len(found.forecast.rows) == 56
    assert all(row.measured is None for row in found.forecast.rows)
    assert len(found.verified) == 3
    for row in found.verified:
        assert row.covered == (row.low <= row.measured <= row.high)
    with open_store(store) as opened:
        count = opened.count()
        assert opened.count(method="nearest") + opened.count(method="gptq") == 3
    again = probe(suite / "suite", store, predictor=trained, verify=3, taylor=True, layers=True, **texts, **SMALL)
    assert again.seconds == 0.0
    assert (again.forecast, again.verified, again.landscape) == (found.forecast, found.verified, found.landscape)
    with open_store(store) as opened:
        assert opened.count() == count
    json.dumps(found.to_dict())


def test_a_model_of_no_suite_and_one_whose_predictor_is_silent(
    suite: Path, tmp_path: Path, trained: Predictors
) -> None:
    shutil.copytree(suite / "suite" / "neox" / "step-0000300", tmp_path / "mine")
    own, checkpoint = open_model(tmp_path / "mine", tokens=19_200)
    assert (own.name, checkpoint.described.model, checkpoint.described.tokens) == ("mine", "mine", 19_200)
    _, inside = open_model(suite / "suite" / "neox" / "step-0000030")
    assert (inside.described.suite, inside.described.step, inside.described.tokens) == ("small", 30, 1920)
    found = probe(
        tmp_path / "mine", tmp_path / "s.db", predictor=trained, evaluation=str(suite / "other.txt"), verify=1,
        device="cpu", snr_db=(60.0, 55.0, 50.0), evaluation_windows=4,
    )  # fmt: skip
    assert found.forecast is None
    assert "landscape" in found.no_forecast or "perturbation" in found.no_forecast
    assert found.verified == ()


def test_overflow_is_shown_and_is_no_point(suite: Path, tmp_path: Path, trained: Predictors) -> None:
    found = probe(
        suite / "suite", tmp_path / "s.db", predictor=trained, evaluation=str(suite / "other.txt"), device="cpu",
        snr_db=(*SNR, -400.0), evaluation_windows=12, formats=["mxint4_k32"], methods=["nearest"],
    )  # fmt: skip
    assert found.landscape[-1]["loss"] is None
    assert found.landscape[-1]["reason"]
    assert len(found.failures) == 1
    assert found.forecast is not None


def test_what_cannot_be_probed_is_said(suite: Path, tmp_path: Path) -> None:
    for given, told in (
        ({"of": "neox@31"}, "no step '31'"),
        ({"seeds": 0}, "seeds=0"),
        ({"predictor": tmp_path / "none.json"}, "none.json"),
        ({"tokens": -1.0}, "tokens=-1"),
    ):
        with pytest.raises(InputError, match=told):
            probe(suite / "suite", tmp_path / "s.db", **given)
    with pytest.raises(InputError, match="is a checkpoint"):
        open_model(suite / "suite" / "neox" / "step-0000300", of="neox@300")


def test_grid_variant_is_that_of_the_plan() -> None:
    from bitlaw.measure import measure_plan, read_plan

    grid = measure_plan(read_plan("grid")).variants
    for method in ("nearest", "gptq"):
        for name in ("mxint4_k64", "mxfp4_e1m2_k64"):
            assert grid_variant(method, name) in grid
    assert grid_variant("nearest", "nvfp4_k16").format in ("nvfp4_k16", "nvfp4_k16_short")


def test_the_path_between_two_checkpoints(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = probe_path(
        suite / "suite",
        "neox@30",
        "neox@300",
        places=(0.0, 0.5, 1.0),
        evaluation=str(suite / "other.txt"),
        device="cpu",
    )
    losses = [point["loss"] for point in found["points"]]
    assert losses[2] < losses[0] - 0.3
    assert (found["tokens_from"], found["tokens_to"]) == (1920, 19_200)
    assert found["begin"]["gradient"] < 0.0
    assert 0.0 < found["linear_layers"]["cosine"] < 1.0
    command = ["probe", str(suite / "suite"), "--path", "neox@30", "neox@300", "--places", "0", "1"]
    assert main([*command, "--evaluation", str(suite / "other.txt"), "--device", "cpu"]) == 0
    assert "curvature" in capsys.readouterr().out


def test_the_command(suite: Path, tmp_path: Path, trained: Predictors, capsys: pytest.CaptureFixture[str]) -> None:
    trained.save(tmp_path / "p.json.gz")
    command = [
        "probe",
        str(suite / "suite"),
        "--store",
        str(tmp_path / "s.db"),
        "--device",
        "cpu",
        "--progress",
        "none",
    ]
    texts = ["--evaluation", str(suite / "other.txt"), "--calibration", str(suite / "other.txt")]
    few = [
        "--snr",
        *(f"{db:g}" for db in SNR),
        "--evaluation-windows",
        "12",
        "--formats",
        "mxint3_k32",
        "mxfp4_e2m1_k32",
    ]
    more = ["--predictor", str(tmp_path / "p.json.gz"), "--verify", "1", "--layers"]
    assert main([*command, *texts, *few, *more]) == 0
    said = capsys.readouterr().out
    for word in ("16-bit loss", "nothing quantized", "mxfp4_e2m1_k32", "measured after all", "most sensitive first"):
        assert word in said
    assert main(["probe", str(suite / "suite")]) == 2
    assert "Give --store" in capsys.readouterr().err


def test_compensated_noise_is_measured_where_the_predictor_reads_it(suite: Path, tmp_path: Path) -> None:
    simulated = simulate(("bloom", "gpt2", "llama"), sizes=(50_000, 800_000), gains=True)
    reads = predictor_train(simulated, kinds=("zero-shot", "zero-shot-compensated"))
    asked = {"evaluation": str(suite / "other.txt"), "calibration": str(suite / "other.txt"), **SMALL}
    found = probe(suite / "suite", tmp_path / "s.db", predictor=reads, formats=["mxint3_k16"], **asked)
    assert [(row["micro_block"], row["snr_db"]) for row in found.compensated] == [
        (block, db) for block in COMPENSATED_BLOCKS for db in COMPENSATED_DB
    ]
    assert found.forecast is not None
    with open_store(tmp_path / "s.db") as opened:  # this network's own noise may hide what compensation is worth
        known = collect(opened.read())[0].compensation is not None
    kind = "zero-shot-compensated" if known else "zero-shot"
    assert {row.method: row.predictor for row in found.forecast.rows} == {"nearest": "zero-shot", "gptq": kind}
    for given in ({"compensated": False}, {"methods": ["nearest"]}, {"predictor": reads.only("zero-shot")}):
        alone = probe(
            suite / "suite", tmp_path / "t.db", **{"predictor": reads, **given}, formats=["mxint3_k16"], **asked
        )
        assert alone.compensated == ()
        assert alone.forecast is not None
        assert {row.predictor for row in alone.forecast.rows} == {"zero-shot"}
