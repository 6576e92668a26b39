"""What docs/landscape.md says of the measured landscapes: noise of formats, how early networks break, groups of integers, Taylor series; Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tables import fixed, markdown

from bitlaw.predictor.known_formats import facts
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.report.words import count
from bitlaw.report.xu2024.formats import SCOPES, finer_groups, integer_names, noise_spread, scope_of
from bitlaw.report.xu2024.landscapes import taylor_terms
from bitlaw.report.xu2024.models import MX, family_name

TWO_BITS = "mxint2_k32"
AT_DB, BLOCKS = 12.0, (16, 32, 64, 128)
OFF = 0.2  # share of the measured excess by which a series may miss
STEPS_DB = np.arange(30.0, -6.1, -0.25)


def suites_of(models: Sequence[ModelRecords]) -> dict[str, list[ModelRecords]]:
    """Return suite -> its models."""
    return {s: [m for m in models if m.checkpoint.suite == s] for s in sorted({m.checkpoint.suite for m in models})}


def noise_table(models: Sequence[ModelRecords]) -> str:
    """Return how far the SQNR of one format differs between networks: median and largest over formats, by suite and method."""
    rows = []
    groups = suites_of(models)
    every = {"all": list(models)} if len(groups) > 1 else {}
    for suite, mine in {**groups, **every}.items():
        for method in ("nearest", "gptq"):
            spread = {name: wide for name, (_, _, wide) in noise_spread(mine, method).items()}
            if spread:
                widest = max(spread, key=lambda name: spread[name])
                within = sum(wide <= 1.0 for wide in spread.values())
                networks = sum(any(m == method for m, _ in one.points) for one in mine)
                rows.append(
                    [suite, str(networks), method, f"{np.median(list(spread.values())):.1f}", f"{spread[widest]:.1f} (`{widest}`)", f"{within} of {len(spread)}"]
                )  # fmt: skip
    return markdown(["suite", "networks", "method", "median over formats, dB", "largest", "within 1 dB"], rows)


def places_table(models: Sequence[ModelRecords]) -> str:
    """Return where landscapes reach half of their height, how high they are, and what two bits cost, by suite and size."""
    rows = []
    for suite, mine in suites_of(models).items():
        probed = [(m, c) for m in mine if m.points and (c := m.curve_if_any) is not None]
        for size in sorted({_size(m) for m, _ in probed}, key=lambda words: float(words[:-1])):
            here = [(m, c) for m, c in probed if _size(m) == size]
            tokens = sorted({m.checkpoint.tokens or 0 for m, _ in here})
            knees, rises = [c.knee_db for _, c in here], [c.rise for _, c in here]
            two = [m.points["nearest", TWO_BITS].qid for m, _ in here if ("nearest", TWO_BITS) in m.points]
            span = count(tokens[0]) if len(tokens) == 1 else f"{count(tokens[0])} to {count(tokens[-1])}"
            rows.append([suite, size, str(len(here)), span, _span(knees, 1), _span(rises, 1), _span(two, 2)])
    head = [
        "suite",
        "parameters",
        "networks",
        "training tokens",
        "half height at, dB",
        "height, nats",
        f"{TWO_BITS} to nearest costs, nats",
    ]
    return markdown(head, rows)


def _size(model: ModelRecords) -> str:
    return f"{model.checkpoint.parameters / 1e6:.1f}M"


def _span(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def integer_table(models: Sequence[ModelRecords]) -> str:
    """Return the mean SQNR of integers with a float scale, rounded to nearest, by width and what shares a scale."""
    names = integer_names(models)
    scopes = list(SCOPES[::-1])
    rows = []
    for bits in sorted({facts(f).bits for f in names}, reverse=True):
        cells = []
        for scope in scopes:
            values = [
                p.seen.sqnr_db
                for m in models
                for (method, f), p in m.points.items()
                if method == "nearest" and f in names and facts(f).bits == bits and scope_of(f) == scope and p.seen.sqnr_db is not None
            ]  # fmt: skip
            cells.append(f"{np.mean(values):.1f}" if values else "-")
        rows.append([f"{bits:g}", *cells])
    return markdown(["bits", *scopes], rows)


def integers_said(models: Sequence[ModelRecords]) -> str:
    """Return whether a finer group raises SQNR, over every network that has integer formats."""
    found = finer_groups(models)
    up = sum(gain > 0 for *_, gain in found)
    networks = len({name for name, *_ in found})
    steps = dict.fromkeys(step for *_, step, _ in found)
    means = []
    for step in steps:
        gains = np.array([g for *_, s, g in found if s == step])
        means.append(f"{step} {gains.mean():+.2f} dB ({gains.min():+.2f} to {gains.max():+.2f})")
    opposite = (
        "the opposite" if up == len(found) else "mostly the opposite" if up > 0.8 * len(found) else "no such rule"
    )
    return (
        "The second paper's appendix has integers with finer groups at a lower SQNR than whole rows or tensors, with scales of least squared error. "
        f"Here {networks} {'network has' if networks == 1 else 'networks have'} these formats (`nearest int{{6,4,3,2}}_{{tensor,row,g{{128,64,32,16}}_short}}_sym_mse`) and "
        f"{'says' if networks == 1 else 'say'} {opposite}: a finer group raised SQNR in {up} of {len(found)} refinements: {', '.join(means)}. Means over networks, dB:"
    )


def taylor_table(models: Sequence[ModelRecords]) -> str:
    """Return for every network with Taylor terms down to which SNR the second-order series holds, and what it says at 30 dB."""
    rows = []
    for model in models:
        terms, curve = taylor_terms(model), model.curve_if_any
        if terms is None or curve is None:
            continue
        norm, gradient, curvature = terms
        step = norm * 10.0 ** (-STEPS_DB / 20.0)
        said = gradient * step + 0.5 * curvature * step**2
        measured = curve.at(STEPS_DB) - model.loss
        wrong = np.flatnonzero((np.abs(said / measured - 1.0) > OFF) & (measured > 0.01))
        until = "all probed" if not len(wrong) else f"{STEPS_DB[wrong[0]]:.1f}"
        sharper = "-" if not len(wrong) else "above" if measured[wrong[0]] > said[wrong[0]] else "below"
        name = f"{family_name(model.family)} {count(model.quantized_parameters)}"
        rows.append([model.checkpoint.suite, name, fixed(said[0], 5), fixed(float(measured[0]), 5), until, sharper])
    head = [
        "suite",
        "network",
        "series at 30 dB, nats",
        "curve at 30 dB",
        f"misses by {OFF:.0%} from, dB",
        "the curve then lies",
    ]
    return markdown(head, rows) if rows else ""


def flatter_said(models: Sequence[ModelRecords]) -> str:
    """Return how much flatter nearest and GPTQ directions are than random ones: the SNR their loss amounts to, less the one they have."""
    gains: dict[str, list[float]] = {"nearest": [], "gptq": []}
    for model in models:
        curve = model.curve_if_any
        for (method, name), point in model.points.items():
            if (
                curve is not None
                and name in MX
                and point.seen.sqnr_db is not None
                and point.qid > 3 * point.qid_se
                and point.qid > 0.01
            ):
                gains[method].append(float(curve.snr_of(point.loss)) - point.seen.sqnr_db)
    said = []
    for method, values in gains.items():
        if values:
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
            flatter = sum(v > 0 for v in values)
            said.append(
                f"{method} {middle:+.1f} dB in the median (80 % between {low:+.1f} and {high:+.1f}; above 0 in {flatter} of {len(values)})"
            )
    return f"A quantized network's loss is that of random noise at a higher SNR than it has: {'; '.join(said)}. Rows whose change is clear of its error, above .01 nats."


def compensation_table(models: Sequence[ModelRecords]) -> str:
    """Return what compensation is worth by suite and size, dB: random noise of 12 dB in cells of 16 to 128 columns, and GPTQ's own gain beside it."""
    rows = []
    for suite, mine in suites_of(models).items():
        probed = [(m, c) for m in mine if (c := m.compensation) is not None]
        for size in sorted({_size(m) for m, _ in probed}, key=lambda words: float(words[:-1])):
            here = [(m, c) for m, c in probed if _size(m) == size]
            cells = [_span([float(c.gain_db(block, AT_DB)) for _, c in here], 1) for block in BLOCKS]
            own = [_span([g for m, _ in here for g in _gptq_gains(m, block)], 1) for block in (BLOCKS[0], BLOCKS[-1])]
            rows.append([suite, size, str(len(here)), *cells, *own])
    head = ["suite", "parameters", "networks", *(f"noise, {block}" for block in BLOCKS)]
    return markdown([*head, *(f"GPTQ at 3 bits, {block}" for block in (BLOCKS[0], BLOCKS[-1]))], rows) if rows else ""


def _gptq_gains(model: ModelRecords, block: int) -> list[float]:
    """Return how many dB GPTQ gains on nearest with mxint3 in blocks, read on the random curve; nothing where either is not clear of its error."""
    points = [model.points.get((method, f"mxint3_k{block}")) for method in ("nearest", "gptq")]
    curve = model.curve_if_any
    if curve is None or any(p is None or p.qid <= 3 * p.qid_se for p in points):
        return []
    nearest, gptq = (float(curve.snr_of(p.loss)) for p in points if p is not None)
    return [gptq - nearest]


def landscape_page(models: Sequence[ModelRecords]) -> str:
    """Return the measured part of docs/landscape.md."""
    parts = [
        "## What was measured",
        "The last checkpoints of the dataset `families` ([datasets.md](datasets.md)). SQNR of one format between networks (largest less smallest):",
        noise_table(models),
        "What differs is the landscape: where it reaches half of its height (higher: earlier), how high it is, and so what the same format costs. Sizes, "
        "tokens, text and tokenizer differ between suites:",
        places_table(models),
        flatter_said(models),
        "### Does a finer group raise SQNR?",
        integers_said(models),
        integer_table(models),
    ]
    if table := compensation_table(models):
        parts += [
            "### What compensation is worth",
            f"Random noise of {AT_DB:g} dB, compensated as GPTQ compensates its errors, costs what plain noise of so many dB more costs; columns are those of a cell. Beside it what "
            "GPTQ itself gains on rounding to nearest with `mxint3`, read on the same curve (networks where both are clear of their error). Ranges over networks, dB:",
            table,
        ]
    if table := taylor_table(models):
        parts += [
            "### How far a Taylor series reaches",
            "Gradient and curvature along the random directions (means), against the measured curve. The series of second order is as good as the curve down to the SNR "
            f"where it first misses by {OFF:.0%} (of changes above .01 nats):",
            table,
        ]
    return "\n\n".join(parts)
