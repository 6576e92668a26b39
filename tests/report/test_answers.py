"""Pictures of answers: what the table says is in them, they are the same bytes each time, and they need nothing else."""

import re
from pathlib import Path

import pytest

from bitlaw.errors import InputError
from bitlaw.predict import plan, project
from bitlaw.report.answers import draw_plan, draw_projection

MODELS = ("s:85e6:1e11:162e6", "m:805e6:1e11:1.01e9")


def test_a_projection_holds_figure_1(tmp_path: Path) -> None:
    page = draw_projection(project(), tmp_path / "f.html").read_text()
    rows = re.findall(r"<tr><td>(\w+)</td><td>(\d)</td><td>([\d.]+)</td>.*?<td>([\w ]+)</td><td>ouyang", page)
    assert len(rows) == 9
    assert ("70B", "4", "0.630", "may be worse than random") in rows
    assert ("7B", "2", "50.0", "worse than random") in rows
    assert "ln(50304) = 10.83" in page


def test_a_plan_holds_every_choice(tmp_path: Path) -> None:
    made = plan("1GiB", MODELS)
    page = draw_plan(made, tmp_path / "p.html").read_text()
    assert page.count("<tr>") == 1 + len(made.choices)
    assert page.count("<td>yes</td><td>yes</td>") == sum(c.frontier and c.fits for c in made.choices)
    assert f"{made.best.name} {made.best.method} {made.best.format}" in page


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_the_same_bytes_and_nothing_from_elsewhere(ending: str, tmp_path: Path) -> None:
    for draw, made in ((draw_projection, project(bits=[3])), (draw_plan, plan("1GiB", MODELS[:1]))):
        first, second = (draw(made, tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert first == second
        assert not re.search(rb'(?:src|href)="https?:', first)
        assert b"<script" not in first


def test_the_projection_has_a_panel_a_width_and_a_curve_a_size(tmp_path: Path) -> None:
    one = draw_projection(project(sizes=[7e9], bits=[3]), tmp_path / "one.svg").read_text()
    many = draw_projection(project(sizes=[7e9, 70e9], bits=[2, 3]), tmp_path / "many.svg").read_text()
    assert (len(re.findall(r'id="axes_\d+"', one)), len(re.findall(r'id="axes_\d+"', many))) == (1, 2)
    bands = [len(re.findall(r'id="FillBetweenPolyCollection_\d+"', text)) for text in (one, many)]
    assert bands == [1, 4]


def test_what_cannot_be_drawn_or_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.svg or \.html"):
        draw_projection(project(), tmp_path / "f.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write the plot"):
        draw_projection(project(sizes=[7e9], bits=[3]), tmp_path / "file" / "f.svg")
    with pytest.raises(InputError, match="nothing to draw"):
        draw_plan(plan("1GiB", ["a:7e9:100e12"], bits=[2]), tmp_path / "p.svg")
