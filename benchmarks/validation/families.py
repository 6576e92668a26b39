"""Three suites: each left out whole, and constants carried from one to another."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlaw.fit import Contender, Holdout, compare, fit, joined
from bitlaw.fit.fitting import SCORE_THRESHOLD
from bitlaw.fit.public import public_table
from bitlaw.laws import load_law
from bitlaw.laws.ours import PER_PARAMETER, PUBLISHED_EXPONENTS
from validation.cells import percent, text
from validation.contending import LOG_PYTHIA, OURS, UNTOLD, headroom, with_family

PAIRS = (("tiny-suite", "mini-pythia"), ("mini-pythia", "tiny-suite"))  # fitted to, asked about
FORMS = {
    "ouyang2024-unified": ("beta", "alpha"),
    "kumar2024-ptq": ("gD", "gN"),
}  # their exponents of tokens and of size


def families() -> str:
    """Three suites, GPTQ: each left out whole, with and without a factor for each suite; and constants carried over as they are."""
    tables = {
        "mini-pythia": headroom(public_table("mini-pythia").where(method="gptq"), 4096),
        "tiny": headroom(public_table("tiny-suite").where(method="gptq"), 1024),
        "pythia": public_table("pythia-digitised"),
    }
    rows = joined(list(tables.values()), source="three suites")
    listed = [
        Contender(law=law, name=f"{law}{words}", options={**(UNTOLD if law in OURS else {}), **options})
        for law in (*OURS, "ouyang2024-unified", "kumar2024-ptq")
        for words, options in (("", {}), (", a factor a suite", {"offsets": ("suite",)}))
    ]
    found = [
        compare(
            listed,
            rows,
            [Holdout(name=f"{suite} left out", words=f"all of {suite}", turns=(rows["suite"] == suite,))],
            starts=3,
        )
        for suite in tables
    ]
    whole = found[0]
    for part in found[1:]:
        whole = with_family(whole, part)
    result = fit("bitlaw-sensitivity", rows, **UNTOLD, offsets=("suite",), starts=3)
    return (
        "## Families: mini-pythia, tiny-suite and Pythia, GPTQ\n\n"
        + text(whole)
        + "\n\n"
        + f"One set of constants and a factor for each suite, all {len(rows)} rows from 25k parameters to 12B (`bitlaw-sensitivity`, "
        f"published exponents known): log-R2 {result.scores.log_r2:.3f}, median error "
        f"{percent(result.scores.median_relative_error)}.\n\n" + carried() + "\n\n" + told_alike()
    )


def carried() -> str:
    """Constants fitted to mini-pythia, asked about Pythia with nothing refitted."""
    table, mine = public_table("pythia-digitised"), public_table("mini-pythia").where(method="gptq")
    lines = [
        "**Constants carried over.** Fitted to mini-pythia's GPTQ rows (0.2M to 17.7M, to 512M tokens), asked about the Pythia points "
        "with nothing refitted:",
        "",
        "| law | predicted / measured, median: 160M | 1B | 12B | median error | log-R2 |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*OURS, "ouyang2024-unified", "kumar2024-ptq"):
        law = load_law(name)
        if name in OURS:
            values = {**law.constants("gptq").values, "lnV": LOG_PYTHIA}
        else:
            values = dict(fit(name, mine, starts=3).values)
        ratio = law.evaluate(values, table.columns) / table["qid"]
        medians = [f"{np.median(ratio[table['parameters'] == n]):.3g}" for n in np.unique(table["parameters"])]
        logs = np.log(table["qid"])
        log_r2 = 1 - np.sum(np.log(ratio) ** 2) / np.sum((logs - logs.mean()) ** 2)
        error = percent(float(np.median(np.abs(ratio - 1))))
        lines.append(f"| {name} | {' | '.join(medians)} | {error} | {log_r2:.2f} |")
    return "\n".join(lines)


def told_alike() -> str:
    """One of the two small suites from the other, where the published forms know their own exponents beforehand too."""
    beta, alpha = PUBLISHED_EXPONENTS["beta"], PUBLISHED_EXPONENTS["alpha"]
    of_size = (alpha[0] / PER_PARAMETER, alpha[1] / PER_PARAMETER)
    ways: list[tuple[str, str, dict[str, Any]]] = [("bitlaw-sensitivity", "known", UNTOLD)]
    for law, (tokens, size) in FORMS.items():
        ways.append((law, "refitted", {}))
        ways.append((law, "known", {"priors": {tokens: beta, size: of_size}}))
        ways.append((law, "held", {"fixed": {tokens: beta[0], size: of_size[0]}}))
    tables = {
        (name, method): headroom(public_table(name).where(method=method), vocabulary)
        for name, vocabulary in (("mini-pythia", 4096), ("tiny-suite", 1024))
        for method in ("gptq", "nearest")
    }
    columns = [(fitted, asked, m) for fitted, asked in PAIRS for m in ("gptq", "nearest")]
    heads = " | ".join(f"{asked} from {fitted}, {method}" for fitted, asked, method in columns)
    lines = [f"| law | published exponents | {heads} |", "|---" * (len(columns) + 2) + "|"]
    for law, words, options in ways:
        cells = []
        for fitted, asked, method in columns:
            rows = tables[asked, method]
            ratio = fit(law, tables[fitted, method], starts=3, **options).predict(rows.columns) / rows["qid"]
            ratio = ratio[rows["qid"] > SCORE_THRESHOLD]
            factor = float(np.exp(np.median(np.abs(np.log(ratio)))))
            cells.append(f"{percent(float(np.median(np.abs(ratio - 1))))} (x{factor:.2f})")
        lines.append(f"| {law} | {words} | {' | '.join(cells)} |")
    return (
        "**What the published exponents do by themselves.** One small suite from the other; published exponents of tokens and size left "
        "out (refitted), known beforehand with the same width for every law, or held. Median error (median factor):\n\n"
        + "\n".join(lines)
    )
