"""Verbs that touch numbers only: fit, predict, tokens-to-train, law, report, catalog. None of them loads torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bitlaw.catalog import KINDS
from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb
from bitlaw.cli.where import add_where, filters
from bitlaw.errors import InputError


def _fit_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--store", help="a store of measurements")
    source.add_argument(
        "--csv", help="your own table: columns parameters, tokens, bits, qid and, if known, qid_se, model"
    )
    parser.add_argument(
        "--law", default="ouyang2024-unified", help="law to fit (`bitlaw law` lists them; default: %(default)s)"
    )
    add_where(parser)
    parser.add_argument(
        "--fixed", action="append", default=[], metavar="NAME=VALUE", help="hold a parameter at a value"
    )
    parser.add_argument(
        "--intervals", default="auto", help="how intervals are made (default: auto; docs/laws.md lists them)"
    )
    parser.add_argument("--level", type=float, default=0.9, help="level of intervals (default: 0.9)")
    parser.add_argument("--seed", type=int, default=0, help="seed of starts and replicates (default: 0)")
    parser.add_argument("--out", help="write the fit as JSON, for `predict --fit` and `report --fit`")


def _run_fit(given: argparse.Namespace) -> Any:
    from bitlaw.fit import Intervals, Table, fit
    from bitlaw.store import open_store

    if given.csv:
        rows = Table.from_csv(given.csv)
    else:
        with open_store(given.store, create=False) as store:
            rows = Table.from_measurements(store, source=given.store)
    if chosen := filters(given.where):
        rows = rows.where(**chosen)
    intervals = Intervals(kind=given.intervals, level=given.level)
    made = fit(given.law, rows, intervals=intervals, fixed=_fixed(given.fixed), seed=given.seed)
    if given.out:
        made.to_json(given.out)
    return made.to_dict()


def _fixed(given: list[str]) -> dict[str, float]:
    values = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise InputError(f"--fixed {text!r} is not of the form NAME=VALUE, such as gamma=5.5.") from None
    return values


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
    lines += [f"left out: {count} {why}" for why, count in d["left_out"].items()]
    lines += [f"warning: {line}" for line in data["warnings"]]
    return "\n".join(lines)


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
  bitlaw fit --csv mine.csv --out mine.json""",
    arguments=_fit_arguments,
    run=_run_fit,
    text=_fit_text,
)


def _law_or_fit(given: argparse.Namespace) -> Any:
    if not given.fit:
        return given.law
    from bitlaw.fit.result import Fit

    return Fit.from_json(Path(given.fit))


def _add_law(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--law", default="auto", help="a published law by name (default: auto, the per-bit law at 2-4 bits)"
    )
    source.add_argument("--fit", help="a fit of your own, written by `bitlaw fit --out`")
    parser.add_argument("--level", type=float, default=0.9, help="level of the interval (default: 0.9)")


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=float, required=True, help="N, non-embedding parameters, such as 70e9")
    parser.add_argument("--tokens", type=float, required=True, help="D, training tokens, such as 15e12")
    parser.add_argument("--bits", type=float, required=True, help="P, bits per weight, such as 4")
    _add_law(parser)


def _run_predict(given: argparse.Namespace) -> Any:
    from bitlaw.predict import predict

    return predict(given.params, given.tokens, given.bits, law=_law_or_fit(given), level=given.level).to_dict()


def _predict_text(data: dict[str, Any]) -> str:
    head = (
        f"QiD {number(data['value'])} nats per token  ({_interval(data)})\n"
        f"for N = {number(data['parameters'])}, D = {number(data['tokens'])}, {number(data['bits'])} bits"
    )
    losses = f"16-bit loss: unknown ({data['loss_source']})"
    if data["baseline_loss"] is not None:
        losses = (
            f"16-bit loss {number(data['baseline_loss'])} + QiD = quantized loss {number(data['quantized_loss'])} "
            f"({data['loss_source']})"
        )
    return "\n".join([head, losses, *_provenance(data, "QiD", "nats")])


def _interval(data: dict[str, Any]) -> str:
    i = data["interval"]
    ends = " to ".join("no end" if end is None else number(end) for end in (i["low"], i["high"]))
    return f"{i['level']:.0%} interval {ends}"


def _provenance(data: dict[str, Any], what: str, unit: str) -> list[str]:
    constants = ", ".join(f"{name} {number(value)}" for name, value in data["constants"].items())
    lines = [
        f"law: {data['law']}, {data['formula']}; {constants}",
        f"source: {data['source']} ({data['sureness']})",
        f"interval: {data['interval']['made_of']}",
    ]
    outside = [f"OUTSIDE the fitted range: {o['words']}" for o in data["outside"]]
    lines += outside or ["inside the fitted range"]
    lines += [
        f"beside: {b['law']} says {what} {number(b['value'])} {unit} ({number(b['ratio'])} times)"
        for b in data["beside"]
    ]
    lines += [f"holds for: {line}" for line in data["conditions"]]
    return lines


PREDICT = Verb(
    name="predict",
    summary="predict the degradation of a model nobody has quantized yet",
    teach="""\
From published laws, or from a fit of your own measurements. The answer says which law, its constants' source, an
interval, and whether the question lies outside the range the law was fitted on.

  bitlaw predict --params 70e9 --tokens 15e12 --bits 4
  bitlaw predict --params 1e6 --tokens 1e8 --bits 3 --fit gptq.json --json""",
    arguments=_predict_arguments,
    run=_run_predict,
    text=_predict_text,
)


def _tokens_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=float, required=True, help="N, non-embedding parameters, such as 70e9")
    parser.add_argument("--bits", type=float, required=True, help="P, bits per weight, such as 4")
    parser.add_argument("--qid", type=float, default=0.2, help="degradation to reach, nats per token (default: 0.2)")
    _add_law(parser)


def _run_tokens(given: argparse.Namespace) -> Any:
    from bitlaw.predict import tokens_to_train

    return tokens_to_train(given.params, given.bits, given.qid, law=_law_or_fit(given), level=given.level).to_dict()


def _tokens_text(data: dict[str, Any]) -> str:
    head = (
        f"{number(data['value'])} training tokens  ({_interval(data)})\nuntil N = {number(data['parameters'])} at "
        f"{number(data['bits'])} bits loses {number(data['qid'])} nats per token"
    )
    return "\n".join([head, *_provenance(data, "D", "tokens")])


TOKENS_TO_TRAIN = Verb(
    name="tokens-to-train",
    summary="training tokens after which quantization hurts a model this much",
    teach="""\
The law inverted: the first paper's meter of training level (its Table 1).

  bitlaw tokens-to-train --params 70e9 --bits 4 --qid 0.2""",
    arguments=_tokens_arguments,
    run=_run_tokens,
    text=_tokens_text,
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
    lines += [f"  {p['name']}  {p['meaning']} [{p['unit']}]" for p in card["parameters"]]
    for published in card["published"]:
        lines.append("published: " + ", ".join(f"{k} {number(v)}" for k, v in published["values"].items()))
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
    parser.add_argument("--store", required=True, help="the store of measurements")
    parser.add_argument(
        "--fit", action="append", default=[], help="a fit written by `bitlaw fit --out`; may be given several times"
    )
    parser.add_argument("--out", default="report.html", help="the HTML file to write (default: report.html)")
    parser.add_argument("--title", default="", help="title of the page")


def _run_report(given: argparse.Namespace) -> Any:
    from bitlaw.fit.result import Fit
    from bitlaw.report import report

    fits = [Fit.from_json(Path(name)) for name in given.fit]
    settings = {"title": given.title} if given.title else {}
    return {"report": str(report(given.store, given.out, fits=fits or None, **settings))}


REPORT = Verb(
    name="report",
    summary="write one self-contained HTML page of what was measured and fitted",
    teach="""\
Without --fit the unified law is fitted to each method of the store.

  bitlaw report --store tiny.db --out report.html
  bitlaw report --store tiny.db --fit gptq.json --out report.html""",
    arguments=_report_arguments,
    run=_run_report,
    text=lambda data: f"report written: {data['report']}",
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

__all__ = ["CATALOG", "FIT", "LAW", "PREDICT", "REPORT", "TOKENS_TO_TRAIN"]
