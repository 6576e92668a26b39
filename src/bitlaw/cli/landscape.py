"""The verbs `predictor` and `frontier`: losses predicted from the landscape, and what to choose at each size. No torch."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb
from bitlaw.cli.where import add_where, filters
from bitlaw.errors import InputError

ACTIONS = ("train", "predict", "evaluate")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare where the measurements come from."""
    parser.add_argument(
        "--store",
        required=True,
        help="a store (an SQLite file, postgresql://USER@HOST/DATABASE, dataset:NAME), or a .parquet export of one",
    )
    add_where(parser)


def read_source(given: argparse.Namespace) -> list[Any]:
    """Return the measurements that were asked for. Raises InputError when there are none."""
    from bitlaw.predictor.training import measurements_of
    from bitlaw.records import flatten

    found, where = measurements_of(given.store)
    chosen = filters(given.where)
    if chosen:
        rows = [(m, flatten(m)) for m in found]
        if unknown := [name for name in chosen if rows and name not in rows[0][1]]:
            raise InputError(f"--where {unknown[0]}=...: measurements have no column {unknown[0]!r}.")
        found = [m for m, row in rows if all(row[name] in values for name, values in chosen.items())]
    if not found:
        raise InputError(f"{where} has no measurement{' that meets --where' if chosen else ''}.")
    return found


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    add_source(parser)
    parser.add_argument(
        "--predictor", help="predict: a file of `predictor train` (default: the one that comes with bitlaw)"
    )
    parser.add_argument(
        "--out", help="train: the .json or .json.gz file to write; evaluate: a .json file for the table"
    )
    parser.add_argument("--kinds", nargs="+", help="train, evaluate: which predictors (docs/predictor.md lists them)")
    parser.add_argument("--targets", nargs="+", help="train, evaluate: gptq_change, gptq_loss, gptq_qid, nearest_qid")
    parser.add_argument("--splits", nargs="+", help="evaluate: leave-family, leave-largest, paper")
    parser.add_argument("--formats", nargs="+", help="predict: formats (default: the paper's 36)")
    parser.add_argument("--methods", nargs="+", default=["nearest", "gptq"], help="predict: nearest, gptq or both")
    parser.add_argument(
        "--kind", default="auto", help="predict: which predictor answers (default: by what was measured)"
    )
    parser.add_argument("--level", type=float, default=0.9, help="level of intervals (default: 0.9)")
    parser.add_argument("--strict", action="store_true", help="predict: refuse outside the training range")
    parser.add_argument("--seed", type=int, default=0, help="train, evaluate: seed of forests (default: 0)")


def _run(given: argparse.Namespace) -> Any:
    return {"train": _train, "predict": _predict, "evaluate": _evaluate}[given.action](given)


def _train(given: argparse.Namespace) -> Any:
    from bitlaw.predictor import predictor_train

    if not given.out:
        raise InputError("predictor train needs --out FILE.json.gz, where the predictors are written.")
    chosen = {"kinds": given.kinds} if given.kinds else {}
    made = predictor_train(read_source(given), targets=given.targets, seed=given.seed, **chosen)
    path = made.save(given.out)
    data = {name: made.data[name] for name in ("rows", "digest", "left_out")}
    models = [{"predictor": one.kind, "target": one.target} for one in made.models]
    return {"action": "train", "file": str(path), "models": models, "families": list(made.families), **data}


def _predict(given: argparse.Namespace) -> Any:
    from bitlaw.predictor import PAPER_FORMATS, predictor_predict

    found = predictor_predict(
        read_source(given),
        predictor=given.predictor,
        formats=given.formats or PAPER_FORMATS,
        methods=given.methods,
        kind=given.kind,
        level=given.level,
        strict=given.strict,
    )
    return {"action": "predict", **found.to_dict()}


def _evaluate(given: argparse.Namespace) -> Any:
    from bitlaw.predictor import predictor_evaluate

    named = {name: getattr(given, name) for name in ("kinds", "targets", "splits") if getattr(given, name)}
    found = predictor_evaluate(
        read_source(given), level=given.level, seed=given.seed, said=lambda text: print(text, file=sys.stderr), **named
    )
    data = {"action": "evaluate", **found.to_dict()}
    if given.out:
        try:
            Path(given.out).write_text(json.dumps(data, indent=1), encoding="utf-8")
        except OSError as error:
            raise InputError(f"Cannot write {given.out!r}: {error.strerror}. Choose another path.") from error
    return data


def _text(data: dict[str, Any]) -> str:
    return {"train": _train_text, "predict": _predict_text, "evaluate": _evaluate_text}[data["action"]](data)


def _train_text(data: dict[str, Any]) -> str:
    lines = [
        f"{data['file']}: {data['rows']} rows of families {', '.join(data['families'])}; digest {data['digest']}",
        table(data["models"]),
    ]
    return "\n".join(lines + [f"left out: {count} {why}" for why, count in data["left_out"].items()])


def _predict_text(data: dict[str, Any]) -> str:
    rows = [
        {
            "method": row["method"],
            "format": row["format"],
            "bits/weight": row["bits_per_weight"],
            "loss": round(row["loss"], 4),
            "low": round(row["low"], 4),
            "high": round(row["high"], 4),
            "QiD": float(f"{row['qid']:.3g}"),
            "measured": row["measured"] if row["measured"] is None else round(row["measured"], 4),
            "by": row["predictor"],
            "range": "OUTSIDE" if row["outside"] else "inside",
        }
        for row in data["rows"]
    ]
    if all(row["measured"] is None for row in rows):
        rows = [{name: value for name, value in row.items() if name != "measured"} for row in rows]
    said = list(dict.fromkeys(words for row in data["rows"] for words in row["outside"]))
    lines = [
        f"{data['model']}: 16-bit loss {number(data['baseline_loss'])} nats per token; predicted losses, {data['level']:.0%} intervals:",
        table(rows),
        f"trained on {data['trained_on']}",
    ]
    return "\n".join(lines + [f"OUTSIDE the training range: {words}" for words in said])


def _evaluate_text(data: dict[str, Any]) -> str:
    lines = [
        f"{data['rows']} rows of {data['models']} models, families {', '.join(data['families'])}; digest {data['digest']}; "
        f"intervals of {data['level']:.0%}"
    ]
    for split, target in dict.fromkeys((row["split"], row["target"]) for row in data["results"]):
        mine = [row for row in data["results"] if (row["split"], row["target"]) == (split, target)]
        shown = [
            {
                "predictor": row["predictor"],
                "R2": round(row["r2"], 3),
                "worst family": round(row["worst_r2"], 3),
                "MAE": float(f"{row['mae']:.3g}"),
                "rank": round(row["rank"], 3),
                "covered": round(row["covered"], 3),
                "width": float(f"{row['width']:.3g}"),
                "reads": row["reads"],
            }
            for row in sorted(mine, key=lambda row: -row["r2"])
            if not row["failed"]
        ]
        top = next(row["r2"] for row in data["ceilings"] if (row["split"], row["target"]) == (split, target))
        lines += ["", f"{split}, {target} (the true losses would score R2 {top:.3f}):", table(shown)]
        lines += [f"not judged: {row['predictor']} ({row['failed']})" for row in mine if row["failed"]]
    lines += ["", "with training tokens and learning-rate state:", table(data["ablation"])]
    return "\n".join(lines + [f"left out: {count} {why}" for why, count in data["left_out"].items()])


PREDICTOR = Verb(
    name="predictor",
    summary="train, use and judge predictors of the loss after quantization, from the loss landscape",
    teach="""\
Measurements: baselines, perturb_random probes, and for training nearest and GPTQ at several formats. Prediction needs the
baseline and probes of one model: nothing is quantized. Evaluation leaves families, and the largest models, out.

  bitlaw predictor train --store families.parquet --out predictor.json.gz
  bitlaw predictor predict --store mine.db --where model=mine --predictor predictor.json.gz --formats mxint4_k32 int4_g128
  bitlaw predictor evaluate --store families.parquet --targets gptq_qid --splits leave-family""",
    arguments=_arguments,
    run=_run,
    text=_text,
)


def _frontier_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument(
        "--no-embeddings", action="store_true", help="count the blocks only (default: embeddings and head too)"
    )
    parser.add_argument(
        "--budget", nargs="+", default=[], help="bytes, such as 24MiB: the best choice at each (default: ten)"
    )
    parser.add_argument("--families", nargs="+", default=[], help="only models of these families")
    parser.add_argument(
        "--least", type=float, default=0.01, help="nats that GPTQ must save to be worth it (default: 0.01)"
    )
    parser.add_argument(
        "--predictor", help="fill in formats that were probed and not measured, by this file of `predictor train`"
    )
    parser.add_argument("--level", type=float, default=0.9, help="level of intervals (default: 0.9)")
    parser.add_argument("--all", action="store_true", help="print every point, not only the frontier")


def _run_frontier(given: argparse.Namespace) -> Any:
    from bitlaw.predict.memory import parse_size
    from bitlaw.predictor import frontier

    found = frontier(
        read_source(given),
        embeddings=not given.no_embeddings,
        budgets=[parse_size(size) for size in given.budget],
        level=given.level,
        least=given.least,
        families=given.families,
        predictor=given.predictor,
    )
    return {**found.to_dict(), "all": given.all}


def _frontier_text(data: dict[str, Any]) -> str:
    shown = [point for point in data["points"] if data["all"] or point["state"] == "frontier"]
    budgets = [
        {"bytes": round(row["bytes"]), **(_point(row["best"]) if row["best"] else {"model": "nothing fits"})}
        for row in data["budgets"]
    ]
    worth = [
        {
            "model": one["model"],
            "format": one["format"],
            "saves": float(f"{one['saved']:.3g}"),
            "low": float(f"{one['low']:.3g}"),
            "high": float(f"{one['high']:.3g}"),
            "seconds": round(one["seconds"], 2),
            "": one["verdict"],
        }
        for one in data["worth"]
    ]
    counted = "weights, scales, zero points, " + (
        "embeddings and head at 16 bits" if data["embeddings"] else "no embeddings"
    )
    may = sum(point["state"] == "may be" for point in data["points"])
    verdicts = [one["verdict"] for one in data["worth"]]
    lines = [
        f"loss on {data['evaluation']} against bytes ({counted}); {data['level']:.0%} intervals",
        "frontier: no other choice is as small and as good" if not data["all"] else "every choice:",
        table([{"bytes": round(p["bytes"]), **_point(p), "": p["state"]} for p in shown]),
        f"{may} more points lie within the errors of the frontier",
        "best within a budget:",
        table(budgets),
    ]
    if worth:
        said = ", ".join(f"{word} {verdicts.count(word)} times" for word in ("worth it", "unclear", "not worth it"))
        lines += [f"is GPTQ worth running, where it must save {number(data['least'])} nats? {said}", table(worth)]
    return "\n".join(lines)


def _point(point: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": point["model"],
        "method": point["method"],
        "format": point["format"],
        "loss": round(point["loss"], 4),
        "low": round(point["low"], 4),
        "high": round(point["high"], 4),
        "by": "predicted" if point["predicted"] else "measured",
    }


FRONTIER = Verb(
    name="frontier",
    summary="loss against true bytes over sizes and formats, the best at each budget, and whether GPTQ is worth it",
    teach="""\
The last checkpoint of every model counts. Bytes are what is stored: scales and zero points too, and unless told otherwise
embeddings and head at 16 bits, by one convention for every point.

  bitlaw frontier --store families.parquet
  bitlaw frontier --store families.parquet --families opt --budget 1MiB 4MiB --no-embeddings
  bitlaw frontier --store mine.db --predictor predictor.json.gz --all""",
    arguments=_frontier_arguments,
    run=_run_frontier,
    text=_frontier_text,
)
