"""The verb probe: a model's loss landscape and what it predicts, or the path between two checkpoints."""

from __future__ import annotations

import argparse
from typing import Any

from bitlaw.cli.models import add_device, add_progress
from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb
from bitlaw.errors import InputError
from bitlaw.progress import open_progress


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder of a Hugging Face checkpoint, or a suite by name or folder")
    parser.add_argument(
        "--store",
        default="",
        help="keeps what is measured: an SQLite file, made if it does not exist, or postgresql://USER@HOST/DATABASE",
    )
    parser.add_argument(
        "--of", default="", metavar="MODEL@STEP", help="which checkpoint of a suite (default: the last)"
    )
    parser.add_argument("--tokens", type=float, help="training tokens, where the suite does not say")
    parser.add_argument("--predictor", help="file of `bitlaw predictor train` (default: those that come with bitlaw)")
    parser.add_argument("--formats", nargs="+", default=[], help="formats to predict (default: the paper's 28)")
    parser.add_argument("--methods", nargs="+", default=[], help="methods to predict (default: nearest gptq)")
    parser.add_argument("--level", type=float, default=0.9, help="level of the intervals (default: 0.9)")
    parser.add_argument("--verify", type=int, default=0, metavar="N", help="then measure N of the forecasts")
    parser.add_argument("--seeds", type=int, default=1, help="random directions (default: 1)")
    parser.add_argument(
        "--snr", type=float, nargs="+", default=[], metavar="DB", help="distances (default: 30 to -6 in steps of 3)"
    )
    parser.add_argument("--taylor", action="store_true", help="gradient and curvature along each direction too")
    parser.add_argument(
        "--no-compensated",
        action="store_true",
        help="leave out noise compensated as GPTQ would, which predictors of GPTQ may read",
    )
    parser.add_argument("--layers", action="store_true", help="also move each layer alone: which ones are sensitive")
    parser.add_argument(
        "--layer-snr", type=float, default=10.0, metavar="DB", help="distance of a layer moved alone (default: 10)"
    )
    parser.add_argument(
        "--path", nargs=2, default=[], metavar=("FROM", "TO"),
        help="instead: the loss between two checkpoints MODEL@STEP of the suite, weight change, curvature at both ends",
    )  # fmt: skip
    parser.add_argument("--places", type=float, nargs="+", default=[], help="t of --path: 0 is FROM, 1 is TO")
    parser.add_argument("--evaluation", default="sample:evaluation", help="text to score (default: sample:evaluation)")
    parser.add_argument("--evaluation-windows", type=int, default=32, help="windows to score (default: 32)")
    parser.add_argument(
        "--calibration",
        default="sample:train",
        help="text for noise compensated as GPTQ would, and for GPTQ under --verify",
    )
    parser.add_argument("--window-tokens", type=int, default=0, help="tokens of a window (default: the model's own)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="weights and activations")
    add_device(parser, workers=False)
    add_progress(parser)


def _run(given: argparse.Namespace) -> Any:
    texts = {name: getattr(given, name) for name in ("evaluation", "evaluation_windows", "window_tokens", "device")}
    if given.path:
        from bitlaw.probe import probe_path

        earlier, later = given.path
        places = {"places": given.places} if given.places else {}
        return probe_path(given.model, earlier, later, **places, **texts)
    if given.places:
        raise InputError("--places are points of --path FROM TO, which is not given.")
    if not given.store:
        raise InputError("Give --store FILE: what is measured is kept there, and another call goes on from it.")
    from bitlaw.probe import probe
    from bitlaw.store import shown

    chosen = {"snr_db": given.snr, "formats": given.formats, "methods": given.methods}
    with open_progress(given.progress) as progress:
        found = probe(
            given.model,
            given.store,
            of=given.of,
            tokens=given.tokens,
            seeds=given.seeds,
            taylor=given.taylor,
            layers=given.layers,
            layer_snr_db=given.layer_snr,
            compensated=not given.no_compensated,
            predictor=given.predictor,
            level=given.level,
            verify=given.verify,
            calibration=given.calibration,
            dtype=given.dtype,
            progress=progress,
            **{name: value for name, value in chosen.items() if value},
            **texts,
        )
    return {**found.to_dict(), "store": shown(given.store)}


def _text(data: dict[str, Any]) -> str:
    return _path_text(data) if "points" in data else _probe_text(data)


def _path_text(data: dict[str, Any]) -> str:
    points = [{"t": p["t"], "loss": p["loss"], "se": p["se"], "": p["reason"]} for p in data["points"]]
    change = data["linear_layers"]
    lines = [
        f"{data['suite']}: {data['from']} (t = 0) to {data['to']} (t = 1), {data['tokens_scored']:,} scored tokens",
        table(points),
        f"weights of the linear layers: |w| {number(change['norm_from'])} to {number(change['norm_to'])}, changed by "
        f"{number(change['change'])} ({change['relative']:.1%}), cosine {change['cosine']:.4f}",
    ]
    for end in ("begin", "end"):
        if data[end]:
            terms = data[end]
            lines.append(
                f"along the path at its {end}: gradient {number(terms['gradient'])}, curvature {number(terms['curvature'])} "
                "nats per token and (squared) unit of length"
            )
    return "\n".join(lines)


def _probe_text(data: dict[str, Any]) -> str:
    lines = [
        f"{data['model']} ({data['family']}): 16-bit loss {data['baseline_loss']:.4f} nats on {data['tokens_scored']:,} tokens; "
        f"{data['seconds']:.1f} s of measuring",
        "",
        "loss at a distance along random directions, SNR = 20 log10(|w| / |dw|):",
        table([{k: v for k, v in row.items() if v is not None} for row in data["landscape"]]),
    ]
    if data["compensated"]:
        rows = [{k: v for k, v in row.items() if v is not None} for row in data["compensated"]]
        lines += [
            "",
            "loss at that distance once the noise is compensated as GPTQ compensates its errors, in cells of micro_block columns:",
            table(rows),
        ]
    if data["layers"]:
        lines += ["", "loss when one layer is moved alone, the most sensitive first:", table(data["layers"])]
    lines.append("")
    forecast = data["forecast"]
    if forecast is None:
        lines.append(f"no forecast: {data['no_forecast']}")
    else:
        rows = [
            {
                "method": row["method"],
                "format": row["format"],
                "bits/weight": round(row["bits_per_weight"], 3),
                "loss": round(row["loss"], 3),
                "low": round(row["low"], 3),
                "high": round(row["high"], 3),
                "QiD": float(f"{row['qid']:.3g}"),
                "range": "outside" if row["outside"] else "inside",
            }
            for row in forecast["rows"]
        ]
        outside = list(dict.fromkeys(words for row in forecast["rows"] for words in row["outside"]))
        lines += [
            f"predicted loss by format, {forecast['level']:.0%} intervals, nothing quantized; trained on {forecast['trained_on']}:",
            table(rows),
            *(f"outside: {words}" for words in outside),
        ]
    if data["verified"]:
        rows = [
            {
                "method": row["method"],
                "format": row["format"],
                "predicted": round(row["predicted"], 3),
                "low": round(row["low"], 3),
                "high": round(row["high"], 3),
                "measured": row["reason"] if row["measured"] is None else round(row["measured"], 3),
                "in interval": {True: "yes", False: "no", None: ""}[row["covered"]],
            }
            for row in data["verified"]
        ]
        lines += ["", "measured after all:", table(rows)]
    lines += [f"failed: {line}" for line in data["failures"]]
    return "\n".join(lines)


PROBE = Verb(
    name="probe",
    summary="map a model's loss landscape and predict its loss in every format, before quantizing any",
    teach="""\
One sweep scores the 16-bit model and points along random directions at known distances (docs/landscape.md). The predictor
turns them into losses by format and method with intervals; --verify then measures some. Everything is kept in the store.

  bitlaw probe my-model --store probe.db
  bitlaw probe runs/families --of mpt-100k@390 --store families.db --verify 4
  bitlaw probe my-model --store probe.db --tokens 2e12 --predictor predictor.json.gz --layers
  bitlaw probe runs/families --path mpt-100k@195 mpt-100k@390""",
    arguments=_arguments,
    run=_run,
    text=_text,
)
