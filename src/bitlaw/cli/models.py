"""Verbs that touch models: demo, train, measure, suites. torch is imported when one of them runs, never for --help."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from bitlaw.catalog import METHODS
from bitlaw.cli.demo_text import describe
from bitlaw.cli.output import table
from bitlaw.cli.verb import Verb
from bitlaw.errors import InputError
from bitlaw.predict.memory import parse_size
from bitlaw.progress import open_progress


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Add --progress."""
    parser.add_argument(
        "--progress",
        default="auto",
        choices=("auto", "bars", "plain", "none"),
        help="how progress is shown on standard error (default: bars on a terminal, else plain lines)",
    )


def add_device(parser: argparse.ArgumentParser, *, workers: bool = True) -> None:
    """Add --device, and --workers where a verb has any."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (a GPU if there is one), cpu, cuda, cuda:1" + ", cuda:0,cuda:2" * workers + " (default: auto)",
    )
    if not workers:
        return
    parser.add_argument(
        "--workers", type=int, default=0, help="processes side by side (default: the cores, or one a GPU)"
    )


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="runs/demo", help="folder for suite, store, fits and report (default: runs/demo)"
    )
    add_device(parser)
    add_progress(parser)


def _run_demo(given: argparse.Namespace) -> Any:
    from bitlaw.demo import demo

    with open_progress(given.progress) as progress:
        result = demo(given.out, device=given.device, workers=given.workers, progress=progress)
    return result.to_dict()


DEMO = Verb(
    name="demo",
    summary="train, quantize, measure, fit, predict and report, from text, on this machine",
    teach="""\
Three GPT-NeoX models of 25k, 100k and 397k parameters are trained on a public-domain text that ships with bitlaw, six
checkpoints each; every checkpoint is quantized by GPTQ and to nearest at 2, 3 and 4 bits; the unified law is fitted; a
report is written. Run again it measures only what is missing; interrupted at any moment it goes on.

  bitlaw demo
  bitlaw demo --out /tmp/demo --progress plain""",
    arguments=_demo_arguments,
    run=_run_demo,
    text=describe,
)


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="a TOML file with a [train] section, or a shipped plan such as tiny")
    parser.add_argument(
        "--out", required=True, help="folder for checkpoints and suite.json; begun training goes on there"
    )
    parser.add_argument("--text", default="", help="a text or pattern of files instead of the plan's own")
    add_device(parser)
    add_progress(parser)


def _run_train(given: argparse.Namespace) -> Any:
    from bitlaw.train import train

    with open_progress(given.progress) as progress:
        suite = train(
            given.plan,
            given.out,
            text=given.text,
            device=given.device,
            workers=given.workers or None,
            progress=progress,
        )
    return _suite_rows(suite)


def _suite_rows(suite: Any) -> list[dict[str, Any]]:
    rows = []
    for c in suite.checkpoints:
        described = dataclasses.asdict(c.described)
        described.pop("commit")
        rows.append({**described, "path": str(c.path)})
    return rows


def _suite_text(rows: list[dict[str, Any]]) -> str:
    columns = ("model", "step", "tokens", "parameters", "learning_rate", "schedule", "path")
    return table(rows, [c for c in columns if any(row.get(c) is not None for row in rows)])


TRAIN = Verb(
    name="train",
    summary="train a suite of checkpoints from text by a plan",
    teach="""\
The plan names a text, a tokenizer size, models (architecture, width, layers, peak learning rate), tokens and a schedule;
docs/training.md has every setting. Checkpoints are kept at log-spaced token counts in Hugging Face format, with a
manifest (suite.json) that `bitlaw measure` reads. A killed run goes on where it was, to the same weights on a CPU.

  bitlaw train tiny --out runs/tiny
  bitlaw train my-plan.toml --out runs/mine --device cuda""",
    arguments=_train_arguments,
    run=_run_train,
    text=_suite_text,
)


def _measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="a suite by name or folder (`bitlaw suites` lists them)")
    parser.add_argument(
        "--store",
        required=True,
        help="keeps the measurements: an SQLite file, made if it does not exist, or postgresql://USER@HOST/DATABASE",
    )
    parser.add_argument("--plan", help="a TOML file with a [measure] section, or a shipped plan such as tiny")
    parser.add_argument(
        "--methods", nargs="+", default=[], metavar="METHOD", help=f"quantization methods: {', '.join(METHODS)}"
    )
    parser.add_argument("--bits", nargs="+", default=[], help="integer bit widths, 2-8; every method with every width")
    parser.add_argument(
        "--group-size", type=int, default=128, help="weights that share a scale, 0 for a row (default: 128)"
    )
    parser.add_argument("--symmetric", action="store_true", help="integers without a zero point")
    parser.add_argument(
        "--activations",
        nargs="+",
        default=[],
        metavar="FORMAT",
        help="rounding of linear-layer inputs: none, int8_token, int8_tensor, fp8_e4m3_token, crossquant8, ... (default: none)",
    )
    parser.add_argument(
        "--kv-cache",
        nargs="+",
        default=[],
        metavar="FORMAT",
        help="rounding of keys and values: none, int8_token, int4_token, fp8_e4m3_token, ... (default: none)",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="METHOD.NAME=VALUE", help="such as gptq.damping=0.1"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="'METHOD FORMAT [NAME=VALUE ...]'",
        help="one more variant, such as 'gptq int4_g32_sym order=activation'; braces make several: 'nearest int{3,4}_g32'",
    )
    parser.add_argument("--evaluation", help="text to score: sample:evaluation, file.jsonl.zst, file.txt:evaluation")
    parser.add_argument("--evaluation-windows", type=int, help="windows to score, 0 for all (default: 256)")
    parser.add_argument("--calibration", help="text for methods that look at inputs (default: sample:train)")
    parser.add_argument("--calibration-windows", type=int, help="calibration windows (default: 128)")
    parser.add_argument("--calibration-seed", type=int, help="which windows are drawn (default: 0)")
    parser.add_argument(
        "--window-tokens", type=int, help="tokens of a window (default: the model's own length, at most 2048)"
    )
    parser.add_argument(
        "--foreign", action="append", default=[], metavar="NAME=FOLDER",
        help="score a model that another tool quantized (GPTQ, AWQ, compressed-tensors, bitsandbytes, torchao)",
    )  # fmt: skip
    parser.add_argument("--of", default="", metavar="MODEL@STEP", help="the 16-bit original of --foreign")
    parser.add_argument("--foreign-bits", type=float, default=0.0, help="bits per weight where the folder does not say")
    parser.add_argument("--models", nargs="+", default=[], help="only these models of the suite")
    parser.add_argument("--steps", nargs="+", type=int, default=[], help="only the checkpoints of these steps")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="weights and activations")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="every N-th checkpoint, for job arrays (default: 0/1)"
    )
    parser.add_argument(
        "--memory",
        default="auto",
        metavar="SIZE",
        help="what activations and work may take of the device, such as 24GiB; further ones wait in host memory, and "
        "variants are walked in groups (default: auto, what is free)",
    )
    parser.add_argument("--ray", default="none", metavar="ADDRESS", help="run on a Ray cluster; local starts one here")
    parser.add_argument(
        "--stream", default="auto", choices=("auto", "yes", "no"),
        help="read each model block by block (auto: where its weights take over half of the free memory)",
    )  # fmt: skip
    parser.add_argument(
        "--compile", choices=("auto", "yes", "no"),
        help="run blocks through torch.compile (default: auto, on a GPU where the work is worth the wait)",
    )  # fmt: skip
    add_device(parser)
    add_progress(parser)


PLAN_FLAGS = (
    "evaluation", "evaluation_windows", "calibration", "calibration_windows", "calibration_seed", "window_tokens",
    "compile",
)  # fmt: skip


def _run_measure(given: argparse.Namespace) -> Any:
    from bitlaw.measure import MeasurePlan, measure, measure_plan, read_plan
    from bitlaw.store import shown

    settings = {name: getattr(given, name) for name in PLAN_FLAGS if getattr(given, name) is not None}
    flags = given.methods or given.bits or given.variant or given.activations or given.kv_cache
    if given.foreign:
        return _run_foreign(given, flags)
    if given.of or given.foreign_bits:
        raise InputError("--of and --foreign-bits say something of --foreign NAME=FOLDER, which is not given.")
    if given.plan and flags:
        raise InputError("--plan already names the variants. Give either --plan or --methods, --bits and --variant.")
    if given.plan:
        plan = dataclasses.replace(measure_plan(read_plan(given.plan)), **settings)
    else:
        plan = MeasurePlan.make(
            methods=given.methods,
            bits=given.bits,
            group_size=given.group_size,
            symmetric=given.symmetric,
            activations=given.activations or "none",
            kv_cache=given.kv_cache or "none",
            variants=given.variant,
            options=_method_options(given.option),
            **settings,
        )
    with open_progress(given.progress) as progress:
        summary = measure(
            given.suite,
            plan,
            given.store,
            models=given.models,
            steps=given.steps,
            device=given.device,
            dtype=given.dtype,
            workers=given.workers,
            shard=given.shard,
            ray=given.ray,
            stream=given.stream,
            memory=0 if given.memory == "auto" else int(parse_size(given.memory)),
            progress=progress,
        )
    return {**summary.to_dict(), "store": shown(given.store)}


def _run_foreign(given: argparse.Namespace, flags: Any) -> Any:
    from bitlaw.measure.foreign import foreign_model, measure_foreign
    from bitlaw.store import shown

    if given.plan or flags or given.models:
        raise InputError("--foreign is measured by itself, without --plan, --methods, --bits, --variant and --models.")
    texts = ("evaluation", "evaluation_windows", "window_tokens")
    with open_progress(given.progress) as progress:
        summary = measure_foreign(
            given.suite,
            [foreign_model(text, bits=given.foreign_bits) for text in given.foreign],
            given.store,
            of=given.of,
            device=given.device,
            dtype=given.dtype,
            progress=progress,
            **{name: getattr(given, name) for name in texts if getattr(given, name) is not None},
        )
    return {**summary.to_dict(), "store": shown(given.store)}


def _method_options(given: list[str]) -> dict[str, dict[str, Any]]:
    from bitlaw.quantize.scalars import scalar

    options: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        method, dot, option = name.partition(".")
        if not (equals and dot):
            raise InputError(f"--option {text!r} is not of the form METHOD.NAME=VALUE, such as gptq.damping=0.1.")
        options.setdefault(method, {})[option] = scalar(value)
    return options


def _measure_text(data: dict[str, Any]) -> str:
    said = f"{data['measured']} measured, {data['skipped']} already in the store, {data['failed']} failed -> {data['store']}"
    same = [f"  {name} is {kept}: measured once" for name, kept in data.get("duplicates", {}).items()]
    return "\n".join([said, *(f"  {line}" for line in data["failures"]), *same])


MEASURE = Verb(
    name="measure",
    summary="quantize and score every checkpoint of a suite; keep what is measured",
    teach="""\
All variants of a checkpoint are measured in one walk over its blocks, beside the 16-bit model, on the same tokens.
What the store already holds is skipped, so the same command goes on after an interruption.

  bitlaw measure runs/tiny --store tiny.db --methods gptq nearest --bits 2 3 4
  bitlaw measure runs/tiny --store tiny.db --plan tiny
  bitlaw measure runs/tiny --store postgresql://me@server/bitlaw --plan tiny --shard 0/4
  bitlaw measure runs/tiny --store tiny.db --methods gptq --bits 4 8 --activations none int8_token --kv-cache int8_token
  bitlaw measure runs/tiny --store tiny.db --variant 'none none activations=int8_token'
  bitlaw measure runs/tiny --store tiny.db --foreign gptq-w4=their-folder --of neox-397k@1221
  bitlaw measure checkpoints/ --store my.db --variant 'gptq int4_g32_sym order=activation' --evaluation wiki.txt

GPTQ's options (gptq.NAME=VALUE): scales dynamic|block|static, damping, order none|activation, upstream quantized|full_precision,
within_block parallel|sequential, on_failure raise|nearest, block_size.""",
    arguments=_measure_arguments,
    run=_run_measure,
    text=_measure_text,
)


def _suites_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", help="list the checkpoints of this suite")


def _run_suites(given: argparse.Namespace) -> Any:
    from bitlaw.suites import open_suite, suites

    if given.suite:
        return _suite_rows(open_suite(given.suite))
    return [dataclasses.asdict(info) for info in suites()]


def _suites_text(rows: list[dict[str, Any]]) -> str:
    return _suite_text(rows) if rows and "model" in rows[0] else table(rows)


SUITES = Verb(
    name="suites",
    summary="list known suites, or the checkpoints of one",
    teach="""\
A suite is a set of checkpoints with what is known of each: tokens, parameters, learning rate, schedule. Any folder of
Hugging Face checkpoints becomes one by a small suite.json; docs/suites.md says how.

  bitlaw suites
  bitlaw suites runs/tiny""",
    arguments=_suites_arguments,
    run=_run_suites,
    text=_suites_text,
)
