"""The page: complete, alone, and its numbers those of the records. Parsed with the standard library's HTML parser."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, Table, fit
from bitlaw.records import Seen
from bitlaw.report import report
from bitlaw.report.page import render
from bitlaw.store import open_store
from tests.report.simulated_suite import SIZES, simulate

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Collects ids, attributes that point somewhere, text, and the cells of each row with their data-value."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.table = ""
        self.rows: dict[str, list[list[tuple[str, float | None]]]] = {}
        self.anchored: dict[str, list[tuple[str, float | None]]] = {}
        self._cell: list[str] | None = None
        self._value: float | None = None
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [
            found[name] for name in ("src", "href", "xlink:href", "action", "data", "srcset") if found.get(name)
        ]
        if tag == "table":
            self.table = found["id"]
            self.rows[self.table] = []
        elif tag == "tr":
            self.rows[self.table].append([])
            if "id" in found:
                self.anchored[found["id"]] = self.rows[self.table][-1]
        elif tag in ("td", "th"):
            self._cell, self._value = [], float(found["data-value"]) if "data-value" in found else None

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[self.table][-1].append(("".join(self._cell), self._value))
            self._cell = None

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def column(self, table: str, head: str) -> list[tuple[str, float | None]]:
        place = [text for text, _ in self.rows[table][0]].index(head)
        return [row[place] for row in self.rows[table][1:]]


MEASUREMENTS = simulate()
SECTION = "tiny-scored-on-sample-evaluation-64-windows-of-128-tokens"


@pytest.fixture(scope="module")
def html():
    return render(MEASUREMENTS, title="A <planted> law & its page")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_element_is_closed_and_ids_are_unique(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_nothing_comes_from_elsewhere(html, page):
    assert all(link.startswith("#") for link in page.links)
    assert not {"link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|@font-face", html)
    assert page.tags.count("script") == page.tags.count("style") - html.count('<style type="text/css">') == 1
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) == {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }


def test_every_link_leads_to_something_on_the_page(page):
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_title_is_text(html):
    assert "<title>A &lt;planted&gt; law &amp; its page</title>" in html


def test_every_figure_is_there_and_has_points_for_every_measurement(html, page):
    names = ["qid-gptq", "qid-nearest", "bits", "exponents", "predicted", "loss-gptq", "loss-nearest",
             "divergence-gptq", "divergence-nearest", "frontier"]  # fmt: skip
    figures = re.findall(rf'<figure id="{SECTION}-([^"]+)">(.*?)</figure>', html, flags=re.DOTALL)
    assert [name for name, _ in figures] == names
    for name, body in figures:
        assert body.count("<svg ") == body.count("</svg>") == 1, name
        assert "<figcaption>" in body, name
    keys = {name: re.findall(r'href="#row-([0-9a-f]{32})"', body) for name, body in figures}
    for method in ("gptq", "nearest"):
        expected = sorted(m.key for m in MEASUREMENTS if m.asked.variant.method == method)
        assert sorted(keys[f"qid-{method}"]) == sorted(expected * 2)  # the linear and the logarithmic view
        assert sorted(keys[f"divergence-{method}"]) == sorted(expected * 2)
        assert set(keys["predicted"]) >= set(expected)
    assert len(keys["predicted"]) == 108
    assert keys["exponents"] == []


def test_the_numbers_of_the_big_table_are_those_of_the_records(page):
    heads = [text for text, _ in page.rows[f"{SECTION}-all-table"][0]]
    assert len(page.rows[f"{SECTION}-all-table"]) - 1 == len(MEASUREMENTS)
    for m in MEASUREMENTS:
        row = dict(zip(heads, page.anchored[f"row-{m.key}"]))
        assert row["model"][0] == m.asked.checkpoint.model
        assert row["D"][1] == m.asked.checkpoint.tokens
        assert (row["loss"][1], row["loss s.e."][1]) == (m.loss, m.loss_se)
        assert row["loss"][0] == f"{m.loss:.4f}"
        if m.asked.variant.method == "none":
            assert row["QiD"] == ("–", None)
        else:
            numbers = [row[name][1] for name in ("QiD", "QiD s.e.", "KL", "agree %", "stored")]
            assert numbers == [m.qid, m.qid_se, m.kl, 100 * m.agreement, m.seen.bits_per_weight]
            assert row["QiD"][0] == f"{m.qid:.5f}"


def test_the_last_checkpoints_are_those_of_the_records(page):
    last = {
        (m.asked.variant.method, m.asked.checkpoint.model, m.asked.variant.bits): m
        for m in sorted(MEASUREMENTS, key=lambda m: m.asked.checkpoint.tokens)
    }
    table = page.rows[f"{SECTION}-last-table"]
    assert len(table) - 1 == 2 * len(SIZES)
    for row in table[1:]:
        for place, bits in ((5, 2.0), (6, 3.0), (7, 4.0)):
            assert row[place][1] == last[row[0][0], row[1][0], bits].qid
            assert "±" in row[place][0]


def test_the_constants_are_those_of_a_fit_made_apart(page):
    expected = fit("ouyang2024-unified", Table.from_measurements(MEASUREMENTS).where(method="gptq"))
    table = [row for row in page.rows[f"{SECTION}-exponents-table"][1:] if row[0][0] == "gptq"]
    assert {row[2][0]: row[3][1] for row in table} == pytest.approx(dict(expected.values), rel=1e-9)
    assert {row[2][0]: row[5][1] for row in table} == {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
    low, high = expected.intervals["beta"]
    assert next(row[4][0] for row in table if row[2][0] == "beta") == f"[{low:.3f}, {high:.3f}]"


def test_the_headline_says_what_the_largest_model_loses(page):
    largest = [m for m in MEASUREMENTS if m.asked.checkpoint.model == "neox-397k" and m.asked.variant.method == "gptq"]
    two_bits = max((m for m in largest if m.asked.variant.bits == 2), key=lambda m: m.asked.checkpoint.tokens)
    assert (
        f"gptq costs the largest model (397k parameters, 2.5M tokens) {two_bits.qid:.4f} ± {two_bits.qid_se:.4f}"
        in page.text
    )
    assert "QiD at 2 bits grew in 3 of 3 models" in page.text


def test_conditions_name_hashes_versions_and_options(page):
    for words in ("e" * 64, "c" * 64, "torch 2.13.0", "damping = 0.01", "float32", "64 windows of 128 tokens", "2026-11-22",
                  "group size 128", "8,128 a measurement", "2.141 stored bits per weight"):  # fmt: skip
        assert words in page.text, words


def test_the_same_measurements_make_the_same_bytes():
    rows = simulate(bits=(2.0,))
    assert render(list(reversed(rows))) == render(rows)


def some(**changes):
    """The smallest checkpoint's measurements, the first quantized one changed."""
    first = [m for m in MEASUREMENTS if m.asked.checkpoint.model == "neox-25k"][:14]
    seen = dataclasses.replace(first[1].seen, **changes)
    return [first[0], dataclasses.replace(first[1], seen=seen), *first[2:]]


def test_a_failure_is_listed_with_its_reason_and_is_in_no_figure():
    rows = some()
    failed = dataclasses.replace(rows[1], seen=Seen(state="failed", reason="Hessian of <layer 3> & co"))
    html = render([rows[0], failed, *rows[2:8]], fits=[])
    page = Page(html)
    assert [row[4][0] for row in page.rows["failed-table"][1:]] == ["Hessian of <layer 3> & co"]
    assert f"#row-{failed.key}" not in page.links
    assert "row-" + failed.key in page.ids
    assert re.search(r'<li class="bad"><b>1</b> failed', html)
    assert "None." in Page(render(rows[:2], fits=[])).text


def test_what_is_left_out_or_not_as_asked_is_said():
    rows = some(fallback_layers=2, fallbacks="layer 3 rounded to nearest", windows=1)
    unknown = rows[2].asked.checkpoint
    unknown = dataclasses.replace(unknown, tokens=None, model="mystery")
    lost = dataclasses.replace(rows[2], asked=dataclasses.replace(rows[2].asked, checkpoint=unknown))
    page = Page(render([*rows, lost], fits=[]))
    assert "1 measurement had layers that were not quantized as asked" in page.text
    assert "1 measurement of a single window: no standard error" in page.text
    assert "1 measurement: no training tokens known" in page.text
    assert f"#row-{lost.key}" not in page.links
    assert f"row-{lost.key}" in page.ids


def test_everything_failed_or_only_baselines_still_make_a_page():
    failed = [dataclasses.replace(m, seen=Seen(state="failed", reason="no memory")) for m in MEASUREMENTS[:3]]
    assert "Every measurement here failed" in render(failed)
    baselines = [m for m in MEASUREMENTS if m.asked.variant.method == "none"]
    assert "there is no degradation to show" in render(baselines)


def test_a_single_measurement_makes_a_page():
    page = Page(render([MEASUREMENTS[1]]))
    assert "No law is fitted to gptq" in page.text
    assert f"{SECTION}-qid-gptq" in page.ids


def test_two_setups_of_one_method_get_labels_that_differ():
    both = [*simulate(bits=(2.0,)), *simulate(group_size=32, bits=(2.0,), seed=1)]
    page = Page(render([m for m in both if m.asked.checkpoint.step == 240], fits=[]))
    methods = {row[0][0] for row in page.rows[f"{SECTION}-last-table"][1:]}
    assert methods == {"gptq int_g128", "gptq int_g32", "nearest int_g128", "nearest int_g32"}


def test_suites_are_apart():
    few = [m for m in simulate(bits=(2.0,)) if m.asked.checkpoint.step < 120]
    others = [m for m in simulate(suite="other", bits=(2.0,)) if m.asked.checkpoint.step < 120]
    page = Page(render([*few, *others], fits=[]))
    assert {SECTION, SECTION.replace("tiny", "other", 1)} <= set(page.ids)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_given_fits_are_the_ones_shown():
    gptq = [m for m in MEASUREMENTS if m.asked.variant.method == "gptq"]
    made = fit("ouyang2024-unified", Table.from_measurements(gptq), fixed={"alpha": 0.5})
    chosen = [m for m in gptq if m.asked.checkpoint.model == "neox-25k"][:6]
    for given in ([made], {"gptq": made}, iter([Fit.from_json(made.to_json())])):
        page = Page(render(chosen, fits=given))
        rows = page.rows[f"{SECTION}-exponents-table"][1:]
        assert {row[0][0] for row in rows} == {"gptq"}
        assert [(row[3][1], row[4][0]) for row in rows if row[2][0] == "alpha"] == [(0.5, "held fixed")]


def test_warnings_of_a_fit_are_shown():
    gptq = [m for m in simulate(bits=(2.0,)) if m.asked.variant.method == "gptq"]
    made = fit("ouyang2024-unified", Table.from_measurements(gptq))
    (warning,) = [w for w in made.warnings if "all rows have one value of bits" in w]
    assert f"gptq, ouyang2024-unified: {warning}." in Page(render(gptq[:3], fits=[made])).text


def test_a_fit_of_something_else_is_refused():
    gptq = [m for m in simulate(suite="other") if m.asked.variant.method == "gptq"]
    made = fit("ouyang2024-unified", Table.from_measurements(gptq))
    with pytest.raises(
        InputError, match="made from methods gptq of suites other, which these measurements do not hold"
    ):
        render(MEASUREMENTS, fits=[made])


def test_an_empty_store_or_list_is_an_input_error(tmp_path):
    with open_store(tmp_path / "runs.db") as store, pytest.raises(InputError, match=r"runs\.db holds no measurement"):
        report(store, tmp_path / "report.html")
    with pytest.raises(InputError, match="nothing to report"):
        report([], tmp_path / "report.html")
    with pytest.raises(InputError, match="No store at"):
        report(tmp_path / "none.db", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_store_and_its_path_give_the_same_page_with_its_digest(tmp_path):
    with open_store(tmp_path / "runs.db") as store:
        store.add(some()[:3])
        assert report(store, tmp_path / "new" / "a.html", fits=[]) == tmp_path / "new" / "a.html"
        digest = store.digest()
    report(tmp_path / "runs.db", tmp_path / "new" / "b.html", fits=[])
    text = (tmp_path / "new" / "a.html").read_text()
    assert text == (tmp_path / "new" / "b.html").read_text()
    assert digest in text
    assert "runs.db" in text
    assert str(tmp_path) not in text
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.html", "b.html"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write the report"):
        report(some(), tmp_path / "file" / "report.html", fits=[])


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "safetensors", "pandas", "pyarrow"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
from tests.report.simulated_suite import simulate
from bitlaw.report import report
print(report(simulate(bits=(2.0,)), sys.argv[2]))
"""


def test_the_page_is_made_without_torch(tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        BLOCKED,
        str(Path(__file__).parents[2]),
        str(tmp_path / "report.html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report.html").stat().st_size > 100_000
