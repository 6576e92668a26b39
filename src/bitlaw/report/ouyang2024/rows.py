"""Measurements as the first paper needs them: which rows stand for its GPTQ, and everything that differs from them in one way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bitlaw.records import Measurement, Variant

WIDTHS = (2.0, 3.0, 4.0)
NATIVE = "+bitnet"


@dataclass(frozen=True, kw_only=True)
class Main:
    """The rows that stand for the paper's main experiment, and in words which they are."""

    rows: tuple[Measurement, ...]
    words: str


def is_papers(v: Variant) -> bool:
    """Whether a variant is the paper's: GPTQ, symmetric integers of group 128, damping 0.1, layers one after the other."""
    return (
        v.method == "gptq"
        and v.format == f"int{v.bits:g}_g128_sym"
        and v.weights_only
        and v.options.get("damping") == 0.1
        and v.options.get("within_block") == "sequential"
        and v.options.get("upstream") == "quantized"
    )


def is_plain(v: Variant, method: str = "gptq") -> bool:
    """Whether a variant is a method with asymmetric integers of group 128 and the method's defaults."""
    plain = {"upstream": "quantized", "scales": "dynamic", "order": "none", "within_block": "parallel"}
    return (
        v.method == method
        and v.format == f"int{v.bits:g}_g128"
        and v.weights_only
        and all(v.options.get(name, value) == value for name, value in plain.items())
    )


def usable(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return the measurements that worked and whose size and tokens are known, by size, model and tokens."""
    found = [
        m for m in measurements if m.seen.state == "ok" and m.asked.checkpoint.parameters and m.asked.checkpoint.tokens
    ]
    return sorted(found, key=lambda m: (m.asked.checkpoint.parameters, m.asked.checkpoint.model, tokens(m)))


def checkpoint_of(m: Measurement) -> tuple[str, str, int, str]:
    """Return what identifies the checkpoint."""
    c = m.asked.checkpoint
    return c.suite, c.model, c.step, c.commit


def tokens(m: Measurement) -> int:
    """Return D."""
    return m.asked.checkpoint.tokens or 0


def main_text(rows: Sequence[Measurement]) -> str:
    """Return the hash of the evaluation text that most rows were scored on; an empty one for no rows."""
    hashes = [m.asked.evaluation.token_hash for m in rows]
    return max(dict.fromkeys(hashes), key=hashes.count, default="")


def one_calibration(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows without replicates: of each checkpoint, variant and text the one whose calibration most rows share."""
    listed = list(rows)
    counts: dict[str, int] = {}
    for m in listed:
        counts[m.asked.calibration.token_hash] = counts.get(m.asked.calibration.token_hash, 0) + 1
    best: dict[tuple[object, ...], Measurement] = {}
    for m in sorted(listed, key=lambda m: -counts[m.asked.calibration.token_hash]):
        v = m.asked.variant
        way = f"{v.label} {sorted(v.options.items())}"
        best.setdefault((*checkpoint_of(m), way, m.asked.evaluation.token_hash), m)
    kept = {m.key for m in best.values()}
    return [m for m in listed if m.key in kept]


def is_ordinary(m: Measurement) -> bool:
    """Whether a checkpoint is one training run's own: not trained in few bits, not an average of weights."""
    checkpoint = m.asked.checkpoint
    return NATIVE not in checkpoint.family and "+mean" not in (checkpoint.schedule or "")


def main_rows(rows: Sequence[Measurement], suite: str = "") -> Main:
    """Return the rows that stand for the paper's: with its settings where there are two widths of them, else plain GPTQ.

    suite: only its rows; by default those of all suites that were scored on the same tokens, that with most rows first where
    two have models of one name.
    """
    ordinary = [m for m in rows if is_ordinary(m)]
    for test, words in (
        (is_papers, "GPTQ with the paper's settings (symmetric, group 128, damping 0.1, layers one after the other)"),
        (is_plain, "GPTQ, asymmetric, group 128, damping 0.01 (none with the paper's settings)"),
    ):
        chosen = [m for m in ordinary if test(m.asked.variant) and m.asked.variant.bits in WIDTHS]
        text = main_text(chosen)  # not of all rows: other studies' texts may have more
        chosen = [m for m in chosen if m.asked.evaluation.token_hash == text]
        chosen = one_calibration(m for m in chosen if suite in ("", m.asked.checkpoint.suite))
        listed = [m.asked.checkpoint.suite for m in chosen]
        suites = sorted(dict.fromkeys(listed), key=lambda name: -listed.count(name))
        models = {(m.asked.checkpoint.suite, m.asked.checkpoint.model) for m in chosen}
        owner = {model: suite for suite, model in sorted(models, key=lambda one: -suites.index(one[0]))}
        chosen = [m for m in chosen if owner[m.asked.checkpoint.model] == m.asked.checkpoint.suite]
        if len({m.asked.variant.bits for m in chosen}) > 1 and len(models_of(chosen)) > 1:
            own = [name for name in suites if name in owner.values()]
            return Main(rows=tuple(chosen), words=f"suite{'s' * (len(own) > 1)} {' and '.join(own)}, {words}")
    return Main(rows=(), words="no rows of GPTQ at two of 2, 3 and 4 bits on two sizes")


def models_of(rows: Iterable[Measurement]) -> dict[str, int]:
    """Return model -> N, smallest first."""
    found = {m.asked.checkpoint.model: m.asked.checkpoint.parameters for m in rows}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def curves(rows: Iterable[Measurement]) -> dict[tuple[str, float], list[Measurement]]:
    """Return (model, bits) -> measurements by tokens."""
    found: dict[tuple[str, float], list[Measurement]] = {}
    for m in rows:
        found.setdefault((m.asked.checkpoint.model, m.asked.variant.bits), []).append(m)
    for listed in found.values():
        listed.sort(key=tokens)
    return found


def at_tokens(rows: Sequence[Measurement], D: float) -> float:
    """Return QiD of one curve at D tokens, ln QiD interpolated in ln D; NaN outside the curve or beside a value <= 0."""
    x = np.array([tokens(m) for m in rows], dtype=float)
    y = np.array([m.qid for m in rows])
    if x[0] * 0.999 > D or x[-1] * 1.001 < D:
        return float("nan")
    place = int(np.clip(np.searchsorted(x, D), 1, len(x) - 1))
    near = y[place - 1 : place + 1]
    if len(near) < 2 or np.any(near <= 0):
        return float("nan")
    return float(np.exp(np.interp(np.log(D), np.log(x[place - 1 : place + 1]), np.log(near))))
