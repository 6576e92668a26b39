"""What mini-pythia says of the first paper's laws."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pairing import model, quantized, ratio_slope, tokens, way
from saying import FAILS, HOLDS, OPEN, Claim, Part, all_of, verdict, within

from bitlaw.records import Measurement
from bitlaw.report.ouyang2024 import reproduce_ouyang2024
from bitlaw.report.ouyang2024.fits import THRESHOLD
from bitlaw.report.ouyang2024.rows import WIDTHS, main_rows, one_calibration, usable
from bitlaw.report.slopes import Slope, common_slope

LATE = 1e8  # tokens: the exponent beyond it is told apart


def first_paper(rows: Sequence[Measurement]) -> tuple[Part, dict[float, tuple[float, float]]]:
    """What mini-pythia says of the first paper's laws, in the words of `bitlaw reproduce`; and alpha's interval at each width."""
    made = reproduce_ouyang2024(rows, source=[], suite="mini-pythia")
    said = {item.name: item.ours for item in made.items}
    part = Part(title="The first paper's laws (mini-pythia)")
    part.text = (
        "Six sizes, 0.2M to 17.7M, to 512M tokens; [mini-pythia.md](mini-pythia.md) has the figures, `bitlaw reproduce ouyang2024` all "
        "of the paper's.\n\n"
        + "\n".join(
            f"- {words}: {said[name]}"
            for name, words in (("F3", "tokens"), ("F4", "size"), ("F5", "bits"), ("F6", "unified law"))
        )
    )
    ours = "Ouyang et al. 2024"
    mine = [m for m in main_rows(usable(rows), "mini-pythia").rows if m.qid > THRESHOLD]
    whole = {bits: _growth(m for m in mine if m.asked.variant.bits == bits) for bits in WIDTHS}
    late = {bits: _growth(m for m in mine if m.asked.variant.bits == bits and tokens(m) >= LATE) for bits in WIDTHS}
    sizes = {row[0]: row[2:] for item in made.items if item.name == "F4" for row in item.grids[0].rows}
    first, last = ([_interval(cells[at]) for cells in sizes.values()] for at in (0, -1))
    grid = next(item.grids[0].heads for item in made.items if item.name == "F4")
    gamma = _interval(next(item.grids[0].rows[0][2] for item in made.items if item.name == "F5"))

    def of_bits(values: Iterable[str]) -> str:
        return ", ".join(f"{bits:g} bits {words}" for bits, words in zip(WIDTHS, values))

    part.claims = [
        Claim(
            claim="QiD grows with training tokens",
            whose=ours,
            verdict=verdict(min(s.low for s in whole.values()), min(s.high for s in whole.values())),
            evidence=f"beta {of_bits(s.words for s in whole.values())} (mini-pythia.md, figure 1)",
        ),
        Claim(
            claim="it is one power of tokens",
            whose=ours,
            verdict=FAILS if any(late[b].high < whole[b].low for b in WIDTHS) else OPEN,
            evidence=f"beyond 100M tokens beta is {of_bits(s.words for s in late.values())}; over all of training it is in the line above",
        ),
        Claim(
            claim="larger models lose less",
            whose=ours,
            verdict=verdict(min(low for low, _ in last), min(high for _, high in last))
            + (", not at few tokens" if any(high < 0 for _, high in first) else ""),
            evidence=f"{grid[-1]} tokens {of_bits(cells[-1] for cells in sizes.values())}; {grid[2]} {of_bits(cells[0] for cells in sizes.values())} (mini-pythia.md, figure 2)",
        ),
        Claim(
            claim="bits act as P^-5.48",
            whose=ours,
            verdict=HOLDS if gamma[0] <= 5.48 <= gamma[1] else f"{FAILS}: lower" if gamma[1] < 5.48 else f"{FAILS}: higher",
            evidence=f"{said['F5']} With other widths and grids 4.9 to 5.9 (mini-pythia.md)",
        ),
        methods_alike(rows),
    ]  # fmt: skip
    return part, dict(zip(WIDTHS, last))


ALIKE = 0.1  # exponents that differ by no more than this are alike
OTHERS = {"awq int4_g128": "AWQ", "nearest nf4_g64": "NF4", "nearest int4_g128": "nearest"}


def methods_alike(rows: Sequence[Measurement]) -> Claim:
    """Whether QiD at 4 bits goes with tokens as GPTQ's does, whatever the method: slopes of the ratio to GPTQ's at the same checkpoints."""
    four = one_calibration(quantized(rows))
    plain = [m for m in four if way(m) == "gptq int4_g128"]
    slopes = {
        words: ratio_slope([m for m in four if way(m) == name], plain, lambda m: (model(m), tokens(m)), model)
        for name, words in OTHERS.items()
    }
    told = [within(s.low, s.high, -ALIKE, ALIKE) for s in slopes.values()]
    return Claim(
        claim=f"methods at 4 bits grow with tokens alike (exponents within {ALIKE:g} of GPTQ's)",
        whose="Ouyang et al. 2024, Figure 9",
        verdict=all_of(told),
        evidence="exponent less that of GPTQ: " + ", ".join(f"{words} {s.words}" for words, s in slopes.items()),
    )


def _growth(rows: Iterable[Measurement]) -> Slope:
    listed = list(rows)
    names_ = [m.asked.checkpoint.model for m in listed]
    return common_slope([tokens(m) for m in listed], [m.qid for m in listed], names_, names_)


def _interval(words: str) -> tuple[float, float]:
    """Return the ends of `0.25 [0.17, 0.32]`."""
    found = re.search(r"\[(-?[\d.]+), (-?[\d.]+)\]", words)
    return (float(found[1]), float(found[2])) if found else (float("nan"), float("nan"))
