"""README and docs agree with the program: every verb, catalog entry and option that exists is told, and every command told works."""

import re
import shlex
from pathlib import Path

import pytest

from bitlaw.catalog import KINDS
from bitlaw.cli.main import TEACH, VERBS, build_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\s*(?:\$ )?(bitlaw [a-z-]+(?: .*)?)$")


def commands(text: str) -> list[str]:
    """Lines of code that run bitlaw, with continuation lines joined and trailing remarks cut off."""
    code = "\n".join(re.findall(r"```(?:bash|sh|console|shell)\n(.*?)```", text, flags=re.S))
    found = [COMMAND.match(line) for line in code.replace("\\\n", " ").splitlines()]
    return [re.split(r"\s{2,}#|\s#\s", m.group(1))[0].strip() for m in found if m]


def test_every_verb_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [verb.name for verb in VERBS if f"bitlaw {verb.name}" not in text]
    assert not missing


@pytest.mark.parametrize("kind", KINDS)
def test_every_catalog_entry_is_documented(kind: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in KINDS[kind] if not re.search(rf"(?<![\w-]){re.escape(name)}", text)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_docs_parse(page: Path) -> None:
    for command in commands(page.read_text()):
        words = shlex.split(command)[1:]
        if words and words[0] not in ("--help", "VERB"):
            build_parser().parse_args(words)


def test_help_names_only_verbs_that_exist() -> None:
    known = {verb.name for verb in VERBS}
    taught = set(re.findall(r"^  bitlaw ([a-z-]+)", TEACH, flags=re.M))
    assert taught
    assert taught <= known
    for verb in VERBS:
        for line in re.findall(r"^  (bitlaw .*)$", verb.teach, flags=re.M):
            build_parser().parse_args(shlex.split(line)[1:])


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
