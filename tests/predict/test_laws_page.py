"""docs/laws.md says what the program says: its Python runs and prints what the page shows, its constants are the catalog's."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from bitlaw.laws import law_names, load_law

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_shows() -> None:
    blocks = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, flags=re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == shown


@pytest.mark.parametrize("name", law_names())
def test_every_law_is_in_the_table_with_its_constants(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|(.*)$", PAGE, flags=re.M)
    if name == "ouyang2024-quantized-loss":
        return  # the sum of two laws whose constants are in their own rows
    constants = dict(re.findall(r"(\w+) ([\d.e+-]+)", row.split("|")[1]))
    published = load_law(name).published
    known = published[0].values if published else {}
    assert {key: float(value) for key, value in constants.items()} == pytest.approx(known, rel=2e-7)
    assert ("k unknown" in row) == ("k" in load_law(name).names and "k" not in known)
