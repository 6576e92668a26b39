"""docs/questions.md shows what the program prints, and every question is on it."""

import runpy
from pathlib import Path

from bitlaw.cli import choices, questions

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "questions_page.py"))
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")


def test_the_page_shows_what_the_program_prints() -> None:
    """If this fails after a change that is meant: python benchmarks/questions_page.py, and read the difference."""
    assert len(SCRIPT["BLOCK"].findall(PAGE)) == 11
    assert SCRIPT["refreshed"](PAGE) == PAGE


def test_every_question_has_its_section() -> None:
    verbs = [v for room in (questions, choices) for v in vars(room).values() if type(v).__name__ == "Verb"]
    assert len(verbs) == 8
    assert not [verb.name for verb in verbs if f"`{verb.name}`\n" not in PAGE]
