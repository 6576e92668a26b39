"""What every question shares on the command line: counts such as 70B, which law answers, and where an answer comes from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bitlaw.cli.output import number
from bitlaw.errors import InputError

MODEL = "N, non-embedding parameters, such as 70e9 or 70B"
TOKENS = "D, training tokens, such as 15e12 or 15T"
BITS = "P, bits per weight, such as 4"
NO_END = 1e21


def a_count(text: str) -> float:
    """Return the number of `70e9` or `70B`, for argparse."""
    from bitlaw.predict.memory import parse_count

    try:
        return parse_count(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_law(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Declare which law answers, at which level, and what to do outside its range."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--law",
        default="auto",
        help="a published law by name, name@setting, or records: a fit to the measurements that come with bitlaw (default: auto)",
    )
    if several:
        source.add_argument(
            "--fit",
            action="append",
            default=[],
            help="a fit of your own, one for each method; may be given several times",
        )
    else:
        source.add_argument("--fit", help="a fit of your own, written by `bitlaw fit --out`")
    add_level(parser)


def add_level(parser: argparse.ArgumentParser) -> None:
    """Declare the level of intervals, strictness and further variables."""
    parser.add_argument("--level", type=float, default=0.9, help="level of the interval (default: 0.9)")
    parser.add_argument("--strict", action="store_true", help="refuse (exit code 2) outside the fitted range")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what the law reads beyond N, D and P, such as group_size=128 or method=gptq; may be given several times",
    )


def add_loss(parser: argparse.ArgumentParser) -> None:
    """Declare which law gives the 16-bit loss."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--loss-law", default="auto", help="law of the 16-bit loss (default: auto, published beside published laws)"
    )
    source.add_argument("--loss-fit", help="a fit of a law of the 16-bit loss, beside --fit")


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments that `add_law` and `add_level` declared."""
    return {"law": read_fit(given.fit) if given.fit else given.law, **conditions(given)}


def conditions(given: argparse.Namespace) -> dict[str, Any]:
    """Return level, strictness and further variables."""
    return {"level": given.level, "strict": given.strict, "also": also(given.also)}


def losses(given: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword argument that `add_loss` declared."""
    return {"loss_law": read_fit(given.loss_fit) if given.loss_fit else given.loss_law}


def read_fit(path: str) -> Any:
    """Return the Fit in a file."""
    from bitlaw.fit.result import Fit

    return Fit.from_json(Path(path))


def also(given: list[str]) -> dict[str, float | str]:
    """Return name -> value of `--also`; what is no number is text. Raises InputError."""
    values: dict[str, float | str] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        if not name or not value:
            raise InputError(f"--also {text!r} is not of the form NAME=VALUE, such as group_size=128.")
        try:
            values[name] = float(value)
        except ValueError:
            values[name] = value
    return values


def no_end(end: float | None) -> bool:
    """True for an end of an interval that nobody can give, or that is larger than any count of tokens, let alone nats."""
    return end is None or end > NO_END


def interval(part: dict[str, Any] | None) -> str:
    """Return an interval as people read it."""
    if part is None:
        return "no interval"
    ends = " to ".join("no end" if no_end(end) else number(end) for end in (part["low"], part["high"]))
    return f"{part['level']:.0%} interval {ends}"


def origin(data: dict[str, Any]) -> list[str]:
    """Return lines that say which law answered, what its interval is made of and whether it was inside its range."""
    constants = ", ".join(f"{name} {number(value)}" for name, value in data["constants"].items())
    lines = [
        f"law: {data['law']}, {data['formula']}; {constants}",
        f"source: {data['source']} ({data['sureness']})",
        f"interval: {data['interval']['made_of']}",
    ]
    return lines + range_lines([o["words"] for o in data["outside"]])


def range_lines(outside: list[str]) -> list[str]:
    """Return a loud line for each variable outside the fitted range, or one that says all are inside."""
    return [f"OUTSIDE the fitted range: {words}" for words in outside] or ["inside the fitted range"]


def beside(data: dict[str, Any], what: str, unit: str) -> list[str]:
    """Return a line for each law that stands beside the answer."""
    return [
        f"beside: {b['law']} says {what} {'never' if b['value'] is None else number(b['value'])} {unit}"
        + ("" if b["ratio"] is None else f" ({number(b['ratio'])} times)")
        for b in data["beside"]
    ]


def of_records(data: dict[str, Any]) -> list[str]:
    """Return a line on what the shipped records say, or that they do not cover the question."""
    found = data["records"]
    if found is None:
        return []
    if found["value"] is None:
        return [f"records: the {found['source']} does not reach this question: {'; '.join(found['outside'])}"]
    return [f"records: the {found['source']} says QiD {number(found['value'])} nats ({number(found['ratio'])} times)"]


def holds(data: dict[str, Any]) -> list[str]:
    """Return a line for each condition of an answer."""
    return [f"holds for: {line}" for line in data["conditions"]]
