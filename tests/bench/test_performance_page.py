"""docs/performance.md shows the tables that its script makes from the benchmarks' lines; disturbed and superseded lines count as they say."""

import json
from pathlib import Path

import pytest
from benchmarks.performance_page import all_blocks, page, read

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.jsonl"))


def test_the_page_shows_the_tables() -> None:
    """If this fails after new results: python benchmarks/performance_page.py benchmarks/results/*.jsonl, and read the difference."""
    told = (ROOT / "docs" / "performance.md").read_text()
    lines = [line for line in page(RESULTS) if line and not line.startswith("#")]
    assert len(lines) > 60
    missing = [line for line in lines if line not in told]
    assert not missing


def written(path: Path, *lines: dict) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(**changes: object) -> dict:
    stages = {"statistics": 1.0, "factor": 2.0, "blocks": 10.0, "head": 3.0}
    return {
        "what": "twelve",
        "layers": 4,
        "sweep": 20.0,
        "bare": 1.5,
        "ceilings": {"bf16": 500.0},
        "roofline_seconds": stages,
        "share_of_roofline": 0.8,
    } | changes


def test_superseded_and_disturbed_lines(tmp_path: Path) -> None:
    instead = run(ceilings_instead={"bf16": 1000.0})
    (line,) = read([written(tmp_path / "lines.jsonl", run(superseded="by another"), instead)])
    assert line["ceilings"]["bf16"] == 1000.0
    assert line["roofline_seconds"] == {"statistics": 0.5, "factor": 2.0, "blocks": 5.0, "head": 1.5}
    assert line["share_of_roofline"] == pytest.approx(9.0 / 20.0)


def test_all_blocks_count_the_head_once() -> None:
    """13 evaluations of a head of 3 s and 4 blocks of 4.25 s: 12 blocks and one head."""
    whole = all_blocks(run(), 12)
    assert whole["sweep"] == pytest.approx(12 * 4.25 + 3.0)
    assert whole["bare"] == pytest.approx(3 * (1.5 - 3.0 / 13) + 3.0 / 13)
    assert whole["share_of_roofline"] == pytest.approx((3 * 13.0 + 3.0) / whole["sweep"])
