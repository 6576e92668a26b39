"""Verbs that ask about several models, widths or laws: project, plan, compare-laws. None of them loads torch."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from bitlaw.cli import asking
from bitlaw.cli.numbers import add_table, read_table
from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb
from bitlaw.errors import InputError

PLOT = "also draw it: a file ending in .svg or .html"


def _project_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=asking.a_count, default=100e12, help="D, training tokens of the future (default: 100e12)"
    )
    parser.add_argument(
        "--params",
        type=asking.a_count,
        nargs="+",
        default=[7e9, 70e9, 405e9],
        help="sizes, each N (default: 7e9 70e9 405e9)",
    )
    parser.add_argument("--bits", type=float, nargs="+", default=[2.0, 3.0, 4.0], help="bit widths (default: 2 3 4)")
    parser.add_argument("--vocabulary", type=int, default=50_304, help="entries of the tokenizer (default: 50304)")
    parser.add_argument("--plot", help=PLOT)
    asking.add_law(parser)


def _run_project(given: argparse.Namespace) -> Any:
    from bitlaw.predict import project

    _check_plot(given.plot)
    found = project(
        given.tokens, sizes=given.params, bits=given.bits, vocabulary=given.vocabulary, **asking.settings(given)
    )
    if given.plot:
        from bitlaw.report.answers import draw_projection

        draw_projection(found, given.plot)
    return {**found.to_dict(), "plot": given.plot}


def _project_text(data: dict[str, Any]) -> str:
    widths = list(dict.fromkeys(cell["bits"] for cell in data["cells"]))
    rows = []
    for size in dict.fromkeys(cell["parameters"] for cell in data["cells"]):
        cells = {cell["bits"]: cell for cell in data["cells"] if cell["parameters"] == size}
        rows.append({"N": number(size)} | {f"{width:g} bits": _cell(cells[width]) for width in widths})
    outside = list(dict.fromkeys(words for cell in data["cells"] for words in cell["outside"]))
    lines = [
        f"QiD in nats per token after {number(data['tokens'])} training tokens, {data['level']:.0%} intervals:",
        table(rows),
        f"** worse than random guessing: above ln({data['vocabulary']}) = {data['ceiling']:.2f} nats; * the interval reaches there",
        *(f"{width} bits: {law}" for width, law in data["laws"].items()),
        *(f"interval at {width} bits: {words}" for width, words in data["made_of"].items()),
        *asking.range_lines(outside),
        *asking.holds(data),
    ]
    return "\n".join(lines + ([f"plot: {data['plot']}"] if data["plot"] else []))


def _cell(cell: dict[str, Any]) -> str:
    mark = {"worse than random": "**", "may be worse than random": "*"}.get(cell["state"], "")
    return f"{cell['value']:.2f}{mark} [{cell['low']:.2g}, {cell['high']:.2g}]"


PROJECT = Verb(
    name="project",
    summary="project the degradation of several sizes and bit widths to many training tokens",
    teach="""\
The first paper's Figure 1: what 100 trillion tokens would do to models of 7B, 70B and 405B at 2, 3 and 4 bits, with the
band in which a model is worse than random guessing.

  bitlaw project --tokens 100e12
  bitlaw project --tokens 30T --params 1B 8B --bits 3 4 --plot project.svg""",
    arguments=_project_arguments,
    run=_run_project,
    text=_project_text,
)


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memory", required=True, help="memory for weights and overhead, such as 24GiB or 16GB")
    parser.add_argument(
        "--candidates",
        nargs="+",
        required=True,
        metavar="NAME:PARAMS:TOKENS[:TOTAL_PARAMS[:LOSS]]",
        help="models to choose among, or one CSV or TOML file of them",
    )
    parser.add_argument(
        "--bits", type=float, nargs="+", default=[2.0, 3.0, 4.0, 8.0, 16.0], help="widths (default: 2 3 4 8 16)"
    )
    parser.add_argument(
        "--group-size", type=int, nargs="+", default=[128], help="weights that share a scale (default: 128)"
    )
    parser.add_argument("--symmetric", action="store_true", help="groups without zero points")
    parser.add_argument("--formats", nargs="+", default=[], help="formats beside these integers, such as nf4_g64")
    parser.add_argument("--overhead", default="0", help="memory for the cache and the rest, such as 2GiB (default: 0)")
    parser.add_argument("--vocabulary", type=int, default=50_304, help="entries of the tokenizer (default: 50304)")
    parser.add_argument("--all", action="store_true", help="print every choice, not only the frontier")
    parser.add_argument("--plot", help=PLOT)
    asking.add_law(parser, several=True)
    asking.add_loss(parser)


def _run_plan(given: argparse.Namespace) -> Any:
    from bitlaw.predict import plan

    _check_plot(given.plot)
    found = plan(
        given.memory,
        given.candidates,
        laws=[asking.read_fit(path) for path in given.fit] or [given.law],
        bits=given.bits,
        groups=given.group_size,
        symmetric=given.symmetric,
        formats=given.formats,
        overhead=given.overhead,
        vocabulary=given.vocabulary,
        **asking.losses(given),
        **asking.conditions(given),
    )
    if given.plot:
        from bitlaw.report.answers import draw_plan

        draw_plan(found, given.plot)
    return {**found.to_dict(), "plot": given.plot, "all": given.all}


def _plan_text(data: dict[str, Any]) -> str:
    room = f"{data['memory'] / 2**30:.4g} GiB"
    lines = [_chosen("best", data["best"], room), _chosen("safest (least upper end)", data["safest"], room)]
    shown = [choice for choice in data["choices"] if data["all"] or choice["frontier"]]
    rows = [
        {
            "model": c["name"],
            "method": c["method"],
            "format": c["format"],
            "bits/weight": round(c["bits_per_weight"], 3),
            "GiB": float(f"{c['bytes'] / 2**30:.3g}"),
            "loss": round(c["loss"], 3),
            "low": round(c["interval"]["low"], 3),
            "high": "no end" if asking.no_end(c["interval"]["high"]) else round(c["interval"]["high"], 3),
            "QiD": float(f"{c['qid']:.3g}"),
            "range": "outside" if c["outside"] else "inside",
            "": "best" if c == data["best"] else "too large" if not c["fits"] else "broken" if c["broken"] else "",
        }
        for c in shown
    ]
    what = "every choice" if data["all"] else "the frontier (no other choice is as small and as good)"
    outside = list(dict.fromkeys(words for c in shown for words in c["outside"]))
    lines += [
        f"{what}, loss in nats per token with {data['level']:.0%} intervals:",
        table(rows),
        f"bytes: {data['storage']}; overhead {data['overhead'] / 2**30:.4g} GiB in every row",
        *(f"16-bit loss from: {line}" for line in data["loss_source"]),
        *(f"law: {line}" for line in dict.fromkeys(c["law"] for c in shown if c["law"] != "none")),
        *asking.range_lines(outside),
        *asking.holds(data),
    ]
    return "\n".join(lines + ([f"plot: {data['plot']}"] if data["plot"] else []))


def _chosen(title: str, choice: dict[str, Any] | None, room: str) -> str:
    if choice is None:
        return f"{title}: no choice fits {room} without being worse than guessing"
    return (
        f"{title} within {room}: {choice['name']} {choice['method']} {choice['format']}, "
        f"{choice['bytes'] / 2**30:.4g} GiB, loss {number(choice['loss'])}  ({asking.interval(choice['interval'])})"
    )


PLAN = Verb(
    name="plan",
    summary="choose model, method, width and group size for a memory budget",
    teach="""\
Every candidate at every width and group size: its bytes, its predicted loss with an interval, and the frontier of
choices that no other beats in both. Give total parameters too, so that embeddings and head count at 16 bits. Methods
are compared with one fit of yours for each; then the 16-bit loss needs --loss-fit or a loss with each candidate.

  bitlaw plan --memory 24GiB --overhead 2GiB --candidates small:7B:15T:8B large:68B:15T:70B
  bitlaw plan --memory 16GB --candidates models.csv --bits 3 4 --group-size 64 128 --formats nf4_g64 --plot plan.svg
  bitlaw plan --memory 1MiB --candidates models.toml --fit gptq.json --fit nearest.json --loss-fit loss.json""",
    arguments=_plan_arguments,
    run=_run_plan,
    text=_plan_text,
)


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=asking.a_count, help=asking.MODEL)
    parser.add_argument("--tokens", type=asking.a_count, help=asking.TOKENS)
    parser.add_argument("--bits", type=float, help=asking.BITS)
    parser.add_argument(
        "--fit", action="append", default=[], help="a fit of your own beside the laws; may be given several times"
    )
    asking.add_level(parser)
    add_table(parser, required=False)
    parser.add_argument(
        "--laws",
        nargs="+",
        default=[],
        help="laws to judge on a table (default: laws of QiD that read its sizes, tokens and widths)",
    )
    parser.add_argument(
        "--holdout", nargs="+", help="rows left out in turn: largest-size, later-tokens, bits, method, family, ..."
    )


def _run_compare(given: argparse.Namespace) -> Any:
    from bitlaw.predict import compare_laws

    if given.csv or given.store:
        return _judge(given)
    if missing := [name for name in ("params", "tokens", "bits") if getattr(given, name) is None]:
        said = ", ".join(f"--{name}" for name in missing)
        raise InputError(f"compare-laws needs a point ({said} missing) or a table (--csv or --store).")
    fits = [asking.read_fit(path) for path in given.fit]
    return compare_laws(given.params, given.tokens, given.bits, fits=fits, **asking.conditions(given)).to_dict()


def _judge(given: argparse.Namespace) -> dict[str, Any]:
    from bitlaw.fit import compare
    from bitlaw.fit.paired import behind_best
    from bitlaw.laws import law_names, load_law

    rows = read_table(given.csv, given.store, given.where, columns=given.column)
    several = "bits" in rows and len(set(rows["bits"].tolist())) > 1
    laws = given.laws or [name for name in law_names() if _comparable(load_law(name), rows, several)]
    found = compare(laws, rows, given.holdout)
    data, behind = found.to_dict(), behind_best(found)
    for row in data["held_out"]:
        said = behind.get((row["name"], row["holdout"]))
        row["behind"] = None if said is None else {**asdict(said), "tie": said.tie}
    return {**data, "left_out": dict(rows.left_out), "rows": len(rows)}


def _comparable(law: Any, rows: Any, several: bool) -> bool:
    """Return whether a law of QiD reads size, tokens and, if there are several widths, something about them."""
    reads = set(law.variables)
    width = {"bits", "bits_per_weight", "format_error", "gaussian_error"} & reads
    whole = {"parameters", "tokens"} <= reads and (width or not several)
    return bool(law.target == "qid" and whole and all(column in rows for column in reads))


def _judged_text(data: dict[str, Any]) -> str:
    lines = [f"{data['rows']} rows of {data['source']}; laws fitted without a part and judged on it:"]
    for name, words in data["holdouts"].items():
        held = [row for row in data["held_out"] if row["holdout"] == name]
        rows = [
            {
                "law": row["name"],
                "median error": None if row["failed"] else row["median_relative_error"],
                "behind the best": _behind(row["behind"]),
                "log-R2": row["log_r2"],
                "predicted/measured": row["bias"],
                "covered": row["covered"],
                "high/low": row["width"],
            }
            for row in sorted(
                held, key=lambda row: (row["median_relative_error"] is None, row["median_relative_error"])
            )
        ]
        lines += [
            "",
            f"left out: {words}; {held[0]['tested']} rows, {max(row['scored'] for row in held)} scored",
            table(rows),
        ]
        lines += [f"not judged: {row['name']} ({row['failed']})" for row in held if row["failed"]]
    lines += [
        "",
        "in the sample: " + ", ".join(f"{row['name']} BIC {number(row['bic'])}" for row in data["in_sample"]),
        f"scores are over rows above {data['threshold']:g} nats; covered: share inside the 90% interval of a new measurement; "
        "behind the best: difference of median errors, 90% interval of a bootstrap over the checkpoints left out",
        *(f"not in the table: {count} {why}" for why, count in data["left_out"].items()),
    ]
    return "\n".join(lines)


def _behind(said: dict[str, Any] | None) -> str:
    """Return in words how far a law is behind the best of a holdout."""
    if said is None:
        return ""
    if said["value"] == said["low"] == said["high"] == 0.0:
        return "best"
    return f"{said['value']:.2f} [{said['low']:.2f}, {said['high']:.2f}]{' tie' if said['tie'] else ''}"


def _compare_text(data: dict[str, Any]) -> str:
    if "held_out" in data:
        return _judged_text(data)
    rows = [
        {
            "law": said["law"],
            "gives": said["what"],
            "nats": said["value"],
            "low": said["low"],
            "high": said["high"],
            "ratio": said["ratio"],
            "range": "inside" if said["inside"] else "OUTSIDE: " + "; ".join(said["outside"]),
        }
        for said in data["said"]
    ]
    spread = "" if data["spread"] is None else f"; laws of QiD differ by a factor {number(data['spread'])}"
    lines = [
        f"N = {number(data['parameters'])}, D = {number(data['tokens'])}, {number(data['bits'])} bits: "
        f"{data['law']} would answer{spread}",
        table(rows),
        f"{data['level']:.0%} intervals are of a new measurement like those behind the first paper (Pythia, RefinedWeb); losses "
        "of other texts and tokenizers are not comparable",
        *(f"silent: {name} ({why})" for name, why in data["silent"].items()),
    ]
    return "\n".join(lines)


COMPARE_LAWS = Verb(
    name="compare-laws",
    summary="what every law says about one model, or how well each predicts your table",
    teach="""\
Every law whose constants are known, and your fits, at one point: value, interval, ratio to the law that would answer,
and whether the point is inside its range. Laws that cannot be asked are listed with the reason. With a table instead:
every law is fitted without the largest model, the later tokens, a bit width, ... and judged on what was left out.

  bitlaw compare-laws --params 1e9 --tokens 1e11 --bits 4
  bitlaw compare-laws --params 1e6 --tokens 1e8 --bits 3 --fit gptq.json --also group_size=128
  bitlaw compare-laws --store tiny.db --where method=gptq
  bitlaw compare-laws --csv mine.csv --laws ouyang2024-unified kumar2024-ptq --holdout later-tokens""",
    arguments=_compare_arguments,
    run=_run_compare,
    text=_compare_text,
)


def _check_plot(path: str | None) -> None:
    if path and not path.endswith((".svg", ".html")):
        raise InputError(f"--plot {path!r} must end in .svg or .html.")
