"""The verbs predictor and frontier on files: train, predict, evaluate, choose; no torch, no scikit-learn before a forest is grown."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bitlaw.cli.main import main
from bitlaw.store import export_parquet, open_store
from tests.cli.test_cli import WITHOUT_TORCH, run
from tests.predictor.simulated_families import simulate

FORMATS = ("mxint4_k32", "mxint3_k32", "mxint2_k128", "mxfp6_e3m2_k32", "mxfp4_e2m1_k16")
NO_SKLEARN = WITHOUT_TORCH.replace("('torch',", "('torch', 'sklearn',")


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "families.parquet"
    export_parquet(simulate(("opt", "gpt2", "mpt"), (50_000, 800_000), FORMATS), path)
    return path


@pytest.fixture(scope="module")
def predictor(families: Path) -> Path:
    path = families.with_name("p.json.gz")
    assert (
        main(["predictor", "train", "--store", str(families), "--out", str(path), "--kinds", "zero-shot", "config"])
        == 0
    )
    return path


def test_train_then_predict(families: Path, predictor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--store", str(families), "--where", "model=mpt-50k", "--where", "method=none,perturb_random"]
    code, out, err = run(
        capsys, "predictor", "predict", *asked, "--predictor", str(predictor), "--formats", *FORMATS, "--json"
    )
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert len(data["rows"]) == 10
    assert {row["predictor"] for row in data["rows"]} == {"zero-shot"}
    code, out, _ = run(capsys, "predictor", "predict", *asked, "--predictor", str(predictor), "--formats", "int4_g128")
    assert code == 0
    assert "OUTSIDE the training range: int4 is no format" in out


def test_predicting_needs_neither_torch_nor_scikit_learn(families: Path, predictor: Path) -> None:
    asked = [
        "predictor",
        "predict",
        "--store",
        str(families),
        "--where",
        "model=mpt-50k",
        "--predictor",
        str(predictor),
    ]
    for arguments in (asked, ["predictor", "--help"], ["frontier", "--store", str(families)]):
        done = subprocess.run([sys.executable, "-c", NO_SKLEARN, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    grown = ["predictor", "train", "--store", str(families), "--out", "x.json", "--kinds", "forest"]
    done = subprocess.run([sys.executable, "-c", NO_SKLEARN, *grown], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'bitlaw[predictor]'" in done.stderr


def test_evaluate_prints_a_table_and_writes_it(
    families: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = tmp_path / "table.json"
    asked = ["--kinds", "zero-shot", "no-change", "forest", "--targets", "gptq_qid", "--splits", "leave-family"]
    code, out, _ = run(capsys, "predictor", "evaluate", "--store", str(families), *asked, "--out", str(out_file))
    assert code == 0
    assert out.index("zero-shot") < out.index("no-change")  # by R2
    rows = json.loads(out_file.read_text())["results"]
    assert {row["predictor"] for row in rows} == {"zero-shot", "no-change", "forest"}
    assert all(row["n"] == 30 for row in rows)


def test_frontier_of_a_store_and_of_a_file(families: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bitlaw.store import import_parquet

    with open_store(tmp_path / "s.db") as store:
        import_parquet(store, families)
    said = [run(capsys, "frontier", "--store", str(s), "--budget", "1MiB")[1] for s in (families, tmp_path / "s.db")]
    assert said[0] == said[1]
    assert "best within a budget" in said[0]
    assert "is GPTQ worth running" in said[0]


def test_errors_are_one_line(families: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["predictor", "train", "--store", str(families)], "needs --out"),
        (["predictor", "predict", "--store", str(families), "--where", "model=bert"], "no measurement that meets"),
        (["predictor", "predict", "--store", str(families), "--where", "modle=bert"], "no column 'modle'"),
        (["frontier", "--store", str(families), "--families", "bert"], "family 'bert'"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
