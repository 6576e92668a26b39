"""Refresh docs/questions.md: run every command that stands alone before an output block, and put in what it prints.

python benchmarks/questions_page.py            rewrites the page
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

from bitlaw.cli.main import main as run

PAGE = Path(__file__).parent.parent / "docs" / "questions.md"
BLOCK = re.compile(r"```(bash|python)\n((?:(?!```).)*?)```\n\n```\n(?:.*?)```", flags=re.S)


def printed(kind: str, code: str) -> str:
    """Return what a command (standard output and errors) or a Python example prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if kind == "python":
            exec(code, {})
        else:
            run(shlex.split(code.replace("\\\n", " "))[1:])
    return said.getvalue()


def refreshed(text: str) -> str:
    """Return the page with every output block made anew."""
    return BLOCK.sub(lambda m: f"```{m[1]}\n{m[2]}```\n\n```\n{printed(m[1], m[2])}```", text)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
