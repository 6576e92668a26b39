"""docs/findings.md and its figures from the shipped records alone: python studies/findings/make.py [--into REPOSITORY].

A part whose dataset is not shipped says so. Verdicts follow from the intervals (saying.py): `holds` when the whole 90 % interval is on the
claim's side, `does not hold` when it is on the other, else `cannot be told`.

    saying.py      claims and verdicts        pairing.py    pairs of measurements, ratios of QiD
    laws_held.py   the first paper's laws     studied.py    the sections of the other studies
    decay.py, seeding.py, ablating.py         their numbers and figures
    machines.py    CPU against GPU            landscapes_held.py   the second paper's claims
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import seeding  # noqa: E402
from landscapes_held import of_families  # noqa: E402
from laws_held import first_paper  # noqa: E402
from machines import found as answered_twice  # noqa: E402
from machines import of_machines  # noqa: E402
from saying import Part  # noqa: E402
from studied import of_ablations, of_decay, of_native, of_seeds  # noqa: E402

from bitlaw.datasets import load, names  # noqa: E402


def parts() -> tuple[list[Part], list[str]]:
    """Return the parts that the shipped datasets allow, and the names of datasets that are not there."""
    wanted = ("mini-pythia", "lr-state", "mini-pythia-2", "native", "ablations", "families")
    there = {name: load(name) for name in wanted if name in names()}
    part, alphas = first_paper(there["mini-pythia"])
    made = [part]
    if "lr-state" in there:
        made.append(of_decay(there["lr-state"]))
    if "mini-pythia-2" in there:
        made.append(of_seeds(there["mini-pythia"], there["mini-pythia-2"], alphas))
    if "native" in there:
        seeds = seeding.found(there["mini-pythia"], there["mini-pythia-2"]) if "mini-pythia-2" in there else None
        made.append(of_native(there["native"], float("nan") if seeds is None else seeds.loss_spread))
    if "ablations" in there:
        made.append(of_ablations(there["ablations"], there.get("lr-state", [])))
    if "families" in there:
        made.append(of_families(there["families"]))
    twice = answered_twice(HERE.parent, there)
    if twice:
        made.append(of_machines(twice))
    return made, [name for name in wanted if name not in there]


HEAD = """\
# Findings

What this project's own measurements say of the claims of both papers and of their critics. Everything here is made from the shipped records
([datasets.md](datasets.md)) by `studies/findings/make.py`; intervals are 90 %. A claim holds when the whole interval is on its side, does not hold when it is
on the other, and cannot be told otherwise. Models have at most tens of millions of parameters: three decades
below what people deploy. Agreement is an observation about this range, disagreement too.

| claim | whose | here | evidence |
|---|---|---|---|
{claims}
{absent}
"""
CONFOUNDED = """\
## What is confounded

- In mini-pythia and mini-pythia-2 one cosine ends with the data: tokens and decay rise together. `lr-state` takes them apart, for its sizes and
  tokens only.
- Size and peak rate go together in every study (the larger, the lower), except the two peak rates of lr-state.
- Training text is repeated (117M distinct tokens); vocabulary is 4096 tokens; one text mixture.
- The second training seed ran on another GPU than the first.
- Calibration text is part of the training text, as in practice.
"""


def page(made: Sequence[Part], absent: Sequence[str]) -> str:
    """Return the page's Markdown."""
    claims = "\n".join(f"| {c.claim} | {c.whose} | {c.verdict} | {c.evidence} |" for part in made for c in part.claims)
    said = f"\nNot measured yet: {', '.join(absent)} ([studies.md](studies.md) has the plans).\n" if absent else ""
    sections = "\n\n".join(f"## {part.title}\n\n{part.text}" for part in made)
    return HEAD.format(claims=claims, absent=said) + "\n" + sections + "\n\n" + CONFOUNDED


def main() -> int:
    """Write page and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=HERE.parent.parent, help="repository to write to")
    given = parser.parse_args()
    made, absent = parts()
    figures = given.into / "docs" / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for part in made:
        for name, (figure, _) in part.figures.items():
            figure.savefig(figures / name, dpi=90, metadata={"Software": ""})
    (given.into / "docs" / "findings.md").write_text(page(made, absent))
    print(f"{sum(len(p.claims) for p in made)} claims; not measured: {', '.join(absent) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
