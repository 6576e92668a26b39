"""Laws of losses: quantized, 16-bit, trained in few bits."""

from __future__ import annotations

from bitlaw.errors import InputError
from bitlaw.fit import Contender, Intervals, Noise, compare, fit
from bitlaw.fit.public import public_table
from bitlaw.laws import load_law
from validation.cells import text
from validation.contending import applicable


def losses() -> str:
    parts = ["## Laws of losses", ""]
    table = public_table("mini-pythia").where(method="gptq", format="int3_g128")
    listed = [
        Contender(law=name) for name in applicable(table, "loss") if "weight_bits" not in load_law(name).variables
    ]
    parts += [
        "**Quantized loss** of mini-pythia, GPTQ int3_g128 (errors of a loss are small by nature: compare with each other only):",
        "",
        text(compare(listed, table, ["largest-size", "later-tokens"], starts=6)),
        "",
    ]
    base = [Contender(law=name) for name in applicable(table, "baseline_loss")]
    parts += [
        "**16-bit loss** of mini-pythia:",
        "",
        text(compare(base, table, ["largest-size", "later-tokens"], starts=6)),
        "",
    ]
    quest = public_table("quest-qat")
    halves = quest.where(method=("none", "halfhadamardtrust"))
    options = {"fixed": {"g_kv": 0.9578}, "free": ("b",)}
    rows = []
    for law, settings in (("kumar2024-loss", options), ("kumar2024-loss", {"fixed": {"g_kv": 0.9578}})):
        try:
            result = fit(law, halves, noise=Noise(kind="huber"), intervals=Intervals(kind="clustered-row"), **settings)
        except InputError as error:
            rows.append(f"| {law} | {error} | | |")
            continue
        found = ", ".join(f"{name} {result.values[name]:.2f}" for name in ("g_w", "g_a", "a", "b"))
        low, high = result.intervals["g_w"]
        tie = "b free" if "free" in settings else "a = b"
        rows.append(
            f"| {law}, {tie} | {found} | g_w {low:.2f} to {high:.2f} | {100 * result.scores.median_relative_error:.2f} % |"
        )
    warning = next(
        (
            w
            for w in fit(
                "chinchilla2022-loss", quest.where(method="none"), intervals=Intervals(kind="clustered-row")
            ).warnings
            if "ray" in w
        ),
        "none",
    )
    parts += [
        f"**Training in few bits** (QuEST, {len(halves)} runs of one quantizer and the 16-bit ones):",
        "",
        "| law | constants | interval | median error in sample |",
        "|---|---|---|---|",
        *rows,
        "",
        f'The six 16-bit baselines lie on one ray of tokens per parameter; bitlaw says so: "{warning}".',
        "",
    ]
    hot, cool = public_table("gemstones-cool-begin"), public_table("gemstones-cool-end")
    lines = ["| runs | E | alpha | beta | median error |", "|---|---|---|---|---|"]
    for label, rows_of in (("before cooldown", hot), ("after cooldown", cool)):
        result = fit("chinchilla2022-loss", rows_of, noise=Noise(kind="huber", delta=1e-3), starts=50)
        cells = [
            f"{result.values[n]:.2f} ({result.intervals[n][0]:.2f} to {result.intervals[n][1]:.2f})"
            for n in ("E", "alpha", "beta")
        ]
        lines.append(
            f"| {label} ({len(rows_of)}) | {' | '.join(cells)} | {100 * result.scores.median_relative_error:.2f} % |"
        )
    parts += ["**Chinchilla law on Gemstones** (Huber 1e-3, 50 starts):", "", *lines, ""]
    return "\n".join(parts)
