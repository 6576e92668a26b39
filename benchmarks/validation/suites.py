"""The project's own suites: each law held out within a suite, between two, and on records that came later."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlaw.datasets import load, names
from bitlaw.fit import Contender, Holdout, Table, compare, difference, joined
from bitlaw.fit.public import public_table
from validation.cells import SCOREBOARD, percent, points, scoreboard, text
from validation.contending import OURS, UNTOLD, contenders, family, headroom, with_family

ENOUGH_SIZES = 4  # of a later suite, for holdouts of its own


def own_suite(name: str, vocabulary: int, other: str, others: int, *, told: Mapping[str, Any], starts: int = 3) -> str:
    """Return the section of one of the project's suites: a scoreboard, methods one by one, then together."""
    table, away = public_table(name), public_table(other)
    ours = {"fixed": {"lnV": math.log(vocabulary)}, **told}
    parts, boards = [], {}
    for method in ("gptq", "nearest"):
        rows = table.where(method=method)
        names = ["largest-size", "later-tokens", "bits"]
        listed = contenders(rows, options={}, ours=ours)
        found = compare(listed, rows, names, starts=starts)
        words = f"every row, from those of {other}"
        left = family(
            listed,
            headroom(rows, vocabulary),
            headroom(away.where(method=method), others),
            starts=starts,
            words=words,
        )
        boards[method] = with_family(found, left)
        parts.append(f"**{method}**, {len(rows)} rows:\n")
        parts.append(text(boards[method]) + "\n")
    methods = np.unique(table["method"])
    parts.append(
        f"**all methods** ({', '.join(methods)}), {len(table)} rows, every law with a factor for each method (`offsets`):\n"
    )
    listed = contenders(table, options={"offsets": ("method",)}, ours=ours)
    names = ["largest-size", "later-tokens", "bits", *(["method"] if len(methods) > 2 else [])]
    boards["all methods"] = compare(listed, table, names, starts=starts)
    parts.append(text(boards["all methods"]) + "\n")
    return "\n".join([SCOREBOARD, scoreboard(boards) + "\n", *parts])


def mini() -> str:
    return (
        "## mini-pythia: six sizes, 0.2M to 17.7M, to 512M tokens\n\nWhat our laws know beforehand comes from "
        "this very suite, so here they know instead what others published of the exponents of tokens and size "
        "(`bitlaw.laws.ours.PUBLISHED_EXPONENTS`: the mean of Ouyang 2024 and Kumar 2024, their difference as standard deviation). "
        "Their form was found on these rows, so these holdouts show that the form extrapolates within the suite, not that "
        "it was foreseen.\n\n" + own_suite("mini-pythia", 4096, "tiny-suite", 1024, told=UNTOLD) + beyond()
    )


def beyond() -> str:
    """After the turn: the simpler of our laws, on the later half of the run."""
    table = public_table("mini-pythia")
    parts = [
        "\n**After the turn**: rows beyond 60M tokens (steps beyond 900), where one power law has a fair chance.\n"
    ]
    for method in ("gptq", "nearest"):
        rows = table.where(method=method)
        rows = rows.take(rows["tokens"] > 6e7)
        ours = {"fixed": {"lnV": math.log(4096)}, **UNTOLD}
        listed = [c for c in contenders(rows, options={}, ours=ours) if c.label != "bitlaw-sensitivity"]
        found = compare(listed, rows, ["largest-size", "later-tokens", "bits"], starts=3, baselines=False)
        parts.append(f"**{method}**, {len(rows)} rows:\n\n{text(found)}\n")
    return "\n".join(parts)


def tiny() -> str:
    return (
        "## tiny-suite: the demo's three sizes, 25k to 397k, to 2.5M tokens\n\nThree models of noise about as large as "
        "the degradation at 4 bits. Our laws with what mini-pythia said (`priors`), but for `family`, which fits mini-pythia itself and "
        "knows the published exponents.\n\n" + own_suite("tiny-suite", 1024, "mini-pythia", 4096, told={})
    )


def later_suites() -> tuple[str, ...]:
    """Return the datasets of mini-pythia's recipe that were measured after it: mini-pythia-2 and so on."""
    return tuple(name for name in names() if re.fullmatch(r"mini-pythia-\d+", name))


def blind() -> str:
    """Records that came after our laws were fixed, predicted from mini-pythia; their own holdouts where sizes are many."""
    parts = ["## Blind: records that came after our laws were fixed", ""]
    for name in later_suites():
        new = Table.from_measurements(load(name), source=name)
        parts += [predicted(name, new), ""]
        if len(np.unique(new["parameters"])) >= ENOUGH_SIZES:
            parts += [within(name, new), ""]
    return "\n".join(parts).rstrip()


def described(name: str, new: Table, seen: Table) -> str:
    """Return in words what a later suite holds, beside the one that was seen."""
    largest = {str(m): new.where(model=m) for m in np.unique(new["model"])}
    again = [m for m, rows in largest.items() if rows["parameters"][0] in seen["parameters"]]
    said = ", ".join(
        f"{m} ({rows['parameters'][0] / 1e6:.1f}M parameters, to {rows['tokens'].max() / 1e6:.0f}M tokens"
        f"{', a size of mini-pythia with another seed' if m in again else ''})"
        for m, rows in largest.items()
    )
    return f"{name}, {len(new)} rows: {said}."


def predicted(name: str, new: Table) -> str:
    """Return the table of laws fitted to mini-pythia and asked about a later suite, model by model."""
    seen = public_table("mini-pythia")
    models = [str(model) for model in np.unique(new["model"])]
    lines = [f"| rows | law | {' | '.join(models)} | all | difference |", "|---" * (len(models) + 4) + "|"]
    told = {"fixed": {"lnV": math.log(4096)}, **UNTOLD}
    laws = ("bitlaw-sensitivity", "ouyang2024-unified", "kumar2024-ptq")
    listed = [Contender(law=law, options=told if law in OURS else {}) for law in laws]
    for method in ("gptq", "nearest"):
        both = joined([seen.where(method=method), new.where(method=method)])
        late = np.isin(both["suite"], new["suite"])
        masks = {**{model: late & (both["model"] == model) for model in models}, "all": late}
        found = {}
        for label, turn in masks.items():
            kept = both.take(~late | turn)
            part = Holdout(name=label, words="", turns=(np.isin(kept["suite"], new["suite"]),))
            for score in compare(listed, kept, [part], starts=3, baselines=False).held_out:
                found[score.name, label] = score
        for law in laws:
            cells = [
                f"{percent(s.median_relative_error)} ({s.log_r2:.2f}; {s.covered:.2f})"
                for s in (found[law, label] for label in masks)
            ]
            cells.append("" if law in OURS else points(difference(found[OURS[0], "all"], found[law, "all"])))
            lines.append(f"| {method} | {law} | {' | '.join(cells)} |")
    return (
        f"{described(name, new, seen)} Every law is fitted to mini-pythia's rows of the method and asked about these; nothing was chosen "
        "by them. Seeds alone scatter by a fifth to a third ([findings.md](findings.md)). Difference: ours minus this law over all "
        "rows, points of median error, 90 % interval.\n\n" + "\n".join(lines)
    )


def within(name: str, new: Table) -> str:
    """Return the holdouts of a later suite by itself."""
    boards, parts = {}, []
    for method in ("gptq", "nearest"):
        rows = new.where(method=method)
        listed = contenders(rows, options={}, ours={"fixed": {"lnV": math.log(4096)}})
        boards[method] = compare(listed, rows, ["largest-size", "later-tokens", "bits"], starts=3)
        parts.append(f"**{name}, {method}**, {len(rows)} rows:\n\n{text(boards[method])}\n")
    words = f"**{name} by itself**, our laws with what mini-pythia said:"
    return "\n".join([words, "", SCOREBOARD, scoreboard(boards), "", *parts])
