"""Windows kept between calls: one tokenizing while text and tokenizer are the same, another as soon as one changes."""

from pathlib import Path
from typing import Any

import pytest

from bitlaw.measure import texts
from bitlaw.measure.texts import kept_windows
from bitlaw.suites import open_suite
from bitlaw.text import Windows, open_text


def test_texts_are_tokenized_once_until_they_change(
    suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = texts.token_windows

    def counted(*given: Any, **named: Any) -> Windows:
        calls.append("")
        return real(*given, **named)

    monkeypatch.setattr(texts, "token_windows", counted)
    file = tmp_path / "text.txt"
    file.write_text("one two three. " * 400)
    checkpoint = open_suite(suite_folder).checkpoints[0]
    first = kept_windows(checkpoint, open_text(file), 16, windows=4)
    assert kept_windows(checkpoint, open_text(file), 16, windows=4) is first
    assert len(calls) == 1
    assert kept_windows(checkpoint, open_text(file), 16, windows=4, seed=1).token_hash != first.token_hash
    file.write_text("four five six, " * 500)
    assert kept_windows(checkpoint, open_text(file), 16, windows=4).token_hash != first.token_hash
    assert len(calls) == 3
