"""The records as flat rows, and the groups of variants the page speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bitlaw.datasets import load
from bitlaw.records import Measurement

PLAIN = {"upstream": "quantized", "scales": "dynamic", "order": "none"}
THRESHOLD = 5e-4  # nats: below it QiD is of the size of its noise


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantized checkpoint: N, D, learning rate over its peak, the variant, QiD with its standard error (nats)."""

    model: str
    N: int
    D: int
    decay: float
    method: str
    format: str
    bits: float
    setting: str
    calibration: str
    qid: float
    se: float
    sqnr: float
    loss: float
    baseline: float
    measurement: Measurement

    @property
    def at(self) -> tuple[str, int]:
        """The checkpoint."""
        return self.model, self.D

    @property
    def way(self) -> str:
        """The variant as the page names it."""
        return f"{self.method} {self.format}{' ' + self.setting if self.setting else ''}"


def row(m: Measurement) -> Row:
    """Return the flat row of a measurement."""
    checkpoint, variant = m.asked.checkpoint, m.asked.variant
    changed = [f"{k}={variant.options[k]}" for k, plain in PLAIN.items() if variant.options.get(k, plain) != plain]
    return Row(
        model=checkpoint.model,
        N=checkpoint.parameters,
        D=checkpoint.tokens or 0,
        decay=(checkpoint.learning_rate or 0.0) / (checkpoint.peak_learning_rate or 1.0),
        method=variant.method,
        format=variant.format,
        bits=variant.bits,
        setting=" ".join(changed),
        calibration=m.asked.calibration.token_hash,
        qid=m.qid,
        se=m.qid_se,
        sqnr=float("nan") if m.seen.sqnr_db is None else m.seen.sqnr_db,
        loss=m.loss,
        baseline=m.baseline_loss,
        measurement=m,
    )


def all_rows() -> list[Row]:
    """Return every quantized row of the dataset, replicates included."""
    return [row(m) for m in load("mini-pythia") if m.asked.variant.method != "none"]


def main_seed(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without replicates: those of the calibration text that most rows share."""
    listed = list(rows)
    seen = [r.calibration for r in listed if r.method == "awq"]
    return [r for r in listed if r.calibration in ("none", seen[0])]


def int_g128(method: str) -> Callable[[Row], bool]:
    """Return the test for a method's plain integers of group 128, asymmetric."""
    return lambda r: r.method == method and not r.setting and r.format in {f"int{b}_g128" for b in range(2, 9)}


GROUPS: dict[str, Callable[[Row], bool]] = {
    "gptq, paper's settings (2-4)": lambda r: r.method == "gptq" and r.format.endswith("_sym"),
    "gptq g128 asymmetric (2-6)": int_g128("gptq"),
    "gptq g32 (2-4)": lambda r: r.method == "gptq" and r.format.endswith("_g32"),
    "nearest g128 asymmetric (2-6, 8)": int_g128("nearest"),
    "nearest g32 (2-4)": lambda r: r.method == "nearest" and r.format.endswith("_g32"),
    "nearest MXINT (2-4, 6)": lambda r: r.format.startswith("mxint"),
}
PAPER, GPTQ, NEAREST = (list(GROUPS)[i] for i in (0, 1, 3))


def group(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the rows of a group."""
    return [r for r in rows if GROUPS[name](r)]
