"""What the dataset `families` says of the second paper's claims (arXiv 2410.12119): noise, directions, groups, sizes. Intervals are over networks or families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from saying import FAILS, HOLDS, Claim, Part, all_of, contrary, verdict, within
from scipy.stats import t as student

from bitlaw.errors import InputError
from bitlaw.predictor import collect
from bitlaw.predictor.budget import last_checkpoints
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.records import Measurement
from bitlaw.report.xu2024.formats import finer_groups, noise_spread
from bitlaw.report.xu2024.landscapes import norm_exponents
from bitlaw.report.xu2024.models import MX

PAPER = "Xu et al. 2024"
CONSTANT_DB = 1.0
CLEAR = 0.01  # nats: smaller changes say little of a direction
FEWEST = 3  # sizes of a family behind a slope
Ends = tuple[float, float, float]


def interval(values: Sequence[float]) -> Ends:
    """Return the mean and its 90 % interval by Student's t; NaN ends for fewer than two."""
    if len(values) < 2:
        return (float(np.mean(values)) if len(values) else float("nan"), float("nan"), float("nan"))
    half = float(student.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(np.mean(values)), float(np.mean(values)) - half, float(np.mean(values)) + half


def words(found: Ends, unit: str = "") -> str:
    """Return `+0.50 (+0.40 to +0.60) dB`."""
    if not np.isfinite(found[0]):
        return "not measured"
    ends = f" ({found[1]:+.2f} to {found[2]:+.2f})" if np.isfinite(found[1]) else ""
    return f"{found[0]:+.2f}{ends}{unit}"


def gains(model: ModelRecords) -> dict[str, float]:
    """Return method -> mean of how many dB of SNR its loss is better than random noise of its own SNR, where the change is clear."""
    try:
        curve = model.curve
        curve.at(0.0)
    except InputError:
        return {}
    found: dict[str, list[float]] = {}
    for (method, name), point in model.points.items():
        if name in MX and point.seen.sqnr_db is not None and point.qid > max(CLEAR, 3 * point.qid_se):
            found.setdefault(method, []).append(float(curve.snr_of(point.loss)) - point.seen.sqnr_db)
    return {method: float(np.mean(values)) for method, values in found.items()}


def knee_slopes(models: Sequence[ModelRecords]) -> dict[tuple[str, str], float]:
    """Return (suite, family) with FEWEST sizes or more -> dB by which the landscape's half height moves when the size doubles."""
    groups: dict[tuple[str, str], dict[float, float]] = {}
    for model in models:
        if gains(model):
            groups.setdefault((model.checkpoint.suite, model.family), {})[np.log2(model.quantized_parameters)] = (
                model.curve.knee_db
            )
    return {
        key: float(np.polyfit(list(at), list(at.values()), 1)[0]) for key, at in groups.items() if len(at) >= FEWEST
    }


def changes(models: Sequence[ModelRecords]) -> Mapping[str, list[float]]:
    """Return for each network the mean change by GPTQ after nearest: `sqnr` in dB, `loss` in nats."""
    found: dict[str, list[float]] = {"sqnr": [], "loss": []}
    for m in models:
        both = [
            (m.points["nearest", f], m.points["gptq", f])
            for f in MX
            if ("nearest", f) in m.points and ("gptq", f) in m.points
        ]
        known = [(n, g) for n, g in both if n.seen.sqnr_db is not None and g.seen.sqnr_db is not None]
        if known:
            found["sqnr"].append(float(np.mean([(g.seen.sqnr_db or 0.0) - (n.seen.sqnr_db or 0.0) for n, g in known])))
            found["loss"].append(float(np.mean([g.loss - n.loss for n, g in known])))
    return found


def of_families(rows: Sequence[Measurement]) -> Part:
    """The claims of the second paper on the last checkpoints of the dataset."""
    models = [m for m in last_checkpoints(collect(rows)) if m.points]
    spread = {name: wide for name, (_, _, wide) in noise_spread(models, "nearest").items()}
    widest = max(spread, key=lambda name: spread[name])
    change = changes(models)
    sqnr, loss = interval(change["sqnr"]), interval(change["loss"])
    each = [g for m in models if (g := gains(m))]
    near = interval([g["nearest"] for g in each if "nearest" in g])
    more = interval([g["gptq"] - g["nearest"] for g in each if {"gptq", "nearest"} <= set(g)])
    finer = finer_groups(models)
    networks = dict.fromkeys(name for name, *_ in finer)
    up = interval([float(np.mean([g for n, *_, g in finer if n == name])) for name in networks])
    rises = sum(gain > 0 for *_, gain in finer)
    knees = interval(list(knee_slopes(models).values()))
    norms = norm_exponents(models)
    norm = interval(list(norms.values()))
    part = Part(title="The second paper's landscapes (families)")
    part.claims = [
        Claim(
            claim=f"rounding to nearest has the same SQNR in every network (within {CONSTANT_DB:g} dB)",
            whose=PAPER,
            verdict=HOLDS if max(spread.values()) <= CONSTANT_DB else FAILS,
            evidence=f"within it for {sum(w <= CONSTANT_DB for w in spread.values())} of {len(spread)} formats over {len(models)} networks; widest `{widest}`, {spread[widest]:.2f} dB (figure 8 in predictor.md)",
        ),
        Claim(
            claim="GPTQ lowers the weights' SQNR and the loss all the same",
            whose=PAPER,
            verdict=all_of([contrary(verdict(*sqnr[1:])), contrary(verdict(*loss[1:]))]),
            evidence=f"means over formats, {len(change['sqnr'])} networks: SQNR {words(sqnr, ' dB')}, loss {words(loss, ' nats')}",
        ),
        Claim(
            claim="directions of rounding are flatter than random ones, GPTQ's flatter still",
            whose=PAPER,
            verdict=all_of([verdict(*near[1:]), verdict(*more[1:])]),
            evidence=f"effective SNR less SQNR: nearest {words(near, ' dB')}; GPTQ beyond nearest {words(more, ' dB')}; {len(each)} networks",
        ),
        Claim(
            claim="finer groups of integers do not raise SQNR",
            whose=f"{PAPER}, Figure 10",
            verdict=contrary(verdict(*up[1:])) if len(networks) > 1 else FAILS if finer and rises == len(finer) else "cannot be told",
            evidence=f"mean change a refinement {words(up, ' dB')}, networks with such formats: {len(networks)}; raised in {rises} of {len(finer)} refinements (landscape.md)",
        ),
        Claim(
            claim="larger networks of a family are flatter",
            whose=PAPER,
            verdict=contrary(verdict(*knees[1:])),
            evidence=f"dB by which the place of half height moves when the size doubles, over families of {FEWEST} sizes or more: {words(knees, ' dB')} (lower is flatter)",
        ),
        Claim(
            claim="the norm of the weights grows like the square root of their number (exponent within 0.1)",
            whose=f"{PAPER}, except GPT-2 and OPT",
            verdict=within(norm[1], norm[2], 0.4, 0.6),
            evidence=f"exponents over {len(norms)} families: {words(norm)}",
        ),
    ]  # fmt: skip
    part.text = (
        f"The last checkpoints of {len(models)} networks of {len({m.family for m in models})} families; [predictor.md](predictor.md), [frontier.md](frontier.md) and "
        "[landscape.md](landscape.md) have the predictor, the frontier and the landscapes. Formats are MXINT and MXFP in blocks of 16 to 128."
    )
    return part
