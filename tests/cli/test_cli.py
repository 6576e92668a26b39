"""The real command on real stores: flow, JSON, one-line errors with exit code 2, and no torch where none is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bitlaw.catalog import KINDS
from bitlaw.cli.main import VERBS, build_parser, main
from bitlaw.store import open_store
from tests.measure.conftest import suite_folder  # noqa: F401 - a fixture

WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'transformers', 'tokenizers', 'safetensors', 'zstandard'):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
from bitlaw.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def measured(suite_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    store = tmp_path_factory.mktemp("cli") / "s.db"
    texts = ["--evaluation", str(suite_folder / "evaluation.txt"), "--calibration", str(suite_folder / "train.txt")]
    sizes = ["--evaluation-windows", "6", "--calibration-windows", "8", "--workers", "1", "--progress", "none"]
    variants = [
        "--methods",
        "gptq",
        "nearest",
        "--bits",
        "2",
        "4",
        "--group-size",
        "32",
        "--option",
        "gptq.damping=0.05",
    ]
    assert main(["measure", str(suite_folder), "--store", str(store), *variants, *texts, *sizes]) == 0
    return store


def test_measure_writes_rows_that_read_back(measured: Path) -> None:
    with open_store(measured) as store:
        rows = store.read(method="gptq")
    assert len(rows) == 6
    assert {m.asked.variant.options["damping"] for m in rows} == {0.05}


def test_records_list_export_import_digest(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "records", "list", "--store", str(measured), "--where", "method=gptq", "--where", "bits=2", "--json"
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["method"], row["bits"]) for row in rows] == [("gptq", 2.0)] * 3
    for kind in ("csv", "parquet"):
        copy = tmp_path / f"copy-{kind}.db"
        assert run(capsys, "records", "export", str(tmp_path / f"x.{kind}"), "--store", str(measured))[0] == 0
        assert run(capsys, "records", "import", str(tmp_path / f"x.{kind}"), "--store", str(copy))[0] == 0
        digests = [
            json.loads(run(capsys, "records", "digest", "--store", str(s), "--json")[1])["digest"]
            for s in (measured, copy)
        ]
        assert digests[0] == digests[1]


def test_predict_and_tokens_to_train_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "predict", "--params", "70e9", "--tokens", "1e14", "--bits", "4", "--json")
    answer = json.loads(out)
    assert round(answer["value"], 2) == 0.63
    assert answer["interval"]["low"] < answer["value"] < answer["interval"]["high"]
    assert not answer["inside"]
    _, out, _ = run(capsys, "tokens-to-train", "--params", "70e9", "--bits", "4", "--qid", "0.2", "--json")
    assert json.loads(out)["value"] == pytest.approx(17.3499e12, rel=1e-3)


def test_text_says_law_interval_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "predict", "--params", "70e9", "--tokens", "15e12", "--bits", "4")
    for word in ("QiD", "90% interval", "ouyang2024-4bit", "OUTSIDE the fitted range", "beside: ouyang2024-unified"):
        assert word in out
    _, out, _ = run(capsys, "law", "show", "ouyang2024-unified")
    assert "0.5251" in out


@pytest.mark.parametrize("verb", [v.name for v in VERBS])
def test_every_verb_teaches(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert f"bitlaw {verb}" in out
    assert verb in build_parser().format_help()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["measure", "--help"],
        ["predict", "--params", "1e9", "--tokens", "1e11", "--bits", "3"],
        ["tokens-to-train", "--params", "1e9", "--bits", "3"],
        ["law", "show"],
        ["catalog"],
    ],
    ids=" ".join,
)
def test_works_without_torch(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_fit_works_without_torch(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [
        f"{n},{d},{p},{0.02 * d**0.5 / n**0.2 / p**5}" for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9) for p in (2, 3, 4)
    ]
    table.write_text("\n".join(["parameters,tokens,bits,qid", *rows]))
    command = [sys.executable, "-c", WITHOUT_TORCH, "fit", "--csv", str(table), "--out", str(tmp_path / "f.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "beta" in done.stdout
    asked = ["predict", "--params", "1e7", "--tokens", "1e9", "--bits", "3", "--fit", str(tmp_path / "f.json")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inside the fitted range" in done.stdout


def test_catalog_lists_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "catalog")
    for entries in KINDS.values():
        assert all(name in out for name in entries)


BAD = [
    (["mesure"], "Did you mean 'measure'"),
    (["predict", "--params", "0", "--tokens", "1e9", "--bits", "4"], "parameters=0"),
    (["predict", "--params", "-1", "--tokens", "1e9", "--bits", "4"], "parameters=-1"),
    (["predict", "--params", "1e9", "--tokens", "nan", "--bits", "4"], "tokens=nan"),
    (["predict", "--params", "1e9", "--tokens", "1e9", "--bits", "0"], "bits=0"),
    (
        ["predict", "--params", "1e9", "--tokens", "1e9", "--bits", "4", "--law", "ouyang2024-unifed"],
        "Did you mean 'ouyang2024-unified'",
    ),
    (["predict", "--params", "1e9", "--tokens", "1e9", "--bits", "4", "--fit", "/nowhere.json"], "Cannot read the fit"),
    (["predict", "--params", "1e9"], "required"),
    (["law", "show", "kumar"], "Unknown law"),
    (["measure", "tinny", "--store", "{tmp}/s.db", "--methods", "gptq", "--bits", "4"], "Did you mean 'tiny'"),
    (["measure", "{suite}", "--store", "{tmp}/s.db", "--methods", "gtpq", "--bits", "4"], "Did you mean 'gptq'"),
    (["measure", "{suite}", "--store", "{tmp}/s.db", "--methods", "gptq", "--bits", "1.5"], "bits=1.5"),
    (["measure", "{suite}", "--store", "{tmp}/s.db", "--methods", "gptq", "--bits", "33"], "bits=33"),
    (["measure", "{suite}", "--store", "{tmp}/s.db", "--variant", "gptq itn4_g32"], "Unknown format 'itn4_g32'"),
    (
        ["measure", "{suite}", "--store", "{tmp}/s.db", "--methods", "gptq", "--bits", "4", "--option", "damping=1"],
        "METHOD.NAME=VALUE",
    ),
    (["measure", "{suite}", "--store", "{tmp}/s.db", "--plan", "tiny", "--bits", "4"], "Give either --plan or"),
    (["measure", "{tmp}", "--store", "{tmp}/s.db", "--methods", "gptq", "--bits", "4"], "suite.json"),
    (["records", "list", "--store", "{tmp}/none.db"], "none.db"),
    (["records", "export", "x.txt", "--store", "{store}"], ".csv or .parquet"),
    (["records", "list", "--store", "{store}", "--where", "bits=x"], "holds numbers"),
    (["records", "list", "--store", "{store}", "--where", "bit=2"], "Did you mean 'bits'"),
    (["fit", "--store", "{store}", "--where", "method=awq"], "method"),
    (["fit", "--csv", "{tmp}/none.csv"], "Cannot read the table"),
    (["train", "tinny", "--out", "{tmp}/t"], "tiny"),
    (["catalog", "formts"], "Unknown kind"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a[:5]) for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    measured: Path,
    suite_folder: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [a.format(tmp=tmp_path, suite=suite_folder, store=measured) for a in arguments]
    code, out, err = run(capsys, *filled)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not out
