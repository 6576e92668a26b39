"""From archives of every study to datasets, cards, findings and both papers' figures, in a copy of the repository, with planted records."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitlaw.store import read_parquet
from tests.studies.simulated_archives import archive, measured

ROOT = Path(__file__).parents[2]
FEW = ("gpt2-0.2m", "opt-0.2m", "neox-0.2m")


def run(copy: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with archives of all studies, unpacked into it."""
    place = tmp_path_factory.mktemp("copy")
    for name in ("src", "studies", "docs", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place / name)
    sys.path.insert(0, str(ROOT / "studies" / "gpu"))
    try:
        work = __import__("work")
    finally:
        sys.path.pop(0)
        sys.modules.pop("work", None)
    studies = {
        name: work.read_study(ROOT / "studies" / name / "plan.toml")
        for name in ("lr-state", "native", "ablations", "mini-pythia-2", "families")
    }
    grid = studies["families"]
    few = tuple(m for m in grid.train.models if m.name in FEW)
    train = dataclasses.replace(grid.train, models=few, checkpoints=2)
    studies["families"] = dataclasses.replace(grid, train=train)
    suite = studies["lr-state"]
    extra = measured(studies["ablations"], suite.train, name=suite.suite)
    back = place / "back"
    for study in studies.values():
        rows = [] if study.train is None else measured(study, study.train, name=study.suite)
        if study.name == "lr-state":
            rows = list({m.key: m for m in (*rows, *extra)}.values())
        archive(back / "lease-1", study, rows, study.train)
    run(place, "studies/gpu/unpack.py", str(back))
    run(place, "studies/gpu/cards.py")
    return place


def test_datasets_are_whole_and_their_cards_count_them(copy: Path) -> None:
    data = copy / "src" / "bitlaw" / "data"
    shipped = ROOT / "src" / "bitlaw" / "data"
    before, after = (list(read_parquet(folder / "families.parquet")) for folder in (shipped, data))
    own = [{m.key for m in rows if m.asked.checkpoint.suite != "families-gpu"} for rows in (before, after)]
    assert own[0] == own[1]  # other suites of the dataset stay
    assert own[0]
    assert {m.asked.checkpoint.model for m in after if m.asked.checkpoint.suite == "families-gpu"} >= set(FEW)
    ablations = read_parquet(data / "ablations.parquet")
    assert {m.asked.evaluation.name for m in ablations} == {
        "corpus/validation.jsonl.zst", "corpus/wikitext2-test.txt.zst", "sample",
    }  # fmt: skip
    assert not {m.key for m in ablations} & {m.key for m in read_parquet(data / "lr-state.parquet")}
    assert (data / "mini-pythia-2-weight-changes.csv").is_file()
    assert (copy / "studies" / "families" / "families-gpu" / "suite.json").is_file()
    assert (copy / "studies" / "families" / "suite.json").read_text() == (
        ROOT / "studies/families/suite.json"
    ).read_text()
    said = run(copy, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/datasets")
    assert " failed" not in said


def test_unpacking_again_changes_nothing(copy: Path) -> None:
    data = copy / "src" / "bitlaw" / "data"
    names = sorted(file.name for file in data.glob("*.parquet"))
    before = {name: (data / name).read_bytes() for name in names}
    run(copy, "studies/gpu/unpack.py", str(copy / "back"))
    assert {name: (data / name).read_bytes() for name in names} == before


def test_findings_are_made_from_all_of_them(copy: Path) -> None:
    assert "not measured: none" in run(copy, "studies/findings/make.py")
    page = (copy / "docs" / "findings.md").read_text()
    assert "Not measured yet" not in page
    assert not re.search(r"\bnan\b", page)
    table = page.split("\n## ")[0].splitlines()
    verdicts = {line.split(" | ")[2] for line in table if line.startswith("| ") and "| claim |" not in line}
    assert {v.split(":")[0].split(",")[0] for v in verdicts} <= {"holds", "does not hold", "cannot be told"}


def test_every_item_of_the_first_paper_is_made(copy: Path) -> None:
    run(copy, "-m", "bitlaw.cli.main", "reproduce", "ouyang2024", "--out", str(copy / "figures"))
    script = "import json; from bitlaw.reproduce import reproduce; print(json.dumps(reproduce('ouyang2024', 'figures')['items']))"
    items = {one["name"]: one for one in json.loads(run(copy, "-c", script))}
    assert {name: one["missing"] for name, one in items.items() if one["state"] != "made"} == {}
