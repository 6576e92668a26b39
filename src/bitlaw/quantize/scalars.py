"""Values of options as text, and back."""

from __future__ import annotations

from bitlaw.records import Scalar


def scalar(text: str) -> Scalar:
    """Return an option's value from its text: true, false, a whole number, a number, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def scalar_text(value: Scalar) -> str:
    """Return the text that `scalar` reads back as the value."""
    return str(value).lower() if isinstance(value, bool) else str(value)
