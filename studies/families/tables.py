"""The tables and sentences of docs/predictor.md and docs/frontier.md, from an evaluation, records and a frontier; Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bitlaw.predictor import PAPER_FORMATS, Evaluation, Frontier, Importance, Waterfall
from bitlaw.predictor.evaluating import Result
from bitlaw.predictor.kinds import KINDS
from bitlaw.predictor.known_formats import canonical_name, facts
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.predictor.rows import Rows
from bitlaw.report.words import count
from bitlaw.report.xu2024.costs import seconds_of
from bitlaw.report.xu2024.formats import finer_groups, noise_spread
from bitlaw.report.xu2024.landscapes import norm_exponents
from bitlaw.report.xu2024.models import MX, families_of, family_name

SPLITS = {
    "leave-family": "Each family in turn predicted by what was trained on the others",
    "leave-largest": "The largest model of every family predicted from the smaller ones",
    "paper": "The paper's split: GPT-2, OPT, BLOOM and Llama train, GPT-NeoX and MPT are predicted",
}
ALONE = "families-alone"
TARGETS = {"gptq_change": "GPTQ - nearest", "gptq_qid": "GPTQ - 16-bit", "nearest_qid": "nearest - 16-bit"}
CLAIM = 0.95


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def fixed(value: float, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.0e}"


def scores_table(judged: Evaluation, split: str) -> str:
    """Return one split: a row a predictor, best first; R2, MAE, rank correlation and coverage of each target."""
    head = ["predictor", "reads"]
    for words in TARGETS.values():
        head += [f"{words}: R2", "MAE", "rank", "covered"]
    names = list(dict.fromkeys(r.kind for r in judged.results if r.split == split and not r.failed))
    found = {(r.kind, r.target): r for r in judged.results if r.split == split}

    def order(name: str) -> tuple[float, float]:
        values = [found[name, t].scores.r2 for t in TARGETS if (name, t) in found]
        return -max([v for v in values[:2] if math.isfinite(v)], default=-math.inf), 0.0

    rows = []
    for name in sorted(names, key=order):
        shown = f"*{name}*" if KINDS[name].baseline else f"`{name}`"
        cells = [shown, KINDS[name].reads + _few(judged, [found[name, t] for t in TARGETS if (name, t) in found])]
        for target in TARGETS:
            one = found.get((name, target))
            cells += ["", "", "", ""] if one is None or one.failed else _cells(one)
        rows.append(cells)
    return markdown(head, rows)


def _few(judged: Evaluation, found: Sequence[Result]) -> str:
    """Return how many checkpoints a kind was scored on, where others of its split were scored on more; nothing otherwise."""
    mine = max((r.models for r in found), default=0)
    most = max(r.models for r in judged.results if r.split in {one.split for one in found})
    return f" ({mine} of {most} checkpoints)" if mine < most else ""


def _cells(one: Result) -> list[str]:
    s = one.scores
    return [fixed(s.r2), fixed(s.mae, 4), fixed(s.rank), f"{s.covered:.0%}"]


def loss_table(judged: Evaluation) -> str:
    """Return the other reading of the paper's target: R2 of the loss after GPTQ itself, leave-family."""
    found = [r for r in judged.results if (r.split, r.target) == ("leave-family", "gptq_loss") and not r.failed]
    rows = [
        [r.kind, fixed(r.scores.r2), fixed(r.scores.mae, 4), fixed(r.scores.worst_r2)]
        for r in sorted(found, key=lambda r: -r.scores.r2)
    ]
    return markdown(["predictor", "R2", "MAE", "R2 of the worst family"], rows)


def claims(judged: Evaluation) -> list[str]:
    """Return what the issue asked for and what was found, in sentences."""
    said = []
    for target, words in TARGETS.items():
        best, baseline = (judged.best("leave-family", target, baseline=b) for b in (False, True))
        verdict = "reached" if best.scores.r2 >= CLAIM else f"missed by {CLAIM - best.scores.r2:.3f}"
        beats = "better than" if best.scores.r2 > baseline.scores.r2 else "not better than"
        said.append(
            f"{words}, families left out: best `{best.kind}`{_few(judged, [best])} R2 {best.scores.r2:.3f} (worst family {fixed(best.scores.worst_r2)}), "
            f"{beats} the best baseline *{baseline.kind}* {baseline.scores.r2:.3f}; R2 of {CLAIM} {verdict}. The true losses, "
            f"which no measurement knows, would score {judged.ceiling('leave-family', target):.3f}."
        )
    covered = [
        r.scores.covered
        for r in judged.results
        if r.split == "leave-family" and not r.failed and not KINDS[r.kind].baseline
    ]
    inside = sum(0.85 <= c <= 0.95 for c in covered)
    said.append(
        f"{judged.level:.0%} intervals, families left out: coverage {min(covered):.0%} to {max(covered):.0%} over {len(covered)} predictors and "
        f"targets, {inside} of them within 85 to 95 %."
    )
    return said


def direction_said(rows: Rows, models: Sequence[ModelRecords]) -> str:
    """Return what R2 of GPTQ - nearest is left when GPTQ's direction is like one of the random ones, whose losses differ at the same SNR."""
    named = {m.name: m for m in models}
    variance = np.full(len(rows), np.nan)
    for name in rows.models:
        curve, seeds = rows.curves[name], named[name].seed_curves()
        if curve is None or len(seeds) < 2:
            continue
        mine = rows.model == name
        snr = curve.snr_of(rows["gptq_loss"][mine])
        losses = [np.interp(snr, *np.array(points).T) for points in seeds.values()]
        variance[mine] = np.var(losses, axis=0, ddof=1)
    known = np.isfinite(variance)
    if not known.any():
        return ""
    left = 1.0 - float(np.mean(variance[known])) / float(np.var(rows.target("gptq_change")[known]))
    return (
        f"Directions differ: at the SNR that GPTQ amounts to, losses along random directions vary so much that knowing their mean, and that SNR, without error would score "
        f"{left:.3f} on GPTQ - nearest if GPTQ's direction is like one of them ({len(set(rows.model[known].tolist()))} checkpoints with several directions)."
    )


def coverage_by_family(
    judged: Evaluation,
    kinds: Sequence[str] = ("zero-shot", "after-nearest", "after-nearest-compensated", "forest", "config"),
) -> str:
    """Return coverage of intervals of each left-out family."""
    families = list(judged.families)
    rows = []
    for kind in kinds:
        for target in ("gptq_qid", "nearest_qid"):
            one = next(
                (
                    r
                    for r in judged.results
                    if (r.split, r.target, r.kind) == ("leave-family", target, kind) and not r.failed
                ),
                None,
            )
            if one is None or one.rows is None or one.low is None or one.high is None or one.measured is None:
                continue
            hit = (one.measured >= one.low) & (one.measured <= one.high)
            names = judged.table.family[one.rows]
            rows.append([f"`{kind}`", TARGETS[target], *(f"{hit[names == f].mean():.0%}" for f in families)])
    return markdown(["predictor", "target", *map(family_name, families)], rows)


def ablation_table(judged: Evaluation) -> str:
    """Return what training tokens and learning-rate state add."""
    rows = [
        [row["split"], TARGETS.get(row["target"], row["target"]), f"`{row['predictor']}`", fixed(row["r2_without"]), fixed(row["r2_with"]),
         fixed(row["mae_without"], 4), fixed(row["mae_with"], 4)]
        for row in judged.ablation()
        if row["target"] in TARGETS
    ]  # fmt: skip
    return markdown(["split", "target", "predictor", "R2 without", "R2 with", "MAE without", "MAE with"], rows)


def tokens_said(judged: Evaluation) -> str:
    """Return whether training tokens vary enough among the checkpoints for the ablation to say anything."""
    low, high = float(np.min(judged.table["tokens"])), float(np.max(judged.table["tokens"]))
    states = np.unique(np.round(judged.table["lr_state"], 3))
    said = f"Tokens of the checkpoints: {count(low)} to {count(high)}; learning rate over its peak: {', '.join(f'{s:g}' for s in states[:6])}."
    suites = {name.split("/")[0] for name in judged.table.model.tolist()}
    if len(suites) > 1:
        said += " Most of the difference is between the suites, whose sizes, text, tokenizer and device differ too: what is added below is not of tokens alone."
    return (
        said
        if high > 2.0 * low
        else f"{said} They hardly vary here, so what they add cannot be told: it is noise of a further input."
    )


def importance_table(found: Sequence[Importance]) -> str:
    """Return impurity and permutation importances of the forest's inputs."""
    rows = [
        [one.name, f"{one.impurity:.1%} ± {one.impurity_sd:.1%}", f"{one.permutation:.3f} ± {one.permutation_sd:.3f}"]
        for one in found
    ]
    return markdown(["input", "impurity share (± sd over trees)", "fall of held-out R2 when shuffled (± sd)"], rows)


def waterfall_text(one: Waterfall) -> str:
    """Return one prediction taken apart."""
    parts = "\n".join(
        f"    {name:14s} {value:+.4f}   (input {one.values[name]:.5g})" for name, value in one.parts.items()
    )
    return (
        f"    {one.model}, {one.format}\n    base           {one.base:+.4f}\n{parts}\n    prediction     {one.prediction:+.4f}   "
        f"sum {one.base + sum(one.parts.values()):+.4f}   measured {one.measured:+.4f}"
    )


def suite_table(models: Sequence[ModelRecords]) -> str:
    """Return the checkpoints of each suite: family, sizes, tokens, losses; those without a quantized format say so."""
    rows = []
    for suite in sorted({m.checkpoint.suite for m in models}):
        for family in families_of(models):
            for m in (m for m in models if (m.family, m.checkpoint.suite) == (family, suite)):
                formats = sum(method == "nearest" and name in MX for method, name in m.points)
                cells = [count(m.quantized_parameters), count(m.checkpoint.tokens or 0), fixed(m.loss), str(formats)]
                rows.append([f"`{suite}`", family_name(family), *cells])
    return markdown(
        ["suite", "family", "quantized parameters", "training tokens", "16-bit loss, nats per token", "formats"], rows
    )


def suites_said(models: Sequence[ModelRecords]) -> list[str]:
    """Return for each suite its text, windows and device."""
    said = []
    for suite in sorted({m.checkpoint.suite for m in models}):
        mine = [m for m in models if m.checkpoint.suite == suite]
        base, devices = mine[0].baseline, sorted({m.baseline.made.device for m in mine})
        said.append(
            f"`{suite}`, {len(mine)} checkpoints scored on {base.seen.tokens_scored:,} tokens of {base.asked.evaluation.name} ({base.seen.windows} windows), "
            f"measured on {', '.join(devices)}"
        )
    return said


def best_said(judged: Evaluation, split: str) -> list[str]:
    """Return the best predictor and the best baseline of a split, and what the truth would score."""
    said = []
    for target, words in TARGETS.items():
        best, baseline = (judged.best(split, target, baseline=b) for b in (False, True))
        said.append(
            f"- {words}: best `{best.kind}`{_few(judged, [best])} R2 {best.scores.r2:.3f} (worst family {fixed(best.scores.worst_r2)}), best baseline *{baseline.kind}* "
            f"{baseline.scores.r2:.3f}; the true losses would score {judged.ceiling(split, target):.3f}."
        )
    return said


def compensated_said(judged: Evaluation, split: str, suite: str) -> list[str]:
    """Return what kinds that read compensated noise score beside the same kinds without, on the same checkpoints; nothing where some lack it."""
    found = {(r.kind, r.target): r for r in judged.results if r.split == split and not r.failed}
    said = []
    for target in ("gptq_change", "gptq_qid"):
        pairs = [
            (found[kind, target], found[kind.replace("-compensated", ""), target])
            for kind in KINDS
            if KINDS[kind].needs
            and not KINDS[kind].baseline
            and {(kind, target), (kind.replace("-compensated", ""), target)} <= found.keys()
        ]
        pairs = [(with_it, without) for with_it, without in pairs if with_it.models == without.models]
        if pairs:
            said.append(
                f"What compensated noise adds, {TARGETS[target]}, families left out within `{suite}` ({pairs[0][0].models} networks): "
                + ", ".join(
                    f"`{b.kind}` R2 {b.scores.r2:.3f} to {a.scores.r2:.3f} and MAE {b.scores.mae:.4f} to {a.scores.mae:.4f}"
                    for a, b in pairs
                )
                + "."
            )
    return said


def coverage_by_width(
    judged: Evaluation, split: str, kinds: Sequence[str] = ("zero-shot", "after-nearest", "landscape")
) -> str:
    """Return signed error and coverage of a split within each width: bits a row."""
    rows = []
    for kind in kinds:
        one = next((r for r in judged.results if (r.split, r.kind, r.target) == (split, kind, "gptq_qid")), None)
        if (
            one is None
            or one.rows is None
            or one.measured is None
            or one.predicted is None
            or one.low is None
            or one.high is None
        ):
            continue
        bits = judged.table["bits"][one.rows]
        hit = (one.measured >= one.low) & (one.measured <= one.high)
        for width in sorted(set(bits.tolist())):
            mine = bits == width
            error = one.predicted[mine] - one.measured[mine]
            rows.append(
                [f"`{kind}`", f"{width:g}", str(int(mine.sum())), fixed(float(np.mean(one.measured[mine])), 4), fixed(float(np.mean(error)), 4),
                 fixed(float(np.mean(np.abs(error))), 4), f"{hit[mine].mean():.0%}"]
            )  # fmt: skip
    head = ["predictor", "bits", "rows", "mean GPTQ - 16-bit", "mean error", "MAE", "covered"]
    return markdown(head, rows)


def noise_said(models: Sequence[ModelRecords]) -> list[str]:
    """Return whether SQNR is constant per format, whether a finer group raises it, and how weights grow."""
    said = []
    for method in ("nearest", "gptq"):
        spread = noise_spread(models, method)
        within = sum(wide <= 1.0 for *_, wide in spread.values())
        name, (low, high, wide) = max(spread.items(), key=lambda item: item[1][2])
        said.append(
            f"SQNR of {method}: within 1 dB over all models for {within} of {len(spread)} formats; widest {name}, {low:.1f} to {high:.1f} dB "
            f"({wide:.1f} dB)."
        )
    near = [
        (m.points["nearest", f].seen.sqnr_db, facts(f).gaussian_db)
        for m in models
        for f in MX
        if ("nearest", f) in m.points
    ]
    gaps = np.array([a - b for a, b in near if a is not None])
    said.append(
        f"SQNR of nearest less that of the format on Gaussian weights: {gaps.mean():+.2f} dB on average, {gaps.min():+.2f} to {gaps.max():+.2f}."
    )
    lower = [
        m.points["gptq", f].seen.sqnr_db - m.points["nearest", f].seen.sqnr_db  # type: ignore[operator]
        for m in models
        for f in MX
        if ("nearest", f) in m.points and ("gptq", f) in m.points
    ]
    if lower:
        said.append(
            f"GPTQ changes SQNR by {np.mean(lower):+.2f} dB on average ({min(lower):+.2f} to {max(lower):+.2f})."
        )
    finer = finer_groups(models)
    if finer:
        up = sum(gain > 0 for *_, gain in finer)
        answer = "yes" if up == len(finer) else "mostly" if up > 0.8 * len(finer) else "no"
        steps = dict.fromkeys(step for *_, step, _ in finer)
        means = ", ".join(f"{step} {np.mean([g for *_, s, g in finer if s == step]):+.2f} dB" for step in steps)
        said.append(
            f"Does a finer group of integers raise SQNR? {answer}: in {up} of {len(finer)} refinements ({means}). The paper's Figure 10 shows "
            "finer groups below whole rows."
        )
    exponents = norm_exponents(models)
    if exponents:
        said.append(
            "|w| grows with D to the power "
            + ", ".join(f"{family_name(f)} {e:.2f}" for f, e in exponents.items())
            + "."
        )
    return said


def duplicates_said() -> str:
    """Return the paper's formats that are one under two names."""
    pairs = [f"{name} = {canonical_name(name)}" for name in PAPER_FORMATS if canonical_name(name) != name]
    return f"{len(PAPER_FORMATS)} names, {len(MX)} formats: {', '.join(pairs)}."


def cost_said(models: Sequence[ModelRecords]) -> str:
    """Return seconds of probes beside those of evaluation and GPTQ."""
    costs = [seconds_of(m) for m in models if m.random]
    total = {name: sum(c[name] for c in costs) for name in costs[0]} if costs else {}
    if not total:
        return ""
    devices = sorted({m.made.device for one in models for m in one.random})
    return (
        f"Seconds of all models as recorded ({', '.join(devices)}): 16-bit evaluation {total['baseline']:.0f}, all random probes "
        f"{total['landscape']:.0f}, nearest in every format {total['nearest']:.0f}, GPTQ in every format {total['gptq']:.0f}."
    )


def frontier_table(found: Frontier) -> str:
    """Return the Pareto set."""
    rows = [
        [
            f"{p.bytes / 1e6:.3f}",
            p.model,
            p.method,
            p.format,
            f"{p.bits_per_weight:.3f}",
            f"{p.loss:.4f}",
            f"{p.low:.4f} to {p.high:.4f}",
        ]
        for p in found.members
    ]
    return markdown(["MB", "model", "method", "format", "bits/weight", "loss", f"{found.level:.0%} interval"], rows)


def budget_table(found: Frontier) -> str:
    """Return the best choice at each budget."""
    rows = [
        [
            f"{size / 1e6:.3f}",
            *(["nothing fits", "", "", ""] if p is None else [p.model, p.method, p.format, f"{p.loss:.4f}"]),
        ]
        for size, p in found.budgets
    ]
    return markdown(["MB", "model", "method", "format", "loss"], rows)


def worth_table(found: Frontier) -> str:
    """Return whether GPTQ is worth it, by format: verdicts over models, and what it saves."""
    rows = []
    for name in MX:
        mine = [w for w in found.worth if w.format == name]
        if not mine:
            continue
        verdicts = [sum(w.verdict == v for w in mine) for v in ("worth it", "unclear", "not worth it")]
        saved = np.array([w.saved for w in mine])
        rows.append(
            [f"`{name}`", *map(str, verdicts), f"{np.median(saved):+.4f}", f"{saved.min():+.4f} to {saved.max():+.4f}"]
        )
    return markdown(["format", "worth it", "unclear", "not worth it", "saves, median", "range, nats"], rows)


def members_said(found: Frontier) -> str:
    """Return which widths and methods the frontier runs through."""
    bits = {b: sum(round(facts(p.format).bits) == b for p in found.members if p.format != "none") for b in (2, 3, 4, 6)}
    methods = {m: sum(p.method == m for p in found.members) for m in ("none", "nearest", "gptq")}
    may = sum(p.state == "may be" for p in found.points)
    return (
        f"Of {len(found.points)} points {len(found.members)} are on the frontier: "
        + ", ".join(f"{n} at {b} bits" for b, n in bits.items())
        + f", {methods['none']} unquantized; {methods['gptq']} with GPTQ, {methods['nearest']} nearest. {may} more lie within its errors."
    )
