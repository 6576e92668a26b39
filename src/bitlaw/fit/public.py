"""Tables of quantized models that ship with bitlaw (bitlaw/data), as `Table`s: what laws are validated on.

    table = public_table("opt-bloom").where(family="bloom", method="gptq", bits=4)

Degradation is ln(ppl quantized / ppl 16-bit), nats per token of each model's own tokenizer. Its standard error is what
rounding of the printed perplexities leaves, not sampling. `parameters` counts all parameters, embeddings included,
where the source counts so (every table of perplexities). `format_error` of tables of others is nominal, `layer_size`
is from the models' shapes. Sources: data/public/README.md, data/OUYANG2024.md, `bitlaw.datasets`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitlaw.errors import UnknownName
from bitlaw.fit.nominal import nominal_error
from bitlaw.fit.table import Table, add_format_errors
from bitlaw.laws import load_law

FOLDER = Path(__file__).parent.parent / "data"
ROUNDING = 1.0 / math.sqrt(12.0)  # standard deviation of a number rounded to whole units
PYTHIA_PEAKS = {85_056_000: 6e-4, 805_736_448: 3e-4, 11_327_027_200: 1.2e-4}  # of the Pythia suite's configurations
PYTHIA_STEPS, PYTHIA_WARMUP = 143_000, 1_430
Row = Mapping[str, str]
PYTHIA_LAYERS = {85_056_000: 12, 805_736_448: 16, 11_327_027_200: 36}
SHAPES: Mapping[str, tuple[int, int]] = {  # layers, width
    "opt-125M": (12, 768),
    "opt-350M": (24, 1024),
    "opt-1.3B": (24, 2048),
    "opt-2.7B": (32, 2560),
    "opt-6.7B": (32, 4096),
    "opt-13B": (40, 5120),
    "opt-30B": (48, 7168),
    "opt-66B": (64, 9216),
    "opt-175B": (96, 12288),
    "bloom-560M": (24, 1024),
    "bloom-1.1B": (24, 1536),
    "bloom-1.7B": (24, 2048),
    "bloom-3B": (30, 2560),
    "bloom-7.1B": (30, 4096),
    "bloom-176B": (70, 14336),
    "llama-7B": (32, 4096),
    "llama-13B": (40, 5120),
    "llama-30B": (60, 6656),
    "llama-65B": (80, 8192),
    "llama-2-7B": (32, 4096),
    "llama-2-13B": (40, 5120),
    "llama-2-70B": (80, 8192),
}


@dataclass(frozen=True, kw_only=True)
class Public:
    """One file: its path under bitlaw/data, what it holds, and how a line becomes a row (None: left out)."""

    file: str
    words: str
    read: Callable[[Row], dict[str, Any] | None]


def perplexities(row: Row) -> dict[str, Any] | None:
    """Return the row of a table of WikiText-2 perplexities."""
    if row["metric"] != "ppl" or not row["dataset"].startswith("wikitext2") or not row["value_quantized"]:
        return None
    before, after = float(row["value_fp16"]), float(row["value_quantized"])
    symmetric = row["format"].endswith("_sym")
    group = row["group_size"].split()[0] if row["group_size"] else "row"
    scheme = "_sym" if symmetric else ""
    width = SHAPES[row["model"]][1]
    return {
        "model": row["model"],
        "family": row["family"],
        "suite": row["family"],
        "method": row["method"].split("+")[0] + scheme,
        "format": row["format"],
        "source": row["source"],
        "parameters": float(row["n_params"]),
        "tokens": float(row["train_tokens"]),
        "bits": float(row["bits"]),
        "group_size": 0.0 if group == "row" else float(group),
        "bits_per_weight": float(row["bits_per_weight"] or "nan"),
        "layer_size": (12.0 / 7.0 if row["model"].startswith("llama") else 2.0) * width**2,
        "format_error": nominal_error(float(row["bits"]), 0.0 if group == "row" else float(group), symmetric=symmetric),
        "qid": math.log(after / before),
        "qid_se": math.hypot(_step(row["value_fp16"]) / before, _step(row["value_quantized"]) / after),
        "baseline_loss": math.log(before),
        "loss": math.log(after),
    }


def quest(row: Row) -> dict[str, Any]:
    """Return the row of a run of QuEST: training in few bits, validation loss in nats."""
    return {
        "model": f"quest-{row['model_size_m']}M",
        "family": "quest",
        "suite": "quest",
        "method": "none" if row["w_quant"] == "NoQuantizer" else row["w_quant"].removesuffix("Quantizer").lower(),
        "source": "IST-DASLab/QuEST",
        "parameters": float(row["n_params_non_embedding"]),
        "tokens": float(row["train_tokens"]),
        "weight_bits": float(row["w_bits"]),
        "activation_bits": float(row["a_bits"]),
        "cache_bits": 16.0,
        "loss": float(row["final_val_loss"]),
        "peak_learning_rate": float(row["lr"]),
    }


def gemstones(row: Row) -> dict[str, Any]:
    """Return the row of a training run of Gemstones: training loss in nats, no quantization."""
    return {
        "model": row["run_name"],
        "family": "gemstones",
        "suite": "gemstones",
        "source": "mcleish7/gemstone-scaling-laws",
        "parameters": float(row["params_active_precise"]),
        "tokens": float(row["tokens"]),
        "step": float(row["step"]),
        "baseline_loss": float(row["final_loss"]),
    }


def digitised(row: Row) -> dict[str, Any]:
    """Return a point read off Figure 2 of Ouyang et al. 2024, with Pythia's learning rate at its step.

    Pythia: linear warm-up over 1 430 of 143 000 steps, then cosine to a tenth of the peak (Biderman et al. 2023). The 16-bit
    loss was not digitised: it is the paper's own law of it.
    """
    parameters, step = float(row["n_params_nonembedding"]), float(row["step"])
    peak = PYTHIA_PEAKS[int(parameters)]
    progress = (step - PYTHIA_WARMUP) / (PYTHIA_STEPS - PYTHIA_WARMUP)
    tokens = float(row["tokens"])
    base = load_law("ouyang2024-loss")
    share = 0.1 + 0.45 * (1.0 + math.cos(math.pi * progress)) if progress > 0 else step / PYTHIA_WARMUP
    return {
        "model": f"pythia-{row['model']}",
        "family": "pythia",
        "suite": "pythia",
        "method": "gptq",
        "format": f"int{row['bits']}_g128_sym",
        "schedule": "cosine",
        "source": "Ouyang et al. 2024, Figure 2",
        "parameters": parameters,
        "tokens": tokens,
        "step": step,
        "layer_size": parameters / (4.0 * PYTHIA_LAYERS[int(parameters)]),
        "format_error": nominal_error(float(row["bits"]), 128.0, symmetric=True),
        "baseline_loss": float(base.evaluate(base.constants().values, {"parameters": parameters, "tokens": tokens})),
        "learning_rate": peak * share,
        "peak_learning_rate": peak,
        "bits": float(row["bits"]),
        "group_size": 128.0,
        "qid": float(row["qid_nats"]),
        "qid_se": float(row["read_error_nats"]),
    }


PUBLIC: Mapping[str, Public] = {
    "pythia-digitised": Public(
        file="ouyang2024_figure2_digitised.csv",
        words="Pythia 160M, 1B, 12B over training, GPTQ 2 and 3 bits: 105 points read off a figure",
        read=digitised,
    ),
    "opt-bloom": Public(
        file="public/opt-bloom.csv",
        words="OPT 125M to 175B and BLOOM 560M to 176B, RTN and GPTQ, 4 and 3 bits a row",
        read=perplexities,
    ),
    "groups-175b": Public(
        file="public/groups-175b.csv", words="OPT-175B and BLOOM-176B with groups", read=perplexities
    ),
    "llama1-gptq": Public(
        file="public/llama1-gptq.csv", words="LLaMA 7B to 65B, RTN and GPTQ, 4 and 3 bits", read=perplexities
    ),
    "llama-rtn": Public(
        file="public/llama-rtn.csv", words="LLaMA and LLaMA-2, RTN with 8, 6, 5 and 4 bits", read=perplexities
    ),
    "llama-omniquant": Public(
        file="public/llama-omniquant.csv",
        words="LLaMA and LLaMA-2, RTN, GPTQ, AWQ and OmniQuant, 2 to 4 bits, rows and groups",
        read=perplexities,
    ),
    "quest-qat": Public(
        file="public/quest-qat.csv",
        words="30M to 800M trained with 1 to 16 bits of weights and activations",
        read=quest,
    ),
    "gemstones-cool-begin": Public(
        file="public/gemstones-cool-begin.csv", words="training losses before cooldown", read=gemstones
    ),
    "gemstones-cool-end": Public(
        file="public/gemstones-cool-end.csv", words="training losses after cooldown", read=gemstones
    ),
}


OWN: Mapping[str, str] = {
    "mini-pythia": "this project: six sizes to 512M tokens, 34 ways of quantizing (bitlaw.datasets)",
    "tiny-suite": "this project: the demo's three sizes to 2.5M tokens, GPTQ and nearest, 2 to 4 bits",
}


def public_table(name: str) -> Table:
    """Return a shipped table. Raises UnknownName with the near matches."""
    if name == "mini-pythia":
        from bitlaw.datasets import load

        return Table.from_measurements(load(name), source=name)
    if name == "tiny-suite":
        return _tiny()
    if name not in PUBLIC:
        raise UnknownName("public table", name, (*PUBLIC, *OWN))
    public = PUBLIC[name]
    with (FOLDER / public.file).open(newline="", encoding="utf-8") as file:
        rows = [found for row in csv.DictReader(file) if (found := public.read(row)) is not None]
    table = Table.from_rows(rows, source=name)
    if "loss" in table and "baseline_loss" not in table and "weight_bits" in table:
        table = _with_baselines(table)
    return table


def _tiny() -> Table:
    from pyarrow.parquet import read_table

    rows = read_table(FOLDER / "own" / "tiny-suite.parquet").to_pylist()
    for row in rows:
        row |= {"suite": "tiny", "family": "gpt_neox", "checkpoint": f"tiny/{row['model']}@{row['step']}"}
    add_format_errors(rows)
    return Table.from_rows(rows, source="tiny-suite")


def _with_baselines(table: Table) -> Table:
    """Return the table with the 16-bit loss of the same model and tokens, and the degradation, where it was run."""
    plain = table["method"] == "none"
    base = dict(zip(table["model"][plain], table["loss"][plain]))
    baseline = np.array([base.get(model, np.nan) for model in table["model"]])
    return Table(
        columns={**table.columns, "baseline_loss": baseline, "qid": table["loss"] - baseline}, source=table.source
    )


def _step(printed: str) -> float:
    """Return the standard deviation that rounding leaves of a printed number."""
    decimals = len(printed.partition(".")[2])
    return ROUNDING * 10.0**-decimals
