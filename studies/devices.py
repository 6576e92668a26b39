"""The same questions asked of two machines: `python studies/devices.py A.parquet B.parquet`, or a checkpoint measured again here.

    python studies/devices.py --suite FOLDER --work FOLDER --plan studies/mini-pythia-2/plan.toml --of dataset:mini-pythia-2 \
        --store cpu.db --device cpu

measures the checkpoints of FOLDER (brought back from a GPU with their suite.json) by the plan's first pass, in `--work`, where
the plan's texts lie, and compares each row with that of the same content key. Rows agree when they differ by at most two
standard errors, both rows' in quadrature; since both score the same tokens that is a generous measure, so the relative difference
is told too.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.records import Measurement
from bitlaw.store import read_parquet, records


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One question with two answers."""

    one: Measurement
    other: Measurement

    @property
    def relative(self) -> float:
        """Return the difference of QiD over the other's."""
        return abs(self.one.qid - self.other.qid) / max(abs(self.other.qid), 1e-12)

    @property
    def errors(self) -> float:
        """Return the difference in standard errors of a difference, the root of the sum of both squares."""
        return abs(self.one.qid - self.other.qid) / max(math.hypot(self.one.qid_se, self.other.qid_se), 1e-12)


def paired(ones: Iterable[Measurement], others: Iterable[Measurement]) -> list[Pair]:
    """Return the questions that both have, without the 16-bit model itself."""
    by_key = {m.key: m for m in others}
    return [Pair(one=m, other=by_key[m.key]) for m in ones if m.key in by_key and not m.asked.variant.is_baseline]


def table(pairs: Sequence[Pair]) -> str:
    """Return the pairs as a Markdown table, and a sentence."""
    lines = [
        "| checkpoint | variant | QiD, one | QiD, other | standard error | relative difference |",
        "|---|---|---|---|---|---|",
    ]
    for p in pairs:
        c = p.one.asked.checkpoint
        options = p.one.asked.variant.options
        label = p.one.asked.variant.label + (" (paper's)" if options.get("damping") == 0.1 else "")
        lines.append(
            f"| {c.model} {(c.tokens or 0) / 1e6:.0f}M | {label} | {p.one.qid:.6f} | {p.other.qid:.6f} | "
            f"{p.other.qid_se:.6f} | {100 * p.relative:.3f} % |"
        )
    agree = sum(p.errors <= 2 for p in pairs)
    devices = " and ".join(sorted({p.one.made.device for p in pairs} | {p.other.made.device for p in pairs}))
    return "\n".join([*lines, "", f"{agree} of {len(pairs)} rows agree within two standard errors ({devices})."])


def _read(name: str) -> list[Measurement]:
    return read_parquet(name) if name.endswith(".parquet") else records(name)


def main() -> int:
    """Compare, after measuring if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="two exports or stores to compare")
    parser.add_argument("--suite", type=Path, help="folder of checkpoints to measure here")
    parser.add_argument("--work", type=Path, help="folder in which the plan's texts lie")
    parser.add_argument("--plan", type=Path, help="measuring plan")
    parser.add_argument("--of", help="store, export or dataset to compare with")
    parser.add_argument("--store", help="where the new measurements go")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.suite is None:
        if len(given.files) != 2:
            parser.error("give two files, or --suite with --work, --plan, --of and --store")
        one, other = given.files
    else:
        from bitlaw.measure import measure, measure_plan, read_plan

        if not (given.work and given.plan and given.of and given.store):
            parser.error("--suite needs --work, --plan, --of and --store")
        plan, suite, store = measure_plan(read_plan(given.plan)), given.suite.resolve(), Path(given.store).resolve()
        os.chdir(given.work)
        measure(suite, plan, store, device=given.device)
        one, other = str(store), given.of
    pairs = paired(_read(one), _read(other))
    if not pairs:
        raise InputError(f"{one} and {other} have no question in common: other weights, texts or variants.")
    print(table(pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
