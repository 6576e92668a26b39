"""`bitlaw fit` on a table of one's own: other names of columns, what is known beforehand, what it says of its reach, bad input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitlaw.fit import fit
from tests.cli.test_cli import run
from tests.fit.simulated import FEW

TABLE = FEW.draw(np.random.default_rng(1))
NAMES = ("parameters", "tokens", "bits", "qid", "qid_se", "model")


@pytest.fixture
def csv(tmp_path: Path) -> str:
    """The simulated table under the letters of the formulas."""
    path = tmp_path / "mine.csv"
    header = ["N", "D", "P", *NAMES[3:]]
    rows = zip(*(TABLE[name] for name in NAMES))
    path.write_text("\n".join(",".join(str(cell) for cell in row) for row in [header, *rows]) + "\n")
    return str(path)


COLUMNS = ["--column", "N=parameters", "--column", "D=tokens", "--column", "P=bits"]


def test_columns_go_by_other_names(csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "fit", "--csv", csv)
    assert code == 2
    assert "'parameters' (N: non-embedding parameters; is it 'N'?)" in err
    assert "--column theirs=ours" in err
    code, out, err = run(capsys, "fit", "--csv", csv, *COLUMNS, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["values"] == pytest.approx(dict(fit("ouyang2024-unified", TABLE).values), rel=1e-3)
    code, _, err = run(capsys, "fit", "--csv", csv, "--column", "N")
    assert (code, err.count("\n")) == (2, 1)
    assert "--column 'N' is not of the form NAME=NAME" in err
    code, out, _ = run(
        capsys, "compare-laws", "--csv", csv, *COLUMNS, "--laws", "ouyang2024-unified", "--holdout", "largest-size"
    )
    assert code == 0
    assert re.search(r"^ouyang2024-unified +[\d.]+ +best", out, flags=re.M)
    assert re.search(r"^mean per format +[\d.]+ +[\d.]+ \[[-\d.]+, [\d.]+\]", out, flags=re.M)


def test_what_is_known_beforehand_can_be_given(csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "fit", "--csv", csv, *COLUMNS, "--prior", "alpha=0.5,0.0001", "--json")
    assert code == 0
    assert json.loads(out)["values"]["alpha"] == pytest.approx(0.5, abs=1e-3)
    code, _, err = run(capsys, "fit", "--csv", csv, *COLUMNS, "--prior", "alpha=0.5")
    assert (code, err.count("\n")) == (2, 1)
    assert "NAME=CENTRE,SPREAD" in err
    code, out, _ = run(capsys, "fit", "--csv", csv, *COLUMNS, "--no-priors", "--json")
    assert code == 0
    assert json.loads(out)["values"] == pytest.approx(dict(fit("ouyang2024-unified", TABLE).values), rel=1e-3)


def test_it_says_how_far_it_may_stray_and_what_nothing_judges(
    csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "fit", "--csv", csv, *COLUMNS, "--out", str(tmp_path / "f.json"))
    assert "beyond its rows: its exponents may stray (one standard deviation) by: tokens 0." in out
    _, out, _ = run(
        capsys, "predict", "--params", "1e6", "--tokens", "1e8", "--bits", "3", "--fit", str(tmp_path / "f.json")
    )
    assert "strays when its own ends are left out (tokens, parameters)" in out
    assert "OUTSIDE the fitted range: tokens 1e+08 is 40x beyond" in out
    _, out, _ = run(capsys, "fit", "--csv", csv, *COLUMNS, "--where", "model=m0,m2", "--intervals", "clustered-model")
    assert "warning: nothing is left to judge k, alpha by" in out


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bitlaw", "law", "show", "bitlaw-growth"], capture_output=True, text=True, check=True
    )
    assert "format error" in done.stdout


def test_an_interval_of_a_loss_that_nothing_tells_has_no_end(
    csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sizes tell no exponent of the 16-bit loss: the plan says so and prints neither warnings nor astronomic numbers."""
    two = [row for row in Path(csv).read_text().splitlines() if not row.endswith(",m1")]
    header, *rows = [line.split(",") for line in two]
    lines = [[*header, "baseline_loss"], *([*row, str(2 + 20 * float(row[0]) ** -0.3)] for row in rows)]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    qid, loss = str(tmp_path / "qid.json"), str(tmp_path / "loss.json")
    assert run(capsys, "fit", "--csv", csv, *COLUMNS, "--out", qid)[0] == 0
    law = ["--formula", "loss = E + A/N^a", "--target", "baseline_loss", "--intervals", "clustered-model"]
    assert run(capsys, "fit", "--csv", str(path), *COLUMNS, *law, "--fixed", "E=2", "--out", loss)[0] == 0
    code, out, err = run(
        capsys, "plan", "--memory", "1GiB", "--candidates", "a:1e6:1e7", "--fit", qid, "--loss-fit", loss
    )
    assert (code, err) == (0, "")
    assert "no end" in out
    assert "e21" not in out
    assert "e22" not in out
    assert "holds for: 16-bit loss: nothing is left to judge A, a by" in out
