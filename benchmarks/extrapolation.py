"""Do bands outside the fitted range hold? Writes docs/extrapolation.md; two minutes on one core.

    python benchmarks/extrapolation.py [--tables 200] [--out docs/extrapolation.md]

Three tables. The drift per unit of ln(x / edge) that published forms show when ends of mini-pythia are left out,
which is where the drift known beforehand (`bitlaw.fit.drift.BEFOREHAND`) comes from. Held-out parts of every shipped table: share
inside the 90 % band of a new measurement with and without the drift, and how wide it is. Simulated tables whose truth bends
in tokens and size while the fitted law does not: the same, by how much it bends.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.fit import Fit, Noise, Table, fit, public_table
from bitlaw.fit.bootstrap import replicate
from bitlaw.fit.drift import BEFOREHAND
from bitlaw.fit.ends import JUDGED, squared_drift, turns
from bitlaw.fit.fitting import solved
from bitlaw.fit.holdout import holdout
from bitlaw.fit.simulate import Design
from bitlaw.laws import Law, law_from_text
from bitlaw.laws.ours import PUBLISHED_EXPONENTS

TURNED = 6e7  # tokens of mini-pythia from which all of its sizes have turned
PUBLISHED = ("ouyang2024-unified", "kumar2024-ptq")
ROOT = Path(__file__).parent.parent
PAGE = """# Bands outside the fitted range: do they hold?

Written by `benchmarks/extrapolation.py`. A fit widens its bands beyond its rows by how far its law went astray when the ends of
those rows were left out (`src/bitlaw/fit/ends.py` has the rule; [laws.md](laws.md) says what an answer does with it).

## What is known beforehand

Laws of the published form fitted to `mini-pythia`, its ends left out: drift per unit of ln(x / edge), one number a turn. Tokens beyond {turned:.0e},
where one power law has a fair chance. A fit of two sizes, or of few checkpoints, has nothing but this.

{evidence}

## Parts held out of every shipped table

Share of the rows left out that lie inside the 90 % band of a new measurement, with and without the drift, and how many times its upper end is its
lower end. Mini-pythia is where the number known beforehand comes from; the others took no part.

{held_out}

One held-out part is one observation: a model is off as a whole, so shares of 1.00 and 0.69 both happen to a band that is right. What to
read is the mean over parts. The last part of Pythia's tokens is where its curves steepen, all in one direction.

## A law that is wrong by a known amount

{tables} tables each: the truth's exponents of tokens and size move with tokens and size, by an amount drawn for each table (its standard deviation
a decade is given), while the fitted law is a plain power. Noise: .1 a row, .05 a checkpoint, .05 a model, a floor of 3e-4 nats.

{simulated}

Where the law is right the bands are wider than they need to be; nothing in such a table says that it is right farther out. Where exponents move by
.4 a decade, bands that grow in proportion to ln r fall behind.
"""


def evidence() -> str:
    """Return the drifts that published forms show at the ends of mini-pythia, tokens after the turn and sizes."""
    table = public_table("mini-pythia")
    lines = ["| rows | law | tokens below / beyond | size below / beyond |", "|---|---|---|---|"]
    every: list[float] = []
    for method in ("gptq", "nearest"):
        rows = table.where(method=method)
        for law in PUBLISHED:
            found = {
                name: [turn_drifts(law, part, name, end) for end in ("below", "beyond")]
                for name, part in (("tokens", rows.take(rows["tokens"] > TURNED)), ("parameters", rows))
            }
            every += [u for ends in found.values() for end in ends for u in end]
            cells = [" / ".join(", ".join(f"{u:.2f}" for u in end) for end in ends) for ends in found.values()]
            lines.append(f"| {method} | {law} | {' | '.join(cells)} |")
    size = float(np.sqrt(np.mean(np.square(every))))
    return "\n".join(lines) + f"\n\nRoot mean square of all {len(every)}: {size:.2f}. Known beforehand: {BEFOREHAND}."


def turn_drifts(law: str, rows: Table, name: str, end: str) -> list[float]:
    """Return the drift of each turn in which an end of the rows is left out."""
    found = solved(law, rows)
    assert name in JUDGED
    drifts = []
    for out, edge in turns(found.rows[name], end):
        kept = (~out).astype(float)
        points, _ = replicate(found.problem, found.solution, kept[None], found.problem.y[None])
        distance = np.log(found.rows[name] / edge)
        square = squared_drift(found.problem, found.solution, points[0], kept, out, distance)
        drifts += [] if square is None else [math.sqrt(square)]
    return drifts


def inside(result: Fit, rows: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows lie in the band of a new measurement (their standard error added), and ln(high / low)."""
    columns = {name: rows[name] for name in (*result.formula().variables, *result.levels) if name in rows}
    mean, (low, high) = result.predict(columns), result.band(columns, scatter=True)
    reach = 1.645 * np.nan_to_num(rows["qid_se"]) if "qid_se" in rows else 0.0
    down, up = mean - np.hypot(mean - low, reach), mean + np.hypot(high - mean, reach)
    return (down <= rows["qid"]) & (rows["qid"] <= up), np.log(high / np.maximum(low, 1e-3 * mean))


def cells(law: str | Law, rows: Table, out: np.ndarray, options: Mapping[str, Any]) -> tuple[str, float, float]:
    """Return the cells of one part held out, and the shares covered with and without drift."""
    result, left = fit(law, rows.take(~out), starts=4, **options), rows.take(out)
    away = result.predict({name: left[name] for name in result.formula().variables}) / left["qid"] - 1.0
    with_it, width = inside(result, left)
    without, narrow = inside(replace(result, drift={}), left)
    error = 100 * np.median(np.abs(away[left["qid"] > 5e-4]))
    words = (
        f"{len(left)} | {error:.0f} % | {with_it.mean():.2f} | {without.mean():.2f} | "
        f"{np.exp(np.median(width)):.1f} | {np.exp(np.median(narrow)):.1f}"
    )
    return words, float(with_it.mean()), float(without.mean())


def held_out() -> str:
    """Return the coverage of every holdout in size and tokens of the shipped tables."""
    lines = [
        "| table | held out | law | points | median error | covered | without drift | high / low | without |",
        "|---" * 9 + "|",
    ]
    shares: list[list[float]] = []
    parts: list[tuple[str, Table, tuple[str, ...], dict[str, Any]]] = []
    for name, vocabulary, told in (("mini-pythia", 4096, {"priors": PUBLISHED_EXPONENTS}), ("tiny-suite", 1024, {})):
        for method in ("gptq", "nearest"):
            ours = {"fixed": {"lnV": math.log(vocabulary)}, **told}
            laws = ("bitlaw-sensitivity", PUBLISHED[0])
            parts.append((f"{name}, {method}", public_table(name).where(method=method), laws, ours))
    pythia = public_table("pythia-digitised")
    parts.append(("Pythia, read off", pythia, ("bitlaw-sensitivity", "bitlaw-growth", PUBLISHED[0]), {}))
    huber = {"noise": Noise(kind="huber")}
    parts.append(("Pythia, Huber", pythia, ("bitlaw-growth", PUBLISHED[0]), huber))
    for label, table, laws, ours in parts:
        names = ["largest-size", "later-tokens"]
        masks = {name: holdout(table, name).turns[0] for name in names}
        masks["smallest-size"] = table["parameters"] == table["parameters"].min()
        for name, out in masks.items():
            for law in laws:
                options = ours if law.startswith("bitlaw") else {k: v for k, v in ours.items() if k == "noise"}
                words, *share = cells(law, table, out, options)
                lines.append(f"| {label} | {name} | {law} | {words} |")
                shares.append(share)
    for family in ("bloom", "opt"):
        for bits in (4, 3):
            rows = public_table("opt-bloom").where(family=family, method="gptq", bits=bits)
            out = holdout(rows, "largest-size").turns[0]
            words, *share = cells("ouyang2024-size", rows, out, {})
            lines.append(f"| {family}, {bits} bits | largest-size | ouyang2024-size | {words} |")
            shares.append(share)
    mean, bare = np.mean(shares, axis=0)
    return (
        "\n".join(lines)
        + f"\n\nMean share over the {len(shares)} lines: {mean:.2f} with the drift, {bare:.2f} without."
    )


BENT = law_from_text(
    "QiD = k * (D/1e10)^(beta + c*log(D/1e10)) / (N/1e8)^(alpha + s*log(N/1e8)) / P^gamma",
    name="bent",
    parameters=dict.fromkeys(("k", "beta", "c", "alpha", "s", "gamma"), 1.0),
)
TRUTH = {"k": 15.0, "beta": 0.5251, "alpha": 0.2261, "gamma": 4.5}
SIZES = {"three sizes": (2.5e7, 1e8, 4e8), "six sizes": tuple(np.geomspace(1e7, 1e9, 6))}
TOKENS = tuple(np.geomspace(1e9, 1e11, 10))
ASKED = {
    "2 to 10 times the tokens": (None, tuple(np.geomspace(2e11, 1e12, 4))),
    "4 to 30 times the size": ((4.0, 12.0, 30.0), (1e10, 1e11)),
    "both": ((4.0, 12.0, 30.0), (3e11, 1e12)),
}
BENDS = {"none": 0.0, "exponents move by .1 a decade": 0.1, "by .2": 0.2, "by .4": 0.4}


def simulated(tables: int) -> str:
    """Return the coverage of bands of the unified law where the truth bends, a bend drawn for each table."""
    lines = [
        "| fitted to | truth bends | asked | covered | without drift | high / low | without |",
        "|---" * 7 + "|",
    ]
    for words, sizes in SIZES.items():
        for bend, spread in BENDS.items():
            generator = np.random.default_rng(7)
            found: dict[str, list[np.ndarray]] = {name: [] for name in ASKED}
            for _ in range(tables):
                # an exponent e + c ln x moves by 2 c ln 10 a decade
                c, s = spread * generator.standard_normal(2) / (2 * math.log(10.0))
                whole = Design(
                    truth={**TRUTH, "c": float(c), "s": float(s)},
                    sizes=sizes,
                    tokens=TOKENS,
                    law=BENT,
                    own=0.1,
                    by_checkpoint=0.05,
                    by_model=0.05,
                    floor=3e-4,
                    se=3e-4,
                )
                result = fit("ouyang2024-unified", whole.draw(generator), starts=1)
                plain = replace(result, drift={})
                for name, (factors, tokens) in ASKED.items():
                    larger = sizes if factors is None else tuple(f * max(sizes) for f in factors)
                    new = replace(whole, sizes=larger, tokens=tokens).draw(generator)
                    hit, width = inside(result, new)
                    bare, narrow = inside(plain, new)
                    found[name].append(np.array([hit.mean(), bare.mean(), np.median(width), np.median(narrow)]))
            for name, each in found.items():
                hit, bare, width, narrow = np.mean(each, axis=0)
                ratios = " | ".join(f"{np.exp(w):.1f}" for w in (width, narrow))
                lines.append(f"| {words} | {bend} | {name} | {hit:.2f} | {bare:.2f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "extrapolation.md")
    given = parser.parse_args()
    parts = {"evidence": evidence(), "held_out": held_out(), "simulated": simulated(given.tables)}
    given.out.write_text(PAGE.format(turned=TURNED, tables=given.tables, **parts), encoding="utf-8")


if __name__ == "__main__":
    main()
