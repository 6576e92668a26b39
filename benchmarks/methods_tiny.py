"""QiD of every method at 2, 3 and 4 bits on the last checkpoints of a suite, as a Markdown table.

    python benchmarks/methods_tiny.py runs/demo/tiny methods.db

Every number is a measurement kept in the store; running again measures only what is missing.
"""

import argparse
import dataclasses

from bitlaw.catalog import METHODS
from bitlaw.measure import MeasurePlan, measure
from bitlaw.progress import Progress
from bitlaw.store import open_store
from bitlaw.suites import open_suite

BITS = (2, 3, 4)
ALONE = {"cmpq": "kmeans{bits}_row"}  # methods that do not take int<bits>_g32, or are not meant for it
EXTRA = (
    "gptq int{bits}_g32 damping_rule=search",
    "gptq int{bits}_g32 order=activation",
    "gptq int{bits}_g32 order=group_aware",
    "gptq int{bits}_g32 scales=static",
    "gptq int{bits}_g32 within_block=sequential",
    "gptq int{bits}_g32 upstream=full_precision",
    "gptaq int{bits}_g32 within_block=sequential",
    "gptaq int{bits}_g32 alpha=1.0",
    "awq int{bits}_g32 clip=false",
    "nearest kmeans{bits}_row",
    "nearest mxint{bits}_k32",
    "gptq mxint{bits}_k32",
    "gptq mxint{bits}_k32 micro_block=32",
    "gptq mxint{bits}_k32 micro_block=32 damping_rule=search upstream=full_precision",
    "nearest int{bits}_g32_sym",
    "crossquant int{bits}_g32_sym",
    "nearest int{bits}_row_sym",
    "crossquant int{bits}_row_sym",
    "crossquant int{bits}_row_sym alpha=0.15",
    "rotate int{bits}_row_sym",
    "smooth int{bits}_g32 alpha=0.2",
    "mixed int{bits}_g32 order=sensitivity",
    "mixed int{bits}_g32 order=sensitivity inner=gptq",
)


def variants() -> dict[str, list[str]]:
    """Lines of variants by label, one a width."""
    plain = [f"{name} {ALONE.get(name, 'int{bits}_g32')}" for name in METHODS]
    return {line: [line.format(bits=bits) for bits in BITS] for line in (*plain, *EXTRA)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    suite = open_suite(given.suite)
    last = {c.described.model: c for c in suite.checkpoints}
    suite = dataclasses.replace(suite, checkpoints=tuple(last.values()))
    lines = variants()
    plan = MeasurePlan.make(variants=[v for row in lines.values() for v in row])
    summary = measure(suite, plan, given.store, workers=given.workers, progress=Progress())
    print(f"{summary.measured} measured, {summary.skipped} kept, {summary.failed} failed", *summary.failures, sep="\n")
    with open_store(given.store, create=False) as store:
        kept = {(m.asked.checkpoint.model, m.asked.variant.label, _options(m.asked.variant)): m for m in store.read()}
    wanted = {(v.label, _options(v)): v for v in plan.variants}
    order = iter([v for v in plan.variants if v.method != "none"])
    by_line = {line: [next(order) for _ in BITS] for line in lines}
    assert len(wanted) == len(plan.variants)
    print("\n| method, format, options | bits per weight |", " | ".join(last), "| seconds |")
    print("|---|---|" + "---|" * (len(last) + 1))
    for line, chosen in by_line.items():
        for variant, bits in zip(chosen, BITS, strict=True):
            ms = [kept.get((model, variant.label, _options(variant))) for model in last]
            cells = [f"{m.qid:.4f} ± {m.qid_se:.4f}" if m and m.seen.state == "ok" else "failed" for m in ms]
            stored = sorted({round(m.seen.bits_per_weight, 2) for m in ms if m and m.seen.bits_per_weight})
            seconds = sum(m.made.seconds for m in ms if m)
            span = " - ".join(f"{bits:.2f}" for bits in dict.fromkeys((stored[0], stored[-1])))
            print(f"| `{line.format(bits=bits)}` | {span} |", " | ".join(cells), f"| {seconds:.1f} |")


def _options(variant) -> str:
    return str(sorted(variant.options.items()))


if __name__ == "__main__":
    main()
