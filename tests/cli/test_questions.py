"""The questions on the command line: text that says law, interval and range, JSON, plots, and one-line errors with exit code 2."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitlaw.fit import fit
from bitlaw.predict import critical_tokens, fewest_bits, predict, training_level
from tests.cli.test_cli import WITHOUT_TORCH, run
from tests.fit.simulated import FEW

POINT = ["--params", "1e9", "--tokens", "1e11"]
QUESTIONS = [
    ["predict", *POINT, "--bits", "3"],
    ["tokens-to-train", "--params", "1e9", "--bits", "3"],
    ["training-level", "--qid", "0.1", "--qid-se", "0.01", "--params", "1B", "--bits", "3", "--tokens", "100B"],
    ["critical-tokens", "--params", "1e9", "--bits", "3", "--tokens", "1T"],
    ["fewest-bits", *POINT, "--budget", "0.1"],
    ["project", "--tokens", "100T"],
    ["plan", "--memory", "24GiB", "--candidates", "a:7B:2T:8B", "b:70B:2T:72B"],
    ["compare-laws", *POINT, "--bits", "4"],
]


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("fits")
    generator = np.random.default_rng(1)
    fit("ouyang2024-unified", FEW.draw(generator), starts=2).to_json(folder / "qid.json")
    return {"qid": str(folder / "qid.json"), "none": str(folder / "none.json")}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q[0])
def test_text_and_json(question: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *question)
    assert (code, err) == (0, "")
    for word in ("ouyang2024", "interval", "range"):
        assert word in out
    code, out, _ = run(capsys, *question, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q[0])
def test_no_question_loads_torch_or_more_than_numpy(question: list[str]) -> None:
    """A blocked import would fail; what a published answer does import beyond numpy is printed at the end."""
    heavy = "{'scipy', 'pandas', 'pyarrow', 'matplotlib', 'jinja2', 'rich'}"
    code = WITHOUT_TORCH.replace(
        "sys.exit(main(sys.argv[1:]))",
        f"main(sys.argv[1:]); print('HEAVY', sorted({{m.split('.')[0] for m in sys.modules}} & {heavy}))",
    )
    done = subprocess.run([sys.executable, "-c", code, *question], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_values_are_those_of_the_functions(capsys: pytest.CaptureFixture[str]) -> None:
    def value(question: list[str]) -> float:
        return float(json.loads(run(capsys, *question, "--json")[1])["value"])

    assert value(QUESTIONS[0]) == predict(1e9, 1e11, 3).value
    assert value(QUESTIONS[2]) == training_level(0.1, 1e9, 3, qid_se=0.01).value
    assert value(QUESTIONS[3]) == critical_tokens(1e9, 3).value
    assert value(QUESTIONS[4]) == fewest_bits(1e9, 1e11, 0.1).value


def test_outside_is_loud_and_strict_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    far = ["predict", "--params", "70B", "--tokens", "15T", "--bits", "4"]
    assert "OUTSIDE the fitted range: tokens 1.5e+13 is 73x beyond" in run(capsys, *far)[1]
    code, out, err = run(capsys, *far, "--strict")
    assert (code, out) == (2, "")
    assert "strict was asked for" in err
    assert run(capsys, *QUESTIONS[0], "--strict")[0] == 0


def test_the_quantized_loss_has_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, *QUESTIONS[0])[1]
    assert re.search(r"quantized loss [\d.]+  \(90% interval [\d.]+ to [\d.]+\)", out)


def test_figure_1_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "project", "--tokens", "100e12")[1]
    for size, labels in (
        ("7e9", "49.95** 9.88* 1.52*"),
        ("7e10", "29.77** 4.36* 0.63*"),
        ("4.05e11", "20.07** 2.34* 0.32*"),
    ):
        (row,) = re.findall(rf"^{size} .*$", out, flags=re.M)
        assert re.findall(r"([\d.]+\*+) \[", row) == labels.split()
    assert "ln(50304) = 10.83" in out


def test_a_plan_says_what_is_best_and_what_is_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    candidates = ["--candidates", "small:805e6:1e11:1.01e9", "large:11.3e9:2e11:11.8e9"]
    out = run(capsys, "plan", "--memory", "2GiB", *candidates)[1]
    assert out.startswith("best within 2 GiB: small none 16 bit, 1.881 GiB")
    assert "too large" in out
    assert len(run(capsys, "plan", "--memory", "2GiB", *candidates, "--all")[1]) > len(out)
    assert "no choice fits" in run(capsys, "plan", "--memory", "2MiB", *candidates)[1]


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_plots(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for question in (QUESTIONS[5], QUESTIONS[6]):
        file = tmp_path / f"{question[0]}.{ending}"
        assert run(capsys, *question, "--plot", str(file))[0] == 0
        text = file.read_text()
        assert "<svg" in text
        assert ("<!doctype html>" in text) == (ending == "html")


def test_a_fit_answers_every_question(fits: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    ours, model = ["--fit", fits["qid"]], ["--params", "1e5", "--tokens", "1e6"]
    losses = ["--loss-law", "ouyang2024-loss"]
    for question in (
        ["predict", *model, "--bits", "3"],
        ["tokens-to-train", "--params", "1e5", "--bits", "3", "--qid", "0.01"],
        ["training-level", "--qid", "0.01", "--params", "1e5", "--bits", "3"],
        ["critical-tokens", "--params", "1e5", "--bits", "2", *losses],
        ["fewest-bits", *model, "--budget", "0.01"],
        ["project", "--tokens", "1e8", "--params", "1e5"],
        ["plan", "--memory", "1MiB", "--candidates", "a:1e5:1e6:2e5:4.2"],
        ["compare-laws", *model, "--bits", "3"],
    ):
        code, out, err = run(capsys, *question, *ours)
        assert (code, err) == (0, "")
        assert "simulated" in out


def test_fit_reads_tables_of_other_laws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss law needs no bits and no qid, a law of one width no bits: their tables are accepted, blanks are counted."""
    loss = ["parameters,tokens,baseline_loss"]
    loss += [f"{n},{d},{(1e10 / n) ** 0.1 + (1e6 / d) ** 0.3}" for n in (1e5, 1e6, 1e7) for d in (1e7, 1e8, 1e9)]
    (tmp_path / "loss.csv").write_text("\n".join([*loss, "1e5,1e10,"]))
    code, out, _ = run(capsys, "fit", "--csv", str(tmp_path / "loss.csv"), "--law", "ouyang2024-loss")
    assert code == 0
    assert "fitted to 9 rows" in out
    assert "left out: 1 rows without baseline_loss" in out
    two = ["parameters,tokens,qid", *(f"{n},{d},{1e-3 * (d / n) ** 0.5}" for n in (1e5, 1e6, 1e7) for d in (1e7, 1e8))]
    (tmp_path / "two.csv").write_text("\n".join(two))
    code, out, _ = run(capsys, "fit", "--csv", str(tmp_path / "two.csv"), "--law", "ouyang2024-2bit")
    assert code == 0
    assert "beta" in out
    code, _, err = run(capsys, "fit", "--csv", str(tmp_path / "two.csv"))
    assert code == 2
    assert "lacks column 'bits'" in err


CANDIDATE = ["--candidates", "a:7B:2T"]
BAD = [
    (["predict", "--params", "70", "--tokens", "15e12", "--bits", "4"], "70e9 for 70 billion"),
    (["predict", "--params", "7e9", "--tokens", "15", "--bits", "4"], "15e9 for 15 billion"),
    (["predict", "--params", "seven", "--tokens", "15e12", "--bits", "4"], "Write a number such as 7e9"),
    (["predict", *POINT, "--bits", "4", "--also", "group_size"], "NAME=VALUE"),
    (["predict", *POINT, "--bits", "4", "--law", "sun2025-capybara"], "--also exponent_bits=VALUE"),
    (["predict", *POINT, "--bits", "4", "--law", "kumar2024-ptq@biased"], "biased"),
    (["predict", *POINT, "--bits", "4", "--loss-fit", "{none}"], "Cannot read the fit"),
    (["tokens-to-train", "--params", "1e9", "--bits", "3", "--qid", "-1"], "qid=-1"),
    (["tokens-to-train", "--params", "70e9", "--bits", "4", "--strict"], "strict was asked for"),
    (["training-level", "--params", "1e9", "--bits", "3", "--qid", "0"], "Give qid_se"),
    (["training-level", "--params", "1e9", "--bits", "3"], "required: --qid"),
    (["critical-tokens", "--params", "1e9", "--bits", "3", "--loss-law", "none"], "need a law of the 16-bit loss"),
    (["critical-tokens", "--params", "1e5", "--bits", "3", "--fit", "{qid}"], "no loss law given"),
    (["fewest-bits", *POINT, "--budget", "0"], "budget=0"),
    (["fewest-bits", *POINT], "required: --budget"),
    (["project", "--tokens", "100"], "100e9 for 100 billion"),
    (["project", "--params", "70"], "70e9 for 70 billion"),
    (["project", "--vocabulary", "0"], "vocabulary=0"),
    (["project", "--plot", "x.png"], "must end in .svg or .html"),
    (["project", "--plot", "/proc/none/x.svg"], "Cannot write the plot"),
    (["project", "--strict"], "strict was asked for"),
    (["plan", "--memory=-24GiB", *CANDIDATE], "not above 0"),
    (["plan", "--memory", "24", *CANDIDATE], "has no unit"),
    (["plan", "--memory", "24GX", *CANDIDATE], "unknown unit 'GX'"),
    (["plan", "--memory", "24GiB", "--candidates"], "expected at least one argument"),
    (["plan", "--memory", "24GiB"], "required: --candidates"),
    (["plan", "--memory", "24GiB", "--candidates", "a:7:2T"], "7e9 for 7 billion"),
    (["plan", "--memory", "24GiB", "--candidates", "a:7B"], "name:params:tokens"),
    (["plan", "--memory", "24GiB", "--candidates", "{none}.csv"], "Cannot read the candidates"),
    (["plan", "--memory", "24GiB", *CANDIDATE, "--group-size", "0"], "group_size=0"),
    (["plan", "--memory", "24GiB", *CANDIDATE, "--fit", "{qid}"], "has no 16-bit loss"),
    (["plan", "--memory", "24GiB", *CANDIDATE, "--formats", "nf5_g64"], "Did you mean 'nf4_g64'"),
    (["compare-laws", "--params", "1e9"], "--tokens, --bits missing"),
    (["compare-laws", *POINT, "--bits", "4", "--level", "90"], "level=90"),
    (["compare-laws", *POINT, "--bits", "4", "--fit", "{none}"], "Cannot read the fit"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[f"{a[0]}: {said}" for a, said in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, fits: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *(argument.format(**fits) for argument in arguments))
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not out


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two methods, one twice as bad; sizes, tokens and widths as a law of QiD needs them."""
    rows = ["parameters,tokens,bits,method,qid"]
    generator = np.random.default_rng(0)
    for n in (1e6, 1e7, 1e8):
        for d in (1e8, 1e9, 1e10):
            for bits in (2, 3, 4):
                for method, factor in (("gptq", 1.0), ("nearest", 2.0)):
                    qid = factor * 0.02 * d**0.5 / n**0.2 / bits**5 * np.exp(0.05 * generator.standard_normal())
                    rows.append(f"{n},{d},{bits},{method},{qid}")
    rows.append("1e6,1e8,2,gptq,")
    file = tmp_path_factory.mktemp("table") / "t.csv"
    file.write_text("\n".join(rows))
    return str(file)


def test_laws_are_judged_on_a_table(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    question = ["compare-laws", "--csv", table, "--where", "method=gptq"]
    code, out, _ = run(capsys, *question, "--laws", "ouyang2024-unified", "ouyang2024-tokens", "cao2024-weak")
    assert code == 0
    assert "not judged: cao2024-weak" in out
    found = json.loads(run(capsys, *question, "--holdout", "later-tokens", "--json")[1])
    names = {row["name"]: row["median_relative_error"] for row in found["held_out"]}
    assert names["ouyang2024-unified"] < 0.1  # the planted form
    assert names["ouyang2024-unified"] < names["mean per format"]
    assert {"ouyang2024-unified", "kumar2024-ptq"} <= set(names)
    assert "ouyang2024-2bit" not in names  # three widths in the table
    assert list(found["holdouts"]) == ["later-tokens"]
    assert found["left_out"] == {"rows without qid": 1}


def test_a_fit_with_offsets_compares_methods(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "all.json")
    code, out, _ = run(capsys, "fit", "--csv", table, "--offset", "method", "--out", file)
    assert code == 0
    assert "offsets of method: standard deviation" in out
    model = ["--params", "1e7", "--tokens", "1e9", "--bits", "3", "--fit", file]
    values = {}
    for method in ("gptq", "nearest"):
        out = run(capsys, "predict", *model, "--also", f"method={method}", "--json")[1]
        values[method] = json.loads(out)["value"]
    assert values["nearest"] / values["gptq"] == pytest.approx(2.0, rel=0.1)
    out = run(capsys, "predict", *model)[1]
    assert "holds for: any method: the fit has gptq, nearest" in out
    plan = ["plan", "--memory", "1GB", "--candidates", "a:1e7:1e9:2e7:3.1", "--bits", "3", "--fit", file, "--json"]
    choices = json.loads(run(capsys, *plan)[1])["choices"]
    assert {c["method"]: c["qid"] for c in choices} == pytest.approx(values)
    code, _, err = run(capsys, "predict", *model, "--also", "method=gtpq")
    assert code == 2
    assert "Did you mean 'gptq'" in err


def test_fit_takes_a_formula_ties_and_huber(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "own.json")
    own = ["--formula", "QiD = k * D^b / N^a / P^c", "--noise", "huber", "--where", "method=gptq"]
    code, out, _ = run(capsys, "fit", "--csv", table, *own, "--fixed", "a=0.2", "--out", file)
    assert code == 0
    assert re.search(r"^b +0\.[45]", out, flags=re.M)
    code, out, _ = run(capsys, "predict", "--params", "1e7", "--tokens", "1e9", "--bits", "3", "--fit", file)
    assert code == 0
    assert "QiD = k * D^b / N^a / P^c" in out
    for wrong, said in (
        (["--formula", "QiD = k * D^"], "formula"),
        (["--tied", "beta"], "NAME=NAME"),
        (["--noise", "hubber"], "Unknown noise kind"),
        (["--offset", "methd"], "methd"),
        (["--vocabulary", "1"], "vocabulary=1"),
    ):
        code, out, err = run(capsys, "fit", "--csv", table, *wrong)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_law_show_names_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "law", "show", "kumar2024-ptq")[1]
    assert "published (kumar2024-ptq@with bias): " in out
    assert "held at 0" in out
