"""Public tables of final models: BLOOM, OPT, LLaMA."""

from __future__ import annotations

import math

import numpy as np

from bitlaw.fit import Fit, Noise, Table, compare, fit
from bitlaw.fit.holdout import possible
from bitlaw.fit.public import public_table
from bitlaw.laws import law_from_text
from validation.cells import text
from validation.contending import contenders

SIZE_EXPONENTS = {"bloom": (0.32, 0.34), "opt": (0.29, 0.44)}  # quick fits made before the project began
LLAMA_EXPONENT = (-0.25, 0.11)
SLOPE_A_BIT = (-1.46, -1.46)  # median of the asymmetric ones; noise theory: -2 ln 2 = -1.39
SLOPE = law_from_text(
    "QiD = k * exp(slope * P)", name="exponential in bits", parameters={"k": 100.0, "slope": (-4.0, 0.0)}
)


def exponents() -> str:
    """Every exponent that the collected data had shown before: expected, obtained, interval."""
    lines = ["| rows | quantity | expected | obtained | 90 % interval | |", "|---|---|---|---|---|---|"]
    table = public_table("opt-bloom")
    for family, (low, high) in SIZE_EXPONENTS.items():
        for bits in (4, 3):
            rows = table.where(family=family, method="gptq", bits=bits)
            result = fit("ouyang2024-size", rows, noise=Noise(kind="huber"))
            lines.append(line(f"{family}, GPTQ {bits} bits", "alpha", (low, high), result, "alpha"))
    llama = public_table("llama-omniquant")
    first = llama.take(np.char.startswith(llama["family"].astype(str), "llama-1"))
    law = law_from_text("QiD = k / N^alpha", parameters={"k": 1.0, "alpha": (-4.0, 4.0)})
    result = fit(law, first.where(method="gptq", bits=4, group_size=128), noise=Noise(kind="huber"))
    lines.append(line("LLaMA-1, GPTQ 4 bits g128 (tokens grow with size)", "alpha", LLAMA_EXPONENT, result, "alpha"))
    rows = by_scheme(public_table("llama-rtn")).where(bits=(4, 5, 6))
    for words, part, expected in (
        ("asymmetric", rows.where(method="rtn"), SLOPE_A_BIT),
        ("symmetric", rows.where(method="rtn_sym"), None),
        ("both", rows, None),
    ):
        result = fit(SLOPE, part, offsets=("model",), noise=Noise(floor=0.0))
        lines.append(line(f"LLaMA-1 and 2, nearest, 4 to 6 bits, {words}", "slope a bit", expected, result, "slope"))
    own = rows.where(method="rtn")
    each = [slope_of(own.where(model=str(name))) for name in np.unique(own["model"])]
    lines.append(
        f"| the same, each model's own straight line, asymmetric | median slope a bit | {SLOPE_A_BIT[0]} | {np.median(each):.2f} | "
        f"{min(each):.2f} to {max(each):.2f} over {len(each)} models | |"
    )
    return (
        "\n".join(lines)
        + "\n\nSpectra's exponents of size (0.51 to 0.58 at constant tokens) cannot be checked: no table of it ships."
    )


def line(rows: str, quantity: str, expected: tuple[float, float] | None, result: Fit, name: str) -> str:
    """Return the line of one exponent; its interval agrees where it reaches what was expected, if anything was."""
    low, high = result.intervals[name]
    if expected is None:
        return f"| {rows} | {quantity} | none | {result.values[name]:.3f} | {low:.2f} to {high:.2f} | |"
    agree = "agrees" if low <= expected[1] and high >= expected[0] else "DISAGREES"
    words = f"{expected[0]}" if expected[0] == expected[1] else f"{expected[0]} to {expected[1]}"
    return f"| {rows} | {quantity} | {words} | {result.values[name]:.3f} | {low:.2f} to {high:.2f} | {agree} |"


def slope_of(rows: Table) -> float:
    """Return the least-squares slope of ln QiD in bits."""
    return float(np.polyfit(rows["bits"], np.log(rows["qid"]), 1)[0])


def by_scheme(table: Table) -> Table:
    """Return the table with each model and scheme a model of its own."""
    labels = np.char.add(np.char.add(table["model"].astype(str), " "), table["method"].astype(str))
    return Table(columns={**table.columns, "model": labels}, source=table.source)


def bloom176() -> str:
    table = public_table("opt-bloom").where(family="bloom", method="gptq")
    lines = [
        "| bits | predicted from BLOOM up to 7.1B | measured at 176B | predicted / measured |",
        "|---|---|---|---|",
    ]
    for bits in (4, 3):
        rows = table.where(bits=bits)
        small = rows.take(rows["parameters"] < 1e10)
        left = rows.take(rows["parameters"] > 1e11)
        value = float(fit("ouyang2024-size", small).predict(left.columns)[0])
        lines.append(f"| {bits} | {value:.4f} | {left['qid'][0]:.4f} | {value / left['qid'][0]:.2f} |")
    return "\n".join(lines)


def five_bits() -> str:
    table = by_scheme(public_table("llama-rtn"))
    known, left = table.where(bits=(4, 6)), table.where(bits=5)
    result = fit(SLOPE, known, offsets=("model",), noise=Noise(floor=0.0))
    ratio = result.predict(left.columns) / left["qid"]
    lines = [
        "| model and scheme | law with one slope for all, a factor for each | straight line through its own two |",
        "|---|---|---|",
    ]
    for index, name in enumerate(left["model"]):
        own = known.where(model=str(name))
        line = math.sqrt(float(np.prod(own["qid"]))) / left["qid"][index]
        lines.append(f"| {name} | {ratio[index]:.2f} | {line:.2f} |")
    worst = float(np.exp(np.max(np.abs(np.log(ratio)))))
    slope, (low, high) = result.values["slope"], result.intervals["slope"]
    return (
        "\n".join(lines)
        + f"\n\nPredicted / measured; worst factor {worst:.2f}. Slope {slope:.2f} per bit ({low:.2f} to {high:.2f}); noise theory says -1.39."
    )


def twice_the_tokens() -> str:
    table = public_table("llama-omniquant").where(bits=(3, 4), group_size=128)
    lines = ["| model | bits | method | LLaMA-2 / LLaMA-1 |", "|---|---|---|---|"]
    for size in ("7B", "13B"):
        for bits in (4, 3):
            for method in ("rtn", "gptq", "omniquant"):
                one = table.where(model=f"llama-{size}", bits=bits, method=method)["qid"][0]
                two = table.where(model=f"llama-2-{size}", bits=bits, method=method)["qid"][0]
                lines.append(f"| {size} | {bits} | {method} | {two / one:.2f} |")
    return "\n".join(lines)


def public() -> str:
    parts = ["## BLOOM, OPT and LLaMA: public tables of perplexities", ""]
    parts += [
        "**Exponents**, expected from quick fits made before the project began (`ouyang2024-size` with Huber's loss; `QiD = k exp(slope P)` with a factor for each model):",
        "",
        exponents(),
        "",
    ]
    parts += [
        "**BLOOM-176B from BLOOM up to 7.1B** (`ouyang2024-size`; the bar was a factor 1.25):",
        "",
        bloom176(),
        "",
    ]
    parts += [
        "**5 bits from 4 and 6 bits**, round-to-nearest on LLaMA (the bar was a factor 1.5 for every model):",
        "",
        five_bits(),
        "",
    ]
    parts += [
        "**Twice the tokens.** LLaMA-2 saw 2T tokens, LLaMA-1 1T, at the same size: a law with D^0.5 says 1.42 in every row.",
        "",
        twice_the_tokens(),
        "",
        "It does not: no law of tokens that was fitted along training runs carries over to another family's final models.",
        "",
    ]
    for name, where in (
        ("opt-bloom", {"family": "bloom", "method": "gptq"}),
        ("opt-bloom", {"family": "opt", "method": "gptq"}),
        ("llama-omniquant", {"bits": (3, 4), "group_size": 128}),
        ("llama1-gptq", {"method": "gptq"}),
        ("llama-rtn", {"bits": (4, 5, 6)}),
        ("groups-175b", {"method": "gptq"}),
    ):
        table = public_table(name).where(**where)
        one = np.ones(len(table))  # the learning rates of these final checkpoints are not in the tables
        table = Table(columns={**table.columns, "learning_rate": one, "peak_learning_rate": one}, source=name)
        options = {"offsets": ("method",)} if len(np.unique(table["method"])) > 1 else {}
        listed = contenders(table, options=options, ours={"fixed": {"lam": 0.0}})
        listed = [c for c in listed if c.label != "bitlaw-sensitivity"]
        names = [n for n in ("largest-size", "bits", "method") if n in possible(table) and (n != "method" or options)]
        names = names[:2] if len(np.unique(table["method"])) == 2 else names
        parts += [
            f"**{name}** {' '.join(f'{k}={v}' for k, v in where.items())}, {len(table)} rows:",
            "",
            text(compare(listed, table, names)),
            "",
        ]
    return "\n".join(parts)
