"""Makes docs/mini-pythia.md and its figures from the shipped records alone: `python studies/mini-pythia/analyse.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import effects
import figures
import numpy as np
import tables
from findings import findings
from rows import GPTQ, NEAREST, PAPER, Row, all_rows, group, main_seed, row

from bitlaw.laws import load_law
from bitlaw.store import read_parquet

ROOT = Path(__file__).resolve().parent.parent.parent
CPU = Path(__file__).resolve().parent / "cpu.parquet"
SHOWN = (
    "gptq int{}_g128_sym",
    "gptq int{}_g128",
    "gptq int{}_g32",
    "nearest int{}_g128",
    "nearest int{}_g32",
    "awq int{}_g128",
)


def cpu_table(rows: Sequence[Row]) -> tuple[str, str]:
    """Return the same checkpoints measured on a CPU beside the GPU's rows, and one sentence about them.

    The keys are equal. The distance is in standard errors of the two together; both score the same tokens, so sampling
    of the text does not make them differ: the distance overstates agreement, and the relative difference stands beside.
    """
    if not CPU.is_file():
        return "", ""
    gpu = {r.measurement.key: r for r in rows}
    cpu = [row(m) for m in read_parquet(CPU) if m.asked.variant.method != "none"]
    pairs = [(r, gpu[r.measurement.key]) for r in sorted(cpu, key=lambda r: (r.N, r.way)) if r.measurement.key in gpu]
    away = [(a.qid - b.qid) / np.hypot(a.se, b.se) for a, b in pairs]
    share = [abs(a.qid / b.qid - 1) for a, b in pairs]
    lines = [
        [a.model, a.way, f"{a.qid:.5f} ± {a.se:.5f}", f"{b.qid:.5f} ± {b.se:.5f}", f"{z:+.2f}", f"{100 * (a.qid / b.qid - 1):+.2f} %"]
        for (a, b), z in zip(pairs, away)
    ]  # fmt: skip
    text = tables.markdown(("model", "variant", "CPU", "H200", "standard errors apart", "CPU / H200 - 1"), lines)
    near = [s for (a, _), s in zip(pairs, share) if a.method == "nearest"]
    far = [s for (a, _), s in zip(pairs, share) if a.method == "gptq"]
    inside = sum(abs(z) <= 2 for z in away)
    same = sum(s < 1e-4 for s in share)
    models = ", ".join(dict.fromkeys(a.model for a, _ in pairs))
    words = (
        f"{inside} of {len(pairs)} rows (last checkpoint of {models}) agree within two standard errors, {same} of them to .01 %; `nearest` "
        f"differs by at most {100 * max(near):.3f} %, `gptq` by a median of {100 * float(np.median(far)):.1f} % and at most "
        f"{100 * max(far):.1f} %."
    )
    return text, words


def ratio_table(rows: Sequence[Row]) -> str:
    """Paired ratios of QiD between ways of quantizing."""

    def way(name: str) -> Callable[[Row], bool]:
        return lambda r: r.way == name

    asked = [(f"nearest int{b}_g128", f"gptq int{b}_g128") for b in (2, 3, 4, 5, 6)]
    asked += [(f"awq int{b}_g128", f"{m} int{b}_g128") for b in (3, 4) for m in ("gptq", "nearest")]
    asked += [(f"{m} int{b}_g32", f"{m} int{b}_g128") for m in ("gptq", "nearest") for b in (2, 3, 4)]
    asked += [(f"gptq int{b}_g128_sym", f"gptq int{b}_g128") for b in (2, 3, 4)]
    asked += [
        (f"gptq int3_g128 {o}", "gptq int3_g128")
        for o in ("order=activation", "scales=static", "upstream=full_precision")
    ]
    asked += [
        (f"nearest {f}", "nearest int4_g128")
        for f in ("mxint4_k32", "mxfp4_e2m1_k32", "nf4_g64", "nvfp4_k16", "int4_g32")
    ]
    asked += [("hqq int4_g64", "nearest nf4_g64"), ("hqq int4_g64", "gptq int4_g128")]
    lines = []
    for top, bottom in asked:
        found = effects.ratio(rows, way(top), way(bottom))
        lines.append([top, bottom, found.words(), str(found.count)])
    return tables.markdown(("QiD of", "over QiD of", "ratio (90 %)", "checkpoints"), lines)


def seed_table(rows: Sequence[Row]) -> str:
    """What another calibration sample changes, plain gptq, against the standard error from the evaluation text."""
    lines = []
    for bits in (2, 3, 4):
        logs, nats, se, count = effects.seed_noise(rows, bits)
        lines.append([f"{bits}", f"{100 * logs:.1f} %", f"{nats:.5f}", f"{100 * se:.1f} %", str(count)])
    header = (
        "bits",
        "sd between seeds, QiD > .002",
        "sd in nats, QiD <= .002",
        "median standard error / QiD, QiD > .002",
        "checkpoints",
    )
    return tables.markdown(header, lines)


def main() -> None:
    """Write the page and the figures under --out (default: the repository's docs)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the page")
    folder = parser.parse_args().out
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    everything = all_rows()
    rows = main_seed(everything)
    fits = tables.fits_by_width(rows)
    unified = tables.unified_fits(rows)
    judged = tables.comparisons(rows, (PAPER, GPTQ, NEAREST))
    compared, agreement = cpu_table(everything)
    paper = {b: fits[f"gptq int{b:g}_g128_sym"][b] for b in (2.0, 3.0, 4.0)}
    figures.tokens(group(rows, PAPER), paper, pictures / "mini-pythia-tokens.png")
    figures.sizes(rows, pictures / "mini-pythia-sizes.png")
    figures.errors(
        rows,
        [("neox-0.2m", 511967232), ("neox-6.3m", 253558784), ("neox-17.7m", 56426496)],
        pictures / "mini-pythia-errors.png",
    )
    models = ("neox-0.2m", "neox-1.6m", "neox-6.3m", "neox-17.7m")
    figures.quantized_losses(rows, models, pictures / "mini-pythia-losses.png")
    by_label: dict[str, dict[float, tables.Fit]] = {}
    for pattern in SHOWN:
        for bits in (2.0, 3.0, 4.0, 5.0, 6.0):
            name = pattern.format(f"{bits:g}")
            if name in fits:
                by_label.setdefault(pattern.replace("{}", ""), {})[bits] = fits[name][bits]
    published = {b: load_law(name).published[0].values for b, name in tables.PER_BIT.items()}
    figures.exponents(by_label, published, pictures / "mini-pythia-exponents.png")
    page = findings(everything, rows, fits, unified, judged, agreement)
    sections = {
        "@exponents": tables.exponent_table(fits),
        "@unified": tables.unified_table(unified),
        "@holdouts": tables.holdout_table(judged),
        "@ratios": ratio_table(rows),
        "@seeds": seed_table(everything),
        "@cpu": f"{agreement}\n\n{compared}" if compared else "Not measured.",
    }
    for mark, text in sections.items():
        page = page.replace(mark, text)
    (folder / "mini-pythia.md").write_text(page)


if __name__ == "__main__":
    main()
