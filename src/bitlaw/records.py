"""A measurement: what was asked, what was seen, how it was made. The two halves of bitlaw meet here; nothing loads torch.

One measurement is one variant of one checkpoint scored on one evaluation text. The unquantized model is the variant
`none`. Its key hashes what was asked, so measuring again is harmless. What was seen are sums over windows; loss, QiD
and their standard errors are derived when read:

    window i: t_i scored tokens, b_i nats of the 16-bit model, q_i nats of the variant, d_i = q_i - b_i
    loss = sum q / sum t        qid = sum d / sum t        (nats per token)
    se(qid)^2 = W/(W-1) * sum (d_i - qid t_i)^2 / (sum t)^2    (paired over windows, ratio estimator)

`flatten` and `unflatten` turn a measurement into one row of scalars and back; stores, CSV and Parquet use the same columns.
"""

from __future__ import annotations

import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bitlaw.catalog import PROBES
from bitlaw.errors import InputError

Scalar = str | int | float | bool | None
RECORD_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One set of weights on a training path.

    suite, model, step and commit say which; the rest describes it and may be None where nobody knows.
    `parameters` is N, non-embedding; `tokens` is D, training tokens seen; `commit` is the resolved hub commit or the
    SHA-256 of the weights; `learning_rate` is the one in force at this step.
    """

    suite: str
    model: str
    step: int
    commit: str
    family: str
    parameters: int
    parameters_total: int | None = None
    tokens: int | None = None
    learning_rate: float | None = None
    peak_learning_rate: float | None = None
    schedule: str | None = None
    training_seed: int | None = None


_PLACE = ("along", "offset_db", "snr_db", "seed", "layers", "micro_block")
"""Options that say where a probe is."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One change of the network: of its weights (`none`, or a method with a format), its activations, its KV cache.

    `format` is the canonical name a format gives itself (`int4_g128`, with `_sym` where symmetric); `bits` is the
    nominal P (16 for `none`); `group_size` 0 means the whole row; `options` are the method's resolved settings.
    `activations` and `kv_cache` say how inputs of linear layers, and keys and values, are rounded (`int8_token`).
    """

    method: str = "none"
    format: str = "none"
    bits: float = 16.0
    group_size: int = 0
    options: Mapping[str, Scalar] = field(default_factory=dict)
    activations: str = "none"
    kv_cache: str = "none"

    @property
    def label(self) -> str:
        """Short name for tables and logs, such as `gptq int4_g128`, or `gptq int4_g128 A:int8_token KV:int4_token`.

        A probe's label says where it is: `perturb_along int4_g128 along=nearest offset_db=1.0`.
        """
        words = [self.method if self.method == "none" else f"{self.method} {self.format}"]
        if self.is_probe:
            words = [self.method, *([self.format] * (self.format != "none"))]
            words += [f"{name}={self.options[name]}" for name in _PLACE if name in self.options]
        words += [f"A:{self.activations}"] * (self.activations != "none")
        words += [f"KV:{self.kv_cache}"] * (self.kv_cache != "none")
        return " ".join(words)

    @property
    def weights_only(self) -> bool:
        """Whether nothing but weights is rounded (true of the baseline too): laws of weight bits are about these."""
        return self.activations == "none" and self.kv_cache == "none"

    @property
    def is_probe(self) -> bool:
        """Whether this probes the loss landscape: its weights are moved, not quantized, so no law of bits is about it."""
        return self.method in PROBES

    @property
    def is_baseline(self) -> bool:
        """Whether this is the 16-bit network, with nothing rounded."""
        return self.method == "none" and self.weights_only


@dataclass(frozen=True, kw_only=True)
class TextSet:
    """Windows of token ids that were fed to a model: a name, the SHA-256 of the ids, and their shape."""

    name: str = "none"
    token_hash: str = "none"
    windows: int = 0
    window_tokens: int = 0
    beginning_of_sequence: str = "none"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Everything that changes the number; the content key is a hash of it."""

    checkpoint: Checkpoint
    variant: Variant
    calibration: TextSet
    evaluation: TextSet

    @property
    def key(self) -> str:
        """Content key: 32 hexadecimal digits. Of the checkpoint, only what identifies it takes part."""
        checkpoint = {name: getattr(self.checkpoint, name) for name in ("suite", "model", "step", "commit")}
        variant = {f.name: getattr(self.variant, f.name) for f in fields(Variant)}
        variant["bits"] = float(self.variant.bits) + 0.0  # 4 and 4.0 are one question, -0.0 and 0.0 too
        variant["options"] = dict(sorted(self.variant.options.items()))
        for name in ("activations", "kv_cache"):  # newer than the first keys: in the hash only when asked for
            if variant[name] == "none":
                del variant[name]
        texts = {
            f"{kind}.{f.name}": getattr(text, f.name)
            for kind, text in (("calibration", self.calibration), ("evaluation", self.evaluation))
            for f in fields(TextSet)
            if f.name != "name"
        }
        content = {"version": RECORD_VERSION, "checkpoint": checkpoint, "variant": variant, "texts": texts}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was counted. `state` is `ok` or `failed`; a failed measurement has a reason and no numbers.

    Sums run over the scored tokens of the evaluation windows; nats are natural-log cross-entropy. `kl_nats` sums
    KL(16-bit || variant); `agreements` counts tokens whose most likely next token is the same in both.
    `fallbacks` says which layers were not quantized as asked, and why; `fallback_layers` counts them.
    `activation_kernel` is the share of linear-layer input elements that round to zero (arXiv 2410.07505), where they
    are rounded. `weight_kernel` is that share of the weights.
    `weight_norm` is |w|, the l2 norm that `sqnr_db` = 20 log10(|w| / |dw|) is relative to: over the weights of all linear
    layers in the blocks (a probe of some layers: over those). `gradient_along` and `curvature_along` are g.e (nats per
    token and unit length) and e.H.e (per squared unit) of the mean loss at the unchanged weights, along a probe's unit
    direction e. `least_expert_tokens` is how many calibration tokens the least used expert of a mixture read; None for
    models without experts and methods that read no inputs.
    """

    state: str = "ok"
    reason: str = ""
    windows: int | None = None
    tokens_scored: int | None = None
    tokens_squared: float | None = None
    nats: float | None = None
    nats_squared: float | None = None
    nats_tokens: float | None = None
    baseline_nats: float | None = None
    difference_squared: float | None = None
    difference_tokens: float | None = None
    kl_nats: float | None = None
    agreements: int | None = None
    non_finite_tokens: int = 0
    bytes_scored: int | None = None
    quantized_layers: int = 0
    quantized_parameters: int = 0
    bits_per_weight: float | None = None
    sqnr_db: float | None = None
    fallback_layers: int = 0
    fallbacks: str = ""
    activation_kernel: float | None = None
    weight_kernel: float | None = None
    weight_norm: float | None = None
    gradient_along: float | None = None
    curvature_along: float | None = None
    least_expert_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """How it was made: versions, hardware, numerics, cost. Nothing here changes what was asked.

    `notes` says what was met on the way, such as memory that ran out and smaller groups of variants.
    """

    bitlaw_version: str = ""
    torch_version: str = ""
    transformers_version: str = ""
    device: str = ""
    dtype: str = ""
    kernel: str = ""
    seconds: float = 0.0
    date: str = ""
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of evidence. Loss, QiD and their errors are nats per token and raise InputError on a failed measurement."""

    asked: Asked
    seen: Seen
    made: Made = field(default_factory=Made)

    @property
    def key(self) -> str:
        """The content key of what was asked."""
        return self.asked.key

    def _sum(self, name: str) -> float:
        value = getattr(self.seen, name)
        if self.seen.state != "ok" or value is None:
            raise InputError(
                f"Measurement {self.key} has no {name} (state {self.seen.state!r}, reason {self.seen.reason!r}). "
                "Filter on state == 'ok' first."
            )
        return float(value)

    @property
    def loss(self) -> float:
        """Cross-entropy of the variant, nats per scored token."""
        return self._sum("nats") / self._sum("tokens_scored")

    @property
    def loss_se(self) -> float:
        """Standard error of `loss` over windows."""
        return _ratio_se(self, self.loss, "nats_squared", "nats_tokens")

    @property
    def baseline_loss(self) -> float:
        """Cross-entropy of the 16-bit model on the same tokens."""
        return self._sum("baseline_nats") / self._sum("tokens_scored")

    @property
    def qid(self) -> float:
        """Quantization-induced degradation: loss minus baseline loss (arXiv 2411.17691, Delta_q Loss)."""
        return (self._sum("nats") - self._sum("baseline_nats")) / self._sum("tokens_scored")

    @property
    def qid_se(self) -> float:
        """Paired standard error of `qid` over windows."""
        return _ratio_se(self, self.qid, "difference_squared", "difference_tokens")

    @property
    def kl(self) -> float:
        """KL divergence from the 16-bit model to the variant, nats per token."""
        return self._sum("kl_nats") / self._sum("tokens_scored")

    @property
    def agreement(self) -> float:
        """Share of tokens where both models rank the same token first."""
        return self._sum("agreements") / self._sum("tokens_scored")

    @property
    def bits_per_byte(self) -> float:
        """Cross-entropy in bits per byte of scored text, comparable between tokenizers."""
        return self._sum("nats") / math.log(2.0) / self._sum("bytes_scored")


def _ratio_se(m: Measurement, ratio: float, squared: str, crossed: str) -> float:
    """Standard error of sum(x)/sum(t) over windows from sum x^2, sum x t and sum t^2; NaN with fewer than two windows."""
    windows = m._sum("windows")
    if windows < 2:
        return math.nan
    residual = m._sum(squared) - 2.0 * ratio * m._sum(crossed) + ratio**2 * m._sum("tokens_squared")
    return math.sqrt(max(residual, 0.0) * windows / (windows - 1.0)) / m._sum("tokens_scored")


# One row: the fields of every part, those of texts prefixed by their role. Order is the order of the columns.
_PARTS: tuple[tuple[str, type, str], ...] = (
    ("checkpoint", Checkpoint, ""),
    ("variant", Variant, ""),
    ("calibration", TextSet, "calibration_"),
    ("evaluation", TextSet, "evaluation_"),
    ("seen", Seen, ""),
    ("made", Made, ""),
)


def _columns() -> tuple[dict[str, type], frozenset[str]]:
    columns: dict[str, type] = {"key": str}
    nullable: set[str] = set()
    for _, part, prefix in _PARTS:
        hints = typing.get_type_hints(part)
        for f in fields(part):
            hint = hints[f.name]
            if isinstance(hint, types.UnionType):
                hint = next(a for a in typing.get_args(hint) if a is not type(None))
                nullable.add(prefix + f.name)
            columns[prefix + f.name] = hint if hint in (str, int, float) else str
    return columns, frozenset(nullable)


_COLUMNS, NULLABLE = _columns()
COLUMNS: Mapping[str, type] = _COLUMNS
"""Name and type (str, int or float) of every stored column, in order; those in NULLABLE may hold None."""

LATER_COLUMNS: Mapping[str, Scalar] = {
    "activations": "none",
    "kv_cache": "none",
    "activation_kernel": None,
    "weight_kernel": None,
    "weight_norm": None,
    "gradient_along": None,
    "curvature_along": None,
    "least_expert_tokens": None,
    "notes": "",
}
"""Columns newer than the first files, and what rows written before them mean."""


def flatten(m: Measurement) -> dict[str, Scalar]:
    """Return the measurement as one row, column name -> scalar; `options` becomes sorted JSON."""
    parts = {
        "checkpoint": m.asked.checkpoint,
        "variant": m.asked.variant,
        "calibration": m.asked.calibration,
        "evaluation": m.asked.evaluation,
        "seen": m.seen,
        "made": m.made,
    }
    row: dict[str, Scalar] = {"key": m.key}
    for name, part, prefix in _PARTS:
        for f in fields(part):
            value = getattr(parts[name], f.name)
            row[prefix + f.name] = json.dumps(dict(value), sort_keys=True) if f.name == "options" else value
    return row


def unflatten(row: Mapping[str, Any]) -> Measurement:
    """Return the measurement of a row made by `flatten` (a key that does not match its content raises InputError)."""
    built: dict[str, Any] = {}
    for name, part, prefix in _PARTS:
        values = {f.name: row[prefix + f.name] for f in fields(part)}
        if name == "variant":
            values["options"] = json.loads(values["options"])
        built[name] = part(**values)
    asked = Asked(
        checkpoint=built["checkpoint"],
        variant=built["variant"],
        calibration=built["calibration"],
        evaluation=built["evaluation"],
    )
    m = Measurement(asked=asked, seen=built["seen"], made=built["made"])
    if row["key"] != m.key:
        raise InputError(
            f"Row with key {row['key']!r} was changed: its content hashes to {m.key!r}. "
            "Import rows as bitlaw exported them, without editing what was asked."
        )
    return m
