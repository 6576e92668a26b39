"""How much each choice inside "GPTQ" moves QiD at 2, 3 and 4 bits on the last checkpoints of a suite, as Markdown.

    python benchmarks/gptq_variants.py runs/demo/tiny gptq-variants.db

QiDs are measurements kept in the store; running again measures only what is missing. Differences to the default are
paired over the same windows, which sums in a store cannot give: while measuring, the nats of each window are noted and
kept in <store>.windows.npz under the record's key.
"""

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bitlaw.measure import MeasurePlan, measure
from bitlaw.progress import Progress
from bitlaw.records import Variant
from bitlaw.store import open_store
from bitlaw.suites import Suite, open_suite
from bitlaw.sweep.score import Reference, Tally
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
    Choice("`scales=block`", f"{DEFAULT} scales=block"),
    Choice("`scales=static`", f"{DEFAULT} scales=static"),
    Choice("`damping=0.001`", f"{DEFAULT} damping=0.001"),
    Choice("`damping=0.1`", f"{DEFAULT} damping=0.1"),
    Choice("`damping=1`", f"{DEFAULT} damping=1"),
    Choice("`order=activation`", f"{DEFAULT} order=activation"),
    Choice("`order=group_aware`", f"{DEFAULT} order=group_aware"),
    Choice("`upstream=full_precision`", f"{DEFAULT} upstream=full_precision"),
    Choice("`within_block=sequential`", f"{DEFAULT} within_block=sequential"),
    Choice("symmetric (`_sym`)", f"{DEFAULT}_sym"),
    Choice("groups of 128 (`g128_short`)", "gptq int{bits}_g128_short"),
    Choice("one group a row (`row`)", "gptq int{bits}_row"),
    Choice("16 calibration windows", windows=16),
    Choice("calibration seed 1", seed=1),
    Choice("calibration seed 2", seed=2),
)
SEEDS = ("calibration seed", "default")


def variants(choice: Choice) -> tuple[Variant, ...]:
    """The choice at every width."""
    return MeasurePlan.make(variants=[choice.line.format(bits=bits) for bits in BITS]).variants[1:]


def plans() -> list[MeasurePlan]:
    """One plan for each calibration text, with the choices that use it."""
    made = []
    for windows, seed in dict.fromkeys((c.windows, c.seed) for c in CHOICES):
        chosen = [v for c in CHOICES if (c.windows, c.seed) == (windows, seed) for v in variants(c)]
        made.append(MeasurePlan(variants=tuple(chosen), calibration_windows=windows, calibration_seed=seed))
    return made


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


@contextmanager
def noting_windows(noted: dict[float, Any]) -> Iterator[None]:
    """Note nats of each window, [windows], of every variant scored meanwhile, by the sum that its record keeps."""
    plain = Tally.add
    parts: dict[int, list[Any]] = {}
    kept: list[Tally] = []  # alive, so that no id comes twice

    def add(self: Tally, logits: Any, base: Reference) -> None:
        plain(self, logits, base)
        if logits is not None:
            chosen = logits[:, :-1].float().log_softmax(-1).gather(-1, base.targets.unsqueeze(-1)).squeeze(-1)
            parts.setdefault(id(self), []).append(-chosen.double().sum(1).numpy())
            kept.append(self)

    with mock.patch.object(Tally, "add", add):
        yield
    noted.update({tally.nats: np.concatenate(parts[id(tally)]) for tally in kept})


def paired(nats: Any, other: Any, tokens: int) -> tuple[float, float]:
    """Mean of nats - other per token and its paired standard error; both [windows] of `tokens` scored tokens."""
    difference = (nats - other) / tokens
    return float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))


def measured(suite: Suite, model: str, file: str) -> dict[tuple[str, int], Cell]:
    """Measure what is missing of a model's last checkpoint; return its cells by (label, bits)."""
    windows_file = Path(f"{file}.windows.npz")
    noted: dict[float, Any] = {}
    for plan in plans():
        with noting_windows(noted):
            summary = measure(suite, plan, file, models=[model], workers=1, progress=Progress())
        if summary.failed:
            raise SystemExit("\n".join(summary.failures))
    with open_store(file, create=False) as store:
        kept = [m for m in store.read() if m.asked.checkpoint.model == model and m.asked.variant.method != "none"]
    windows = dict(np.load(windows_file)) if windows_file.exists() else {}
    windows |= {m.key: noted[m.seen.nats] for m in kept if m.seen.nats in noted}
    np.savez_compressed(windows_file, **windows)
    hashes = calibration_hashes(suite, model)
    by_choice = {
        (choice.label, bits): next(
            m
            for m in kept
            if m.asked.variant == variant and m.asked.calibration.token_hash == hashes[choice.windows, choice.seed]
        )
        for choice in CHOICES
        for variant, bits in zip(variants(choice), BITS, strict=True)
    }
    made = {}
    for (label, bits), m in by_choice.items():
        default = by_choice["default", bits]
        tokens = m.asked.evaluation.window_tokens - 1
        made[label, bits] = Cell(m.qid, m.qid_se, *paired(windows[m.key], windows[default.key], tokens))
    return made


def calibration_hashes(suite: Suite, model: str) -> dict[tuple[int, int], str]:
    """Hash of the calibration windows by (windows, seed), as `measure` cuts them."""
    (checkpoint,) = (c for c in suite.checkpoints if c.described.model == model)
    length = json.loads((checkpoint.path / "config.json").read_text())["max_position_embeddings"]
    tokenizer, text = checkpoint.load_tokenizer(), open_text("sample:train")
    return {
        (windows, seed): token_windows(tokenizer, text, length, windows=windows, seed=seed).token_hash
        for windows, seed in dict.fromkeys((c.windows, c.seed) for c in CHOICES)
    }


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
    given = parser.parse_args()
    suite = open_suite(given.suite)
    by_size = sorted(suite.checkpoints, key=lambda c: (c.described.parameters, c.described.step))
    last = {c.described.model: c for c in by_size}
    suite = dataclasses.replace(suite, checkpoints=tuple(last.values()))
    show({name: measured(suite, name, given.store) for name in last})


if __name__ == "__main__":
    main()
