"""Verbs that ask about one model: predict, tokens-to-train, training-level, critical-tokens, fewest-bits. No torch."""

from __future__ import annotations

import argparse
from typing import Any

from bitlaw.cli import asking
from bitlaw.cli.output import number, table
from bitlaw.cli.verb import Verb


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=asking.a_count, required=True, help=asking.MODEL)
    parser.add_argument("--tokens", type=asking.a_count, required=True, help=asking.TOKENS)
    parser.add_argument("--bits", type=float, required=True, help=asking.BITS)
    asking.add_law(parser)
    asking.add_loss(parser)


def _run_predict(given: argparse.Namespace) -> Any:
    from bitlaw.predict import predict

    return predict(given.params, given.tokens, given.bits, **asking.settings(given), **asking.losses(given)).to_dict()


def _predict_text(data: dict[str, Any]) -> str:
    lines = [
        f"QiD {number(data['value'])} nats per token  ({asking.interval(data['interval'])})",
        f"for N = {number(data['parameters'])}, D = {number(data['tokens'])}, {number(data['bits'])} bits",
    ]
    if data["baseline_loss"] is None:
        lines.append(f"16-bit loss: unknown ({data['loss_source']})")
    else:
        lines.append(
            f"16-bit loss {number(data['baseline_loss'])} + QiD = quantized loss {number(data['quantized_loss'])}  "
            f"({asking.interval(data['quantized_interval'])})"
        )
        lines.append(f"16-bit loss from: {data['loss_source']}")
    others = [*asking.beside(data, "QiD", "nats"), *asking.of_records(data)]
    return "\n".join([*lines, *asking.origin(data), *others, *asking.holds(data)])


PREDICT = Verb(
    name="predict",
    summary="predict the degradation of a model nobody has quantized yet",
    teach="""\
From published laws, from the records that come with bitlaw where they cover the question (--law records: always), or from
a fit of your own measurements. The answer says which law, its constants' source, an
interval, and whether the question lies outside the range the law was fitted on; --strict refuses such a question.

  bitlaw predict --params 70e9 --tokens 15e12 --bits 4
  bitlaw predict --params 6.4B --tokens 200B --bits 3 --strict
  bitlaw predict --params 1e6 --tokens 1e8 --bits 3 --fit gptq.json --loss-fit loss.json --json""",
    arguments=_predict_arguments,
    run=_run_predict,
    text=_predict_text,
)


def _tokens_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=asking.a_count, required=True, help=asking.MODEL)
    parser.add_argument("--bits", type=float, required=True, help=asking.BITS)
    parser.add_argument("--qid", type=float, default=0.2, help="degradation to reach, nats per token (default: 0.2)")
    asking.add_law(parser)


def _run_tokens(given: argparse.Namespace) -> Any:
    from bitlaw.predict import tokens_to_train

    return tokens_to_train(given.params, given.bits, given.qid, **asking.settings(given)).to_dict()


def _tokens_text(data: dict[str, Any]) -> str:
    lines = [
        f"{number(data['value'])} training tokens  ({asking.interval(data['interval'])})",
        f"until N = {number(data['parameters'])} at {number(data['bits'])} bits loses {number(data['qid'])} nats per token",
    ]
    return "\n".join([*lines, *asking.origin(data), *asking.beside(data, "D", "tokens"), *asking.holds(data)])


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


def _level_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--qid", type=float, required=True, help="the measured degradation, nats per token")
    parser.add_argument("--qid-se", type=float, default=0.0, help="its standard error, nats per token (default: 0)")
    parser.add_argument("--params", type=asking.a_count, required=True, help=asking.MODEL)
    parser.add_argument("--bits", type=float, required=True, help=asking.BITS)
    parser.add_argument("--tokens", type=asking.a_count, help=f"{asking.TOKENS}, if known")
    asking.add_law(parser)


def _run_level(given: argparse.Namespace) -> Any:
    from bitlaw.predict import training_level

    return training_level(
        given.qid, given.params, given.bits, qid_se=given.qid_se, tokens=given.tokens, **asking.settings(given)
    ).to_dict()


def _level_text(data: dict[str, Any]) -> str:
    lines = [
        data["reading"],
        f"degrades like a model of this size trained on {number(data['value'])} tokens  "
        f"({asking.interval(data['interval'])})",
    ]
    if data["ratio"] is not None:
        lines.append(
            f"{number(data['ratio'])} times the {number(data['tokens'])} tokens it saw  "
            f"({asking.interval(data['ratio_interval'])})"
        )
    lines.append(
        f"measured: QiD {number(data['qid'])} ± {number(data['qid_se'])} nats per token at {number(data['bits'])} bits, "
        f"N = {number(data['parameters'])}; a token keeps {100 * data['likelihood']:.0f} % of its likelihood"
    )
    return "\n".join([*lines, *asking.origin(data), *asking.holds(data)])


TRAINING_LEVEL = Verb(
    name="training-level",
    summary="how trained a model is, judged by a measured degradation",
    teach="""\
Small degradations mean undertrained, large ones fully trained: the law inverted at what was measured gives the tokens of
a model of this size that degrades as much, and their ratio to the tokens it really saw.

  bitlaw training-level --qid 0.05 --qid-se 0.01 --params 7B --bits 4 --tokens 2T
  bitlaw training-level --qid 0.8 --params 1e9 --bits 2 --fit gptq.json""",
    arguments=_level_arguments,
    run=_run_level,
    text=_level_text,
)


def _critical_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=asking.a_count, required=True, help=asking.MODEL)
    parser.add_argument("--bits", type=float, required=True, help=asking.BITS)
    parser.add_argument("--tokens", type=asking.a_count, help="tokens of a model of yours, to compare with")
    asking.add_law(parser)
    asking.add_loss(parser)


def _run_critical(given: argparse.Namespace) -> Any:
    from bitlaw.predict import critical_tokens

    return critical_tokens(
        given.params, given.bits, tokens=given.tokens, **asking.settings(given), **asking.losses(given)
    ).to_dict()


def _critical_text(data: dict[str, Any]) -> str:
    flat = [data["flat_from"], data["flat_to"]]
    lines = [
        f"{number(data['value'])} training tokens  ({asking.interval(data['interval'])})",
        f"more make N = {number(data['parameters'])} at {number(data['bits'])} bits worse: there 16-bit loss "
        f"{number(data['baseline_loss'])} + QiD {number(data['qid'])} = {number(data['quantized_loss'])} nats per token",
        f"within {number(data['flat_nats'])} nats of that from {' to '.join('no end' if e is None else number(e) for e in flat)} tokens",
    ]
    if data["ratio"] is not None:
        side = "not yet reached" if data["ratio"] > 1 else "passed"
        lines.append(f"{number(data['ratio'])} times the {number(data['tokens'])} tokens given: {side}")
    if data["closed_form"] is not None:
        lines.append(f"closed form: {number(data['closed_form'])} tokens")
    lines.append(f"16-bit loss from: {data['loss_source']}")
    return "\n".join([*lines, *asking.origin(data), *asking.holds(data)])


CRITICAL_TOKENS = Verb(
    name="critical-tokens",
    summary="training tokens past which more training makes the quantized model worse",
    teach="""\
The 16-bit loss falls with training, the degradation grows: their sum is least somewhere. Numeric for any pair of laws;
the closed form of Kumar et al. is printed beside it where the laws have its form.

  bitlaw critical-tokens --params 7B --bits 3
  bitlaw critical-tokens --params 1B --bits 4 --law kumar2024-ptq --tokens 2T
  bitlaw critical-tokens --params 1e6 --bits 3 --fit gptq.json --loss-fit loss.json""",
    arguments=_critical_arguments,
    run=_run_critical,
    text=_critical_text,
)


def _fewest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=asking.a_count, required=True, help=asking.MODEL)
    parser.add_argument("--tokens", type=asking.a_count, required=True, help=asking.TOKENS)
    parser.add_argument("--budget", type=float, required=True, help="degradation allowed, nats per token, such as 0.05")
    asking.add_law(parser)


def _run_fewest(given: argparse.Namespace) -> Any:
    from bitlaw.predict import fewest_bits

    return fewest_bits(given.params, given.tokens, given.budget, **asking.settings(given)).to_dict()


def _fewest_text(data: dict[str, Any]) -> str:
    def bits(value: float | None) -> str:
        return "none up to 16" if value is None else f"{value:g}"

    rows = [
        {
            "bits": width["bits"],
            "QiD": width["value"],
            "low": width["low"],
            "high": width["high"],
            "within": "yes, safely" if width["safe"] else "yes" if width["within"] else "no",
            "law": width["law"],
            "range": "outside" if width["outside"] else "inside",
        }
        for width in data["widths"]
    ]
    lines = [
        f"{bits(data['whole'])} bits keep QiD within {number(data['budget'])} nats per token; "
        f"{bits(data['whole_safe'])} bits keep the upper end of its {data['interval']['level']:.0%} interval there",
        f"for N = {number(data['parameters'])}, D = {number(data['tokens'])}",
        f"real-valued: {number(data['value'])} bits per weight  ({asking.interval(data['interval'])})",
        table(rows),
    ]
    return "\n".join([*lines, *asking.origin(data), *asking.holds(data)])


FEWEST_BITS = Verb(
    name="fewest-bits",
    summary="fewest bits per weight that keep the degradation within a budget",
    teach="""\
The smallest whole width whose predicted degradation, and whose upper interval end, stays within the budget, and the
real-valued width for mixed precision.

  bitlaw fewest-bits --params 7B --tokens 2T --budget 0.05
  bitlaw fewest-bits --params 1e6 --tokens 1e8 --budget 0.02 --fit gptq.json""",
    arguments=_fewest_arguments,
    run=_run_fewest,
    text=_fewest_text,
)
