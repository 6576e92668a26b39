"""F1, F6, F7, F10 and T1 of the first paper: fits of whole laws, what they predict, what they miss."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from bitlaw.fit import fit
from bitlaw.laws import load_law
from bitlaw.laws.law import Array
from bitlaw.records import Measurement
from bitlaw.report.ouyang2024 import drawing
from bitlaw.report.ouyang2024.fits import ONE_BIT, THRESHOLD, fits_by_width, held_out_scores, table_of, told
from bitlaw.report.ouyang2024.published import LABELS, LEVELS, TABLE_1, TABLE_SIZES, item
from bitlaw.report.ouyang2024.rows import WIDTHS, is_ordinary, is_plain, models_of, one_calibration, tokens
from bitlaw.report.papers import Grid, Item
from bitlaw.report.words import count, listed

GUESSING = 10.83  # ln 50304, where the paper's gray band begins


def predictions(rows: Sequence[Measurement]) -> Item:
    """F1: the published laws at 1e14 tokens, and fits to these records as far as they may be asked."""
    grid = np.geomspace(1e11, 1e14, 60)
    values = {}
    lines = []
    for bits, law_name in ONE_BIT.items():
        law = load_law(law_name)
        for n in sorted({n for n, _ in LABELS}):
            values[bits, n] = law.evaluate(law.constants().values, {"parameters": np.full(60, n), "tokens": grid})
            lines.append([count(n), f"{bits:g}", f"{LABELS[n, bits]:.2f}", f"{values[bits, n][-1]:.2f}"])
    models = models_of(rows)
    own = []
    for bits, found in fits_by_width(rows).items():
        n = float(max(models.values()))
        last = max(tokens(m) for m in rows)
        said = [
            float(found.predict({"parameters": np.array([n]), "tokens": np.array([D])})[0]) for D in (last, 10 * last)
        ]
        measured = max(
            (m for m in rows if m.asked.variant.bits == bits and m.asked.checkpoint.parameters == n), key=tokens
        )
        own.append(
            [
                f"{bits:g}",
                count(n),
                f"{measured.qid:.3f} at {count(tokens(measured))}",
                f"{said[0]:.3f}",
                f"{said[1]:.3f}",
            ]
        )
    last = max(tokens(m) for m in rows)
    return item(
        "F1",
        ours="The published laws of one bit width give the labels back (first table). Laws fitted to these records say nothing of "
        f"1e14 tokens: that is {1e14 / last:.0e} times the longest run here. The second table extrapolates the largest model "
        "tenfold, for comparison only.",
        draw=partial(drawing.predictions, values, grid, GUESSING),
        grids=(
            Grid(
                heads=("N", "bits", "label in the paper", "law here"), rows=lines, caption="QiD at 1e14 tokens, nats."
            ),
            Grid(
                heads=("bits", "N", "measured at its end", f"fit at {count(last)}", f"fit at {count(10 * last)}"),
                rows=own,
                caption="These records, largest model: QiD, nats; fits of k D^beta / N^alpha to each width.",
            ),
        ),
    )


def unified(rows: Sequence[Measurement]) -> Item:
    """F6: the unified law fitted, in sample and held out."""
    found = fit("ouyang2024-unified", table_of(rows, "the main rows"))
    models = models_of(rows)
    largest = list(models)[-1]
    rest = [m for m in rows if m.asked.checkpoint.model != largest]
    held = [m for m in rows if m.asked.checkpoint.model == largest and m.qid > THRESHOLD]
    lines = [
        [
            "in sample",
            f"{found.scores.log_r2:.2f}",
            f"{100 * found.scores.median_relative_error:.0f} %",
            str(found.scores.points_above),
        ]
    ]
    if len(models) > 2 and held:
        without = fit("ouyang2024-unified", table_of(rest, "without the largest"))
        lines.append([f"largest size ({largest}) held out", *held_out_scores(without, held)])
    cut = np.sqrt(float(min(map(tokens, rows))) * max(map(tokens, rows))) * 3
    early, late = [m for m in rows if tokens(m) <= cut], [m for m in rows if tokens(m) > cut and m.qid > THRESHOLD]
    if late and len(early) > 8:
        lines.append(
            [
                f"tokens beyond {count(cut)} held out",
                *held_out_scores(fit("ouyang2024-unified", table_of(early, "early")), late),
            ]
        )
    published = load_law("ouyang2024-unified").constants().values
    constants = [[name, f"{published[name]:.4g}", told(found, name)] for name in ("k", "beta", "alpha", "gamma")]
    return item(
        "F6",
        ours=f"{told(found, 'beta', 'alpha', 'gamma')}; R2 of log QiD {found.scores.log_r2:.2f}, median error "
        f"{100 * found.scores.median_relative_error:.0f} % in sample.",
        draw=partial(drawing.against_tokens, rows, dict.fromkeys(sorted({m.asked.variant.bits for m in rows}), found)),
        grids=(
            Grid(heads=("constant", "published", "these records"), rows=constants),
            Grid(heads=("", "R2 of log QiD", "median relative error", "rows"), rows=lines),
        ),
    )


def quantized_loss(rows: Sequence[Measurement]) -> Item:
    """F7: the 16-bit law and the sum with QiD, fitted."""
    table = table_of(rows, "the main rows")
    base = fit("ouyang2024-loss", table.one_row_a_checkpoint())
    qid = fit("ouyang2024-unified", table)
    predicted = {}
    for m in rows:
        at = {
            "parameters": np.array([float(m.asked.checkpoint.parameters)]),
            "tokens": np.array([float(tokens(m))]),
            "bits": np.array([m.asked.variant.bits]),
        }
        parts = (f.predict({v: at[v] for v in f.formula().variables}) for f in (base, qid))
        predicted[m.key] = float(sum(p[0] for p in parts))
    miss = np.array([predicted[m.key] - m.loss for m in rows])
    known = load_law("ouyang2024-loss").constants().values
    lines = [[name, f"{known[name]:.3g}", told(base, name)] for name in ("Nc", "aN", "Dc", "aD")]
    lines.append(["R2 of the 16-bit loss", "", f"{base.scores.r2:.3f}"])
    return item(
        "F7",
        ours=f"The 16-bit law follows these losses with R2 {base.scores.r2:.3f}; its sum with the unified QiD misses the quantized loss by "
        f"a median of {np.median(np.abs(miss)):.3f} nats and at most {np.max(np.abs(miss)):.2f}.",
        draw=partial(drawing.quantized_losses, rows, predicted),
        grids=(Grid(heads=("constant", "published", "these records"), rows=lines),),
    )


def other_models(rows: Sequence[Measurement], main: Sequence[Measurement]) -> Item:
    """F10: models that the law was not fitted to, the largest size and other families."""
    values = []
    titles = []
    models = models_of(main)
    missing = ""
    if len(models) > 2:
        largest = list(models)[-1]
        held = [m for m in main if m.asked.checkpoint.model == largest]
        found = fit(
            "ouyang2024-unified",
            table_of([m for m in main if m.asked.checkpoint.model != largest], "without the largest"),
        )
        table = table_of(held, "held out")
        values.append(
            (f"{largest}, not fitted", found.predict({v: table[v] for v in found.formula().variables}), table["qid"])
        )
        titles.append("largest size from the others")
    grids: tuple[Grid, ...] = ()
    families = {m.asked.checkpoint.family for m in main}
    others: dict[str, list[Measurement]] = {}
    for m in rows:
        if (
            is_ordinary(m)
            and m.asked.checkpoint.family not in families
            and is_plain(m.asked.variant)
            and m.asked.variant.bits in WIDTHS
        ):
            others.setdefault(m.asked.checkpoint.family, []).append(m)
    if others and main:
        plain = one_calibration(
            m
            for m in rows
            if m.asked.checkpoint.suite == main[0].asked.checkpoint.suite
            and is_plain(m.asked.variant)
            and m.asked.variant.bits in WIDTHS
        )
        found = fit("ouyang2024-unified", table_of(plain or main, "plain GPTQ"))
        for family, ms in others.items():
            table = table_of(one_calibration(ms), family)
            values.append((family, found.predict({v: table[v] for v in found.formula().variables}), table["qid"]))
            titles.append(f"{family} from the law of {', '.join(sorted(families))}")
    elif len(by_family := microscaled(rows)) > 2:
        predicted = {family: _from_the_rest(by_family, family) for family in by_family}
        both = [np.concatenate([pair[i] for pair in predicted.values()]) for i in (0, 1)]
        values.append((f"{len(by_family)} families, {FORMATS}", both[0], both[1]))
        titles.append("each family from the law of the others")
        grids = (_family_grid(predicted),)
    else:
        missing = "GPTQ of one kind of format at 2, 3 and 4 bits was measured on one or two families of architectures here, so other families are not predicted."
    if not values:
        return item("F10", missing=missing or "Fewer than three sizes: nothing can be held out.")
    errors = [float(np.median(np.abs(p / q - 1)[q > THRESHOLD])) for _, p, q in values]
    said = listed([f"{title}: {100 * e:.0f} %" for title, e in zip(titles, errors)])
    return item(
        "F10",
        ours=f"Median error of predictions of models the law was not fitted to: {said} (QiD above {THRESHOLD:g} nats; gray: a factor of two). "
        "Spectra, Llama and Qwen of the paper are far larger; its left panel's models (Spectra) are not among these.",
        draw=partial(drawing.predicted_measured, values, titles),
        grids=grids,
        missing=missing,
    )


MICROSCALED = re.compile(r"mxint[234]_k32(_short)?")
FORMATS = "MXINT2, 3 and 4 in blocks of 32, GPTQ"


def microscaled(rows: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Return family -> rows of FORMATS, of the suite with the most families that have all three widths."""
    by_suite: dict[str, dict[str, list[Measurement]]] = {}
    for m in rows:
        v = m.asked.variant
        if v.method == "gptq" and v.weights_only and MICROSCALED.fullmatch(v.format) and is_ordinary(m):
            c = m.asked.checkpoint
            by_suite.setdefault(c.suite, {}).setdefault(c.family, []).append(m)
    whole = [
        {f: ms for f, ms in families.items() if len({m.asked.variant.bits for m in ms if m.qid > THRESHOLD}) == 3}
        for families in by_suite.values()
    ]
    return max(whole, key=lambda families: (len(families), sum(map(len, families.values()))), default={})


def _from_the_rest(by_family: Mapping[str, Sequence[Measurement]], family: str) -> tuple[Array, Array]:
    """Return predicted and measured QiD of a family by the unified law fitted to the others."""
    rest = [m for name, ms in by_family.items() if name != family for m in ms]
    found = fit("ouyang2024-unified", table_of(rest, f"without {family}"))
    table = table_of(list(by_family[family]), family)
    return found.predict({v: table[v] for v in found.formula().variables}), table["qid"]


def _family_grid(predicted: Mapping[str, tuple[Array, Array]]) -> Grid:
    """Return how the law of the other families misses each family."""
    lines = []
    for family, (said, measured) in predicted.items():
        above = measured > THRESHOLD
        miss = np.log(np.maximum(said[above], 1e-12) / measured[above])
        error, bias = float(np.median(np.abs(np.expm1(miss)))), float(np.exp(np.median(miss)))
        lines.append([family, f"{100 * error:.0f} %", f"{bias:.2f}", str(int(above.sum()))])
    return Grid(
        heads=("family", "median error", "predicted over measured", "rows"),
        rows=lines,
        caption=f"{FORMATS}: each family predicted by the unified law fitted to the others.",
    )


def tokens_for(qid: float, parameters: float, values: Mapping[str, float]) -> float:
    """Return D where k D^beta / N^alpha reaches a QiD; infinite where it does not grow with tokens."""
    if values["beta"] <= 1e-3:
        return math.inf
    logarithm = (math.log(qid / values["k"]) + values["alpha"] * math.log(parameters)) / values["beta"]
    return math.exp(logarithm) if logarithm < 690.0 else math.inf


def _told_tokens(D: float, last: float) -> str:
    """Return tokens as text, with a star beyond the longest run, or `never` where the law does not get there."""
    if D > 1e30:
        return "never"
    return count(D) + (" *" if last < D else "")


def tokens_needed(rows: Sequence[Measurement]) -> Item:
    """T1: the published table from the laws, and the same question of these records."""
    lines = []
    worst = 0.0
    for n in TABLE_SIZES:
        for bits in WIDTHS:
            law = load_law(ONE_BIT[bits])
            v = law.constants().values
            cells = []
            for level in LEVELS:
                said = tokens_for(level, n, v) / 1e12
                known = TABLE_1[n, bits][LEVELS.index(level)]
                worst = max(worst, abs(said - known))
                cells.append(f"{known:.4f} / {said:.4f}")
            lines.append([count(n), f"{bits:g}", *cells])
    own = []
    for bits, found in fits_by_width(rows).items():
        v = found.values
        last = max(map(tokens, rows))
        for model, n in models_of(rows).items():
            needed = [tokens_for(level, n, v) for level in LEVELS]
            own.append([model, f"{bits:g}", *(_told_tokens(D, last) for D in needed)])
    return item(
        "T1",
        ours=f"The laws recovered from this table give all its cells back (largest difference {worst:.4f} trillion). Second table: the same "
        "question asked of fits to these records, for the sizes measured.",
        grids=(
            Grid(
                heads=("N", "bits", *(f"QiD {level:g}" for level in LEVELS)),
                rows=lines,
                caption="Trillions of tokens: published / law here.",
            ),
            Grid(
                heads=("model", "bits", *(f"QiD {level:g}" for level in LEVELS)),
                rows=own,
                caption="Tokens, from fits of k D^beta / N^alpha to each width. * beyond the longest run of these records.",
            ),
        ),
    )
