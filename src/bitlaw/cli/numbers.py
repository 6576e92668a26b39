"""Verbs about laws and results: fit, law, report, catalog. None of them loads torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bitlaw.catalog import KINDS
from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb
from bitlaw.cli.where import add_where, filters
from bitlaw.errors import InputError


def add_table(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declare where the rows come from."""
    source = parser.add_mutually_exclusive_group(required=required)
    source.add_argument("--store", help="a store: an SQLite file, postgresql://USER@HOST/DATABASE or dataset:NAME")
    source.add_argument(
        "--csv",
        help="your own table: the columns the law reads (parameters, tokens, bits, qid) and, if known, qid_se, model",
    )
    source_columns = "a column of the CSV file by another name: its name = ours; may be given several times"
    parser.add_argument("--column", action="append", default=[], metavar="THEIRS=OURS", help=source_columns)
    add_where(parser)


def _fit_arguments(parser: argparse.ArgumentParser) -> None:
    add_table(parser, required=True)
    law = parser.add_mutually_exclusive_group()
    law.add_argument(
        "--law", default="ouyang2024-unified", help="law to fit (`bitlaw law` lists them; default: %(default)s)"
    )
    law.add_argument("--formula", help="a law of your own, such as 'QiD = k * D^beta / N^alpha'")
    parser.add_argument("--target", default="qid", help="what a formula gives: qid, baseline_loss, loss (default: qid)")
    parser.add_argument(
        "--fixed", action="append", default=[], metavar="NAME=VALUE", help="hold a parameter at a value"
    )
    parser.add_argument("--tied", action="append", default=[], metavar="NAME=NAME", help="one parameter equals another")
    parser.add_argument("--free", action="append", default=[], metavar="NAME", help="free what the law holds or ties")
    parser.add_argument(
        "--offset", action="append", default=[], metavar="COLUMN", help="a factor for each method, family or suite"
    )
    parser.add_argument(
        "--prior",
        action="append",
        default=[],
        metavar="NAME=CENTRE,SPREAD",
        help="what is known of a parameter beforehand, instead of what the law knows: beta=0.5,0.1 (logarithms for scales)",
    )
    parser.add_argument("--no-priors", action="store_true", help="leave out what the law knows beforehand")
    parser.add_argument("--noise", default="normal", help="normal, student or huber (default: normal)")
    parser.add_argument(
        "--vocabulary", type=int, help="entries of the tokenizer: rows of collapsed models only say 'at least this bad'"
    )
    parser.add_argument(
        "--intervals", default="auto", help="how intervals are made (default: auto; docs/laws.md lists them)"
    )
    parser.add_argument("--level", type=float, default=0.9, help="level of intervals (default: 0.9)")
    parser.add_argument("--seed", type=int, default=0, help="seed of starts and replicates (default: 0)")
    parser.add_argument("--out", help="write the fit as JSON, for `predict --fit` and `report --fit`")


def _run_fit(given: argparse.Namespace) -> Any:
    from bitlaw.fit import Collapse, Intervals, Noise, fit
    from bitlaw.laws import law_from_text, load_law

    law = law_from_text(given.formula, target=given.target) if given.formula else load_law(given.law)
    required = (*law.variables, law.target, *given.offset)
    rows = read_table(given.csv, given.store, given.where, required=required, columns=given.column)
    made = fit(
        law,
        rows,
        noise=Noise(kind=given.noise),
        intervals=Intervals(kind=given.intervals, level=given.level),
        fixed=_fixed(given.fixed),
        tied=_pairs("--tied", given.tied, "beta=alpha"),
        free=given.free,
        offsets=given.offset,
        priors=_priors(given.prior) if given.prior else not given.no_priors,
        collapse=None if given.vocabulary is None else Collapse(vocabulary=given.vocabulary),
        seed=given.seed,
    )
    if given.out:
        made.to_json(given.out)
    return made.to_dict()


def read_table(
    csv: str | None,
    store: str | None,
    where: list[str],
    *,
    required: tuple[str, ...] | None = None,
    columns: list[str] | None = None,
) -> Any:
    """Return the table of a CSV file or a store, filtered. required: columns a CSV file must have; columns: THEIRS=OURS."""
    from bitlaw.fit import Table
    from bitlaw.store import open_store

    names = _pairs("--column", columns or [], "N=parameters")
    if csv:
        rows = Table.from_csv(csv, required=required, names=names) if required else Table.from_csv(csv, names=names)
    else:
        if names:
            raise InputError("--column names columns of a CSV file; a store knows its own.")
        with open_store(str(store), create=False) as opened:
            rows = Table.from_measurements(opened, source=opened.where)
    chosen = filters(where)
    return rows.where(**chosen) if chosen else rows


def _fixed(given: list[str]) -> dict[str, float]:
    values = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise InputError(f"--fixed {text!r} is not of the form NAME=VALUE, such as gamma=5.5.") from None
    return values


def _priors(given: list[str]) -> dict[str, tuple[float, float]]:
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            centre, spread = (float(part) for part in value.split(","))
        except ValueError:
            raise InputError(f"--prior {text!r} is not of the form NAME=CENTRE,SPREAD, such as beta=0.5,0.1.") from None
        found[name] = (centre, spread)
    return found


def _pairs(option: str, given: list[str], example: str) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in given)
    if wrong := [name for name, other in pairs.items() if not name or not other]:
        raise InputError(f"{option} {wrong[0]!r} is not of the form NAME=NAME, such as {example}.")
    return pairs


def _fit_text(data: dict[str, Any]) -> str:
    rows = [
        {
            "parameter": name,
            "value": value,
            "low": data["intervals"].get(name, [None, None])[0],
            "high": data["intervals"].get(name, [None, None])[1],
            "standard error": data["standard_errors"].get(name),
        }
        for name, value in data["values"].items()
    ]
    d, s = data["data"], data["scores"]
    lines = [
        f"{data['law']} fitted to {d['rows']} rows of {d['models']} models, {d['checkpoints']} checkpoints, from {d['source']}",
        table(rows),
        f"intervals: {data['level']:.0%}, {data['interval_words']}",
        f"outcome: {data['outcome']} ({data['starts_agreeing']} of {data['starts']} starts agree)",
        f"R2 {number(s['r2'])}; above {s['threshold']:g} nats ({s['points_above']} rows): log-R2 {cell_or_none(s['log_r2'])}, "
        f"median relative error {cell_or_none(s['median_relative_error'])}",
        f"scatter: relative {number(data['scatter']['relative'])}, floor {number(data['scatter']['floor'])} nats",
    ]
    lines += [f"beyond its rows: {_drift_text(data['drift'])}"] if data["drift"] else []
    lines += [f"offsets of {name}: standard deviation {number(s)}" for name, s in data["offset_spreads"].items()]
    if d["censored"]:
        lines.append(f"{d['censored']} rows of collapsed models say only that the degradation is at least that large")
    lines += [f"left out: {count} {why}" for why, count in d["left_out"].items()]
    lines += [f"warning: {line}" for line in data["warnings"]]
    return "\n".join(lines)


def _drift_text(drifts: dict[str, Any]) -> str:
    """Return in words how much wider bands get outside the fitted range."""
    said = [
        f"{name} {number(drift['beyond'])} above ({drift['beyond_turns']} ends left out), "
        f"{number(drift['below'])} below ({drift['below_turns']})"
        for name, drift in drifts.items()
    ]
    return "its exponents may stray (one standard deviation) by: " + "; ".join(said)


def cell_or_none(value: Any) -> str:
    """Return a score as text; a score that does not exist is a string in the fit's JSON."""
    return number(value) if isinstance(value, float) else str(value)


FIT = Verb(
    name="fit",
    summary="fit a law to measurements, with an interval for every parameter",
    teach="""\
Small and negative degradations stay in: the noise model has the measured paired standard error, a relative scatter and a
floor. Failed measurements and baselines are left out and counted.

  bitlaw fit --store tiny.db --where method=gptq
  bitlaw fit --store tiny.db --where method=gptq --where bits=3 --law ouyang2024-3bit
  bitlaw fit --store tiny.db --offset method --out all.json
  bitlaw fit --csv mine.csv --formula 'loss = E + A / N^a + B / D^b' --target baseline_loss --noise huber
  bitlaw fit --csv mine.csv --intervals posterior
  bitlaw fit --csv mine.csv --out mine.json""",
    arguments=_fit_arguments,
    run=_run_fit,
    text=_fit_text,
)


def _law_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="show", choices=("show",), help="show laws")
    parser.add_argument("name", nargs="?", default="all", help="one law (default: all)")


def _run_law(given: argparse.Namespace) -> Any:
    from bitlaw.predict import law_show

    return [card.to_dict() for card in law_show(given.name)]


def _law_text(cards: list[dict[str, Any]]) -> str:
    if len(cards) > 1:
        return table([{"law": c["name"], "formula": c["formula"], "what": c["summary"]} for c in cards])
    card = cards[0]
    lines = [f"{card['name']}: {card['summary']}", card["formula"], f"source: {card['source']}", "parameters:"]
    for p in card["parameters"]:
        held = (
            f"; held at {number(p['held'])}" if p["held"] is not None else f"; tied to {p['tied']}" if p["tied"] else ""
        )
        lines.append(f"  {p['name']}  {p['meaning']} [{p['unit']}]{held}")
    for published in card["published"]:
        setting = f" ({card['name']}@{published['setting']})" if published["setting"] else ""
        lines.append(f"published{setting}: " + ", ".join(f"{k} {number(v)}" for k, v in published["values"].items()))
        lines.append(f"  {published['source']} ({published['sureness']}); {published['data']}")
        lines.append(
            "  fitted on " + ", ".join(f"{k} {number(a)} to {number(b)}" for k, (a, b) in published["fitted"].items())
        )
        lines += [f"  note: {published['note']}"] if published["note"] else []
    lines += [f"not known: {name}" for name in card["missing"]]
    return "\n".join(lines)


LAW = Verb(
    name="law",
    summary="show the laws: formulas, constants, sources",
    teach="""\
  bitlaw law show
  bitlaw law show ouyang2024-unified""",
    arguments=_law_arguments,
    run=_run_law,
    text=_law_text,
)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", required=True, help="a store: an SQLite file, postgresql://USER@HOST/DATABASE or dataset:NAME"
    )
    parser.add_argument(
        "--fit", action="append", default=[], help="a fit written by `bitlaw fit --out`; may be given several times"
    )
    parser.add_argument("--out", help="the HTML file to write (default: report.html); with --figures, the folder")
    parser.add_argument(
        "--figures",
        choices=("xu2024",),
        help="instead: every figure of a paper, as PNG and one page (xu2024: arXiv 2410.12119)",
    )
    parser.add_argument("--title", default="", help="title of the page")


def _run_report(given: argparse.Namespace) -> Any:
    from bitlaw.fit.result import Fit
    from bitlaw.report import report

    if given.figures:
        return _draw_figures(given)
    fits = [Fit.from_json(Path(name)) for name in given.fit]
    settings = {"title": given.title} if given.title else {}
    return {"report": str(report(given.store, given.out or "report.html", fits=fits or None, **settings))}


def _draw_figures(given: argparse.Namespace) -> Any:
    from bitlaw.report.xu2024 import draw

    if given.fit or given.title:
        raise InputError("--figures draws a paper's figures: --fit and --title do not go with it.")
    drawn = draw(given.store, given.out or "figures")
    figures = {name: str(path) for name, path in drawn.figures.items()}
    return {"report": str(drawn.page), "figures": figures, "absent": dict(drawn.absent)}


def _report_text(data: dict[str, Any]) -> str:
    lines = [f"report written: {data['report']}"]
    if "figures" in data:
        lines.append(f"figures: {', '.join(data['figures'])}")
        lines += [f"missing: figure {name}, {why}" for name, why in data["absent"].items()]
    return "\n".join(lines)


REPORT = Verb(
    name="report",
    summary="write one self-contained HTML page of what was measured and fitted",
    teach="""\
Without --fit the unified law is fitted to each method of the store. --figures draws all thirteen figures of arXiv 2410.12119
from baselines, probes, nearest and GPTQ of several families; a figure whose measurements are missing is named.

  bitlaw report --store tiny.db --out report.html
  bitlaw report --store tiny.db --fit gptq.json --out report.html
  bitlaw report --store families.parquet --figures xu2024 --out figures""",
    arguments=_report_arguments,
    run=_run_report,
    text=_report_text,
)


def _catalog_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", help=f"only one kind: {', '.join(KINDS)}")


def _run_catalog(given: argparse.Namespace) -> Any:
    if given.kind and given.kind not in KINDS:
        raise InputError(f"Unknown kind {given.kind!r}. Known: {', '.join(KINDS)}.")
    return [
        {"kind": kind, "name": name, "what": entry.summary}
        for kind, entries in KINDS.items()
        for name, entry in entries.items()
        if given.kind in (None, kind)
    ]


CATALOG = Verb(
    name="catalog",
    summary="list every format, method, suite, architecture and law",
    teach="  bitlaw catalog\n  bitlaw catalog method",
    arguments=_catalog_arguments,
    run=_run_catalog,
    text=table,
)

__all__ = ["CATALOG", "FIT", "LAW", "REPORT"]
