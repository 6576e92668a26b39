"""The demo's result as text: QiD by tokens, exponents with intervals, timings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitlaw.cli.output import number, table


def describe(data: Mapping[str, Any]) -> str:
    """Return the demo's result as text: QiD by tokens, exponents with intervals, timings."""
    qid = [
        {"method": r["method"], "bits": r["bits"], "model": r["model"]}
        | {number(float(t)): f"{q:.4f} ±{s:.4f}" for t, q, s in zip(r["tokens"], r["qid"], r["qid_se"], strict=True)}
        for r in data["qid"]
    ]
    exponents = [
        {"method": e["method"]}
        | {
            n: f"{number(e[n])} [{number(e[f'{n}_low'])}, {number(e[f'{n}_high'])}]"
            for n in ("beta", "alpha", "gamma", "k")
        }
        | {"log-R2": e["log_r2"], "rows": e["rows"]}
        for e in data["exponents"]
    ]
    seconds = ", ".join(f"{part} {value:.1f}" for part, value in data["seconds"].items())
    total = sum(data["seconds"].values())
    lines = [
        "QiD in nats per token ± paired standard error, by training tokens:",
        table(qid),
        "",
        "QiD = k D^beta / (N^alpha P^gamma), 90 % intervals:",
        table(exponents),
        *data["evidence"],
        "",
        *data["findings"],
        *(f"warning: {w}" for e in data["exponents"] for w in e["warnings"]),
        *(f"failed: {line}" for line in data["failures"]),
        f"{data['measured']} measured now, {data['skipped']} kept from before; seconds: {seconds}; total {total:.1f}",
        f"store {data['store']}",
        f"report {data['report']}",
    ]
    return "\n".join(lines)
