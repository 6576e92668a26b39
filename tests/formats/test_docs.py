"""docs/formats.md holds what docs/formats_table.py prints; only the measured decibels may differ a little."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def lines(text: str) -> dict[str, tuple[str, float]]:
    """Return each table line by its format: the line without its decibels, and them."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\| `(\S+)` \|.*\|) (-?\d+\.\d) \|(.*)\|", line):
            found[match.group(2)] = (match.group(1) + match.group(4), float(match.group(3)))
    return found


def test_the_tables_are_what_the_script_prints() -> None:
    spec = importlib.util.spec_from_file_location("formats_table", DOCS / "formats_table.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (DOCS / "formats.md").read_text()
    written, printed = lines(text), lines(script.tables())
    assert {name: line for name, (line, _) in written.items()} == {name: line for name, (line, _) in printed.items()}
    assert len(printed) > 80
    for name, (_, decibels) in printed.items():
        assert written[name][1] == pytest.approx(decibels, abs=0.11), name
    assert script.paper_duplicates() in text
