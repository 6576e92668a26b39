"""How much each choice inside "GPTQ" moves QiD at 2, 3 and 4 bits on the last checkpoints of a suite, as Markdown.

    python benchmarks/gptq_variants.py runs/demo/tiny gptq-variants.db

QiDs are measurements kept in the store; running again measures only what is missing. Differences to the default are
paired over the same windows, which sums in a store cannot give: the weights are made again (gptq_walk.py), scored
window by window, and the script stops if their QiD is not the stored one.
"""

import argparse
import dataclasses
import statistics
from dataclasses import dataclass

import torch
from gptq_walk import gptq_weights, paired, window_nats

from bitlaw.measure import MeasurePlan, measure
from bitlaw.progress import Progress
from bitlaw.records import Measurement
from bitlaw.store import open_store
from bitlaw.suites import SuiteCheckpoint, open_suite
from bitlaw.text import open_text, token_windows

BITS = (2, 3, 4)
DEFAULT = "gptq int{bits}_g32"


@dataclass(frozen=True)
class Choice:
    """One row: a variant line, the label of what it changes, and the calibration text."""

    label: str
    line: str = DEFAULT
    windows: int = 128
    seed: int = 0


CHOICES = (
    Choice("default"),
    Choice("`scales=static`", f"{DEFAULT} scales=static"),
    Choice("`damping=0.001`", f"{DEFAULT} damping=0.001"),
    Choice("`damping=0.1`", f"{DEFAULT} damping=0.1"),
    Choice("`damping=1`", f"{DEFAULT} damping=1"),
    Choice("`damping_rule=search`", f"{DEFAULT} damping_rule=search"),
    Choice("`order=activation`", f"{DEFAULT} order=activation"),
    Choice("`order=activation scales=static`", f"{DEFAULT} order=activation scales=static"),
    Choice("`order=group_aware`", f"{DEFAULT} order=group_aware"),
    Choice("`upstream=full_precision`", f"{DEFAULT} upstream=full_precision"),
    Choice("`within_block=sequential`", f"{DEFAULT} within_block=sequential"),
    Choice("symmetric (`_sym`)", f"{DEFAULT}_sym"),
    Choice("groups of 128 (`g128_short`)", "gptq int{bits}_g128_short"),
    Choice("one group a row (`row`)", "gptq int{bits}_row"),
    Choice("16 calibration windows", windows=16),
    Choice("calibration seed 1", seed=1),
    Choice("calibration seed 2", seed=2),
    Choice("calibration seed 3", seed=3),
    Choice("calibration seed 4", seed=4),
)
SEEDS = ("calibration seed", "default")


def plans() -> dict[Choice, MeasurePlan]:
    return {
        choice: MeasurePlan.make(
            variants=[choice.line.format(bits=bits) for bits in BITS],
            calibration_windows=choice.windows,
            calibration_seed=choice.seed,
        )
        for choice in CHOICES
    }


@dataclass
class Cell:
    """One choice, model and width: QiD, its error, and the paired difference to the default."""

    qid: float
    qid_se: float
    difference: float
    difference_se: float

    @property
    def clear(self) -> bool:
        return abs(self.difference) > 2 * self.difference_se


def cells(checkpoint: SuiteCheckpoint, kept: dict[str, list[Measurement]]) -> dict[tuple[str, int], Cell]:
    """Cells of one checkpoint by (label, bits)."""
    model, tokenizer = checkpoint.load()
    length = int(model.config.max_position_embeddings)
    evaluation_text, calibration_text = open_text("sample:evaluation"), open_text("sample:train")
    evaluation = torch.from_numpy(token_windows(tokenizer, evaluation_text, length, windows=256).ids).long()
    base = window_nats(model, evaluation, {})
    made: dict[tuple[str, int], Cell] = {}
    first: dict[int, torch.Tensor] = {}
    for choice, plan in plans().items():
        texts = token_windows(tokenizer, calibration_text, length, windows=choice.windows, seed=choice.seed)
        calibration = torch.from_numpy(texts.ids).long()
        for variant, bits in zip(plan.variants[1:], BITS, strict=True):
            nats = window_nats(model, evaluation, gptq_weights(model, variant, calibration))
            first.setdefault(bits, nats)
            difference, difference_se = paired(nats, first[bits], length - 1)
            stored = next(
                m
                for m in kept[checkpoint.described.model]
                if m.asked.variant == variant and m.asked.calibration.token_hash == texts.token_hash
            )
            again, _ = paired(nats, base, length - 1)
            if abs(again - stored.qid) > max(2e-5, 0.02 * stored.qid_se):
                raise SystemExit(f"{choice.label}, {bits} bits: {again} made again, {stored.qid} in the store")
            made[choice.label, bits] = Cell(stored.qid, stored.qid_se, difference, difference_se)
    return made


def show(by_model: dict[str, dict[tuple[str, int], Cell]]) -> None:
    """Print one table a width and the summary."""
    for bits in BITS:
        print(f"\n| {bits} bits, 1e-3 nats per token |", " | ".join(by_model), "|")
        print("|---|" + "---|" * len(by_model))
        for choice in CHOICES:
            shown = [c[choice.label, bits] for c in by_model.values()]
            if choice.label == "default":
                row = [f"QiD {1e3 * c.qid:.1f} ± {1e3 * c.qid_se:.1f}" for c in shown]
            else:
                row = [
                    ("**{:+.2f} ± {:.2f}**" if c.clear else "{:+.2f} ± {:.2f}").format(
                        1e3 * c.difference, 1e3 * c.difference_se
                    )
                    for c in shown
                ]
            print(f"| {choice.label} |", " | ".join(row), "|")
        noise = [
            statistics.stdev(x.qid for (name, b), x in c.items() if b == bits and name.startswith(SEEDS))
            for c in by_model.values()
        ]
        print("| standard deviation over the calibration seeds |", " | ".join(f"{1e3 * x:.2f}" for x in noise), "|")
    print("\n| choice | " + " | ".join(f"{bits} bits" for bits in BITS) + " | clearly lower | clearly higher |")
    print("|---|" + "---|" * (len(BITS) + 2))
    for choice in CHOICES[1:]:
        shares = []
        for bits in BITS:
            pairs = [(c[choice.label, bits], c["default", bits]) for c in by_model.values()]
            shares.append(f"{statistics.mean(100 * x.difference / d.qid for x, d in pairs):+.0f} %")
        everything = [c[choice.label, bits] for c in by_model.values() for bits in BITS]
        lower = sum(c.clear and c.difference < 0 for c in everything)
        higher = sum(c.clear and c.difference > 0 for c in everything)
        print(f"| {choice.label} |", " | ".join(shares), f"| {lower} | {higher} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    suite = open_suite(given.suite)
    last = {c.described.model: c for c in suite.checkpoints}
    suite = dataclasses.replace(suite, checkpoints=tuple(last.values()))
    for plan in plans().values():
        summary = measure(suite, plan, given.store, workers=given.workers, progress=Progress())
        if summary.failed:
            raise SystemExit("\n".join(summary.failures))
    kept: dict[str, list[Measurement]] = {}
    with open_store(given.store, create=False) as store:
        for m in store.read():
            kept.setdefault(m.asked.checkpoint.model, []).append(m)
    show({name: cells(checkpoint, kept) for name, checkpoint in last.items()})


if __name__ == "__main__":
    main()
