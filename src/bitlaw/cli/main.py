"""The parser, its help, and errors as one line with an exit code: 2 for input that cannot be used, 1 for anything else."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bitlaw import __version__
from bitlaw.cli import choices, landscape, models, numbers, probing, questions, records, reproducing
from bitlaw.cli.output import as_json
from bitlaw.cli.verb import Verb
from bitlaw.errors import BitlawError, InputError

VERBS: tuple[Verb, ...] = (
    models.DEMO,
    models.TRAIN,
    models.MEASURE,
    probing.PROBE,
    records.RECORDS,
    numbers.FIT,
    questions.PREDICT,
    questions.TOKENS_TO_TRAIN,
    questions.TRAINING_LEVEL,
    questions.CRITICAL_TOKENS,
    questions.FEWEST_BITS,
    choices.PROJECT,
    choices.PLAN,
    choices.COMPARE_LAWS,
    landscape.PREDICTOR,
    landscape.FRONTIER,
    numbers.LAW,
    numbers.REPORT,
    reproducing.REPRODUCE,
    models.SUITES,
    numbers.CATALOG,
)

TEACH = """\
How much will low-bit quantization hurt this language model, and which bits should I choose?

The flow: train or bring checkpoints, measure them, fit a law, ask.

  bitlaw demo                                          all of it in a few minutes, from text, on this machine
  bitlaw train tiny --out runs/tiny                    train a suite of checkpoints from a plan
  bitlaw measure runs/tiny --methods gptq nearest --bits 2 3 4 --store runs/tiny.db
  bitlaw fit --store runs/tiny.db --where method=gptq --out runs/gptq.json
  bitlaw report --store runs/tiny.db --out runs/report.html
  bitlaw predict --params 70e9 --tokens 15e12 --bits 4
  bitlaw tokens-to-train --params 70e9 --bits 4 --qid 0.2
  bitlaw plan --memory 24GiB --candidates small:7B:15T:8B large:68B:15T:70B

QiD is loss(quantized) - loss(16-bit), nats per token, on the same tokens in one pass. Every number comes with its error.
`bitlaw VERB --help` explains a verb with examples. Every verb is a Python function of the same name in `bitlaw.api`."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = _Parser(prog="bitlaw", description=TEACH, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"bitlaw {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for verb in VERBS:
        one = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{verb.teach}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.arguments(one)
        one.add_argument("--json", action="store_true", help="print JSON (one line a row) instead of text")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    by_name = {verb.name: verb for verb in VERBS}
    if given and not given[0].startswith("-") and given[0] not in by_name:
        near = difflib.get_close_matches(given[0], by_name, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        print(f"bitlaw: Unknown verb {given[0]!r}.{hint} Known: {', '.join(by_name)}.", file=sys.stderr)
        return 2
    parser = build_parser()
    parsed = parser.parse_args(given)
    if parsed.verb is None:
        parser.print_help()
        return 0
    verb = by_name[parsed.verb]
    try:
        data = verb.run(parsed)
        print(as_json(data) if parsed.json else verb.text(data), flush=True)
    except InputError as error:
        return _said(verb, error, 2)
    except BitlawError as error:
        return _said(verb, error, 1)
    except KeyboardInterrupt:
        print(
            f"bitlaw {verb.name}: stopped. What was measured is kept; run the same command to go on.", file=sys.stderr
        )
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _said(verb: Verb, error: BitlawError, code: int) -> int:
    print(f"bitlaw {verb.name}: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
