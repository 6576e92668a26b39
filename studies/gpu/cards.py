"""Data cards of the GPU studies, written from their shipped records: python studies/gpu/cards.py [--into REPOSITORY].

For every study below whose Parquet file is shipped: `src/bitlaw/datasets/NAME.py`, its line in `loading.py`, its row and section in
`docs/datasets.md`. Counts, variants, texts, devices and versions are read off the records; what a study is and what is wrong with
it stands here.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bitlaw.records import Measurement
from bitlaw.store import read_parquet

WIDTH = 124


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a study's records cannot tell of themselves."""

    summary: str
    what: str
    plan: str
    defects: tuple[str, ...]


STUDIES = {
    "mini-pythia-2": Told(
        summary="two sizes with a second training seed and one of 37.8M, along training",
        what="GPT-NeoX models as in mini-pythia: two of its sizes trained with seed 1 (initial weights and order of the text) "
        "instead of 0, and a model of 37.8M parameters",
        plan="mini-pythia-2",
        defects=(
            "Device time ended before the training did: the last checkpoints of every model, and most passes after the first of "
            "the plan, are not there.",
            "The second training seed ran on another kind of GPU than mini-pythia's first: the two are not separated.",
            "One cosine a model that ends with its tokens, as in mini-pythia: tokens and decay rise together.",
        ),
    ),
    "lr-state": Told(
        summary="two sizes under constant, cosine and warmup-stable-decay rates, and weight averages",
        what="GPT-NeoX models of 0.8M and 2.7M parameters under learning-rate schedules that differ: `constant`, `cosine`, `wsd25` and "
        "`wsd50` (straight decay over the last 25 % and 50 % of the tokens), `low-constant` (0.4 of the peak rate), and averages of "
        "weights of the constant run (`+mean5`)",
        plan="lr-state",
        defects=(
            "One training seed. Runs of one size and peak rate see the same batches in the same order, so before a decay begins `wsd` "
            "and `constant` runs differ by the GPU's rounding only.",
            "To 40M tokens (15 to 50 a parameter): early, compared with what people train.",
            "Text: shard 0 alone, 23.8M tokens, so the last checkpoints are in a second pass over it.",
        ),
    ),
    "native": Told(
        summary="BitNet b1.58 and a 16-bit twin along training",
        what="GPT-NeoX models of 0.8M parameters trained in 16 bits and with ternary weights (BitNet b1.58, `-b158`; `-fast`: at "
        "twice the peak rate), same seed and batches",
        plan="native",
        defects=(
            "One training seed and one size; peak rates not tuned for either kind; BitNet's additional norms are left out.",
            "A ternary checkpoint holds the weights it computes with; GPTQ and nearest start from those.",
            "Text: shard 0 alone, 23.8M tokens, so the last checkpoints are in a second pass over it.",
        ),
    ),
    "ablations": Told(
        summary="checkpoints of lr-state on three texts, other group sizes, rounded activations",
        what="the last three checkpoints of lr-state's cosine runs measured again: on WikiText-2's test text and on the public-domain "
        "sample, and on the validation text with other group sizes and with rounded activations",
        plan="lr-state",
        defects=(
            "Two models: intervals over models are wide.",
            "WikiText-2 here is tokenised text with `<unk>`; the public-domain sample is older English: losses differ, QiD is compared.",
            "The public-domain sample may share passages with the Gutenberg part of the training text (none is the same document).",
        ),
    ),
}


def spaced(number: int) -> str:
    """Return a number with thin groups of three digits, as the cards write them."""
    return f"{number:,}".replace(",", " ")


def way(m: Measurement) -> str:
    """Return the variant with the options that differ from the method's plain ones."""
    v = m.asked.variant
    plain = {"upstream": "quantized", "scales": "dynamic", "order": "none", "within_block": "parallel"}
    return " ".join(
        [v.label, *(f"{k}={v.options[k]}" for k, usual in plain.items() if v.options.get(k, usual) != usual)]
    )


def model_table(rows: list[Measurement]) -> str:
    """Return a line for each model: size, checkpoints, tokens, schedule, rows."""
    models: dict[tuple[int, str], list[Measurement]] = {}
    for m in rows:
        models.setdefault((m.asked.checkpoint.parameters, m.asked.checkpoint.model), []).append(m)
    lines = [
        "| model | parameters N | checkpoints | last D measured | schedule, peak rate, seed | rows |",
        "|---|---|---|---|---|---|",
    ]
    for (n, name), ms in sorted(models.items()):
        at = [m.asked.checkpoint for m in ms]
        last = max(c.tokens or 0 for c in at)
        how = f"{at[0].schedule}, {at[0].peak_learning_rate:g}, {at[0].training_seed}"
        lines.append(f"| {name} | {spaced(n)} | {len({c.step for c in at})} | {last / 1e6:.1f}M | {how} | {len(ms)} |")
    return "\n".join(lines)


def text_of(name: str, rows: list[Measurement]) -> str:
    """Return the card's text."""
    told = STUDIES[name]
    base = sum(m.asked.variant.is_baseline for m in rows)
    failed = sum(m.seen.state != "ok" for m in rows)
    ways = Counter(way(m) for m in rows if not m.asked.variant.is_baseline)
    texts = sorted({(m.asked.evaluation.name, m.seen.tokens_scored) for m in rows if m.seen.state == "ok"})
    samples = len({m.asked.calibration.token_hash for m in rows} - {"none"})
    devices = ", ".join(sorted({m.made.device for m in rows}))
    dates = " and ".join(sorted({m.made.date[:10] for m in rows}))
    versions = sorted({(m.made.torch_version, m.made.transformers_version, m.made.bitlaw_version) for m in rows})
    parts = [
        f"**What it is.** {len(rows)} measurements ({len(rows) - base} of quantized models, {base} of the 16-bit model; "
        f"{f'{failed} failed' if failed else 'none failed'}): {told.what}.",
        model_table(rows),
        f"**Variants** (rows). {', '.join(f'`{w}` ({n})' for w, n in sorted(ways.items()))}. Linear layers of the blocks only: embeddings "
        "and head stay 16-bit.",
        f"**Training.** `studies/{told.plan}/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast, torch.compile, "
        "AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the weights are in "
        f"`studies/{told.plan}`. Weights are not shipped.",
        f"**Measuring.** float32. Evaluation: {'; '.join(f'{t}, {spaced(k)} scored tokens' for t, k in texts)}. Calibration: 128 windows of "
        f"512 tokens from the first 2000 documents of training shard 0, {samples} {'sample' if samples == 1 else 'samples'}.",
        f"**Device and versions.** {devices}, {dates}; "
        + "; ".join(f"torch {a}, transformers {b}, bitlaw {c}" for a, b, c in versions)
        + ".",
        "**Text and licences.** The corpus of mini-pythia. No text is in the records: they hold counts and sums, and are under this "
        "project's licence (Apache-2.0).",
    ]
    wrapped = [p if p.startswith("|") else fill(p) for p in parts]
    defects = "\n".join(fill(f"- {d}", "  ") for d in told.defects)
    return "\n\n".join(wrapped) + f"\n\n**Known defects.**\n{defects}\n"


def fill(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most WIDTH."""
    return textwrap.fill(text, width=WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def write(name: str, into: Path) -> int:
    """Write the card of a study and what refers to it -> its rows."""
    rows = read_parquet(into / "src" / "bitlaw" / "data" / f"{name}.parquet")
    text, told = text_of(name, rows), STUDIES[name]
    module, constant = name.replace("-", "_"), name.replace("-", "_").upper()
    (into / "src" / "bitlaw" / "datasets" / f"{module}.py").write_text(
        f'"""The card of `{name}`: {told.summary}."""\n\nfrom bitlaw.datasets.card import Card\n\nTEXT = """\\\n{text}"""\n\n'
        f'{constant} = Card(\n    name="{name}",\n    summary="{told.summary}",\n    licence="Apache-2.0",\n'
        f'    study="studies/{name}",\n    text=TEXT,\n)\n'
    )
    loading = into / "src" / "bitlaw" / "datasets" / "loading.py"
    content = loading.read_text()
    if constant + ".name" not in content:
        last = [line for line in content.splitlines() if line.startswith("from bitlaw.datasets.")][-1]
        content = content.replace(last, f"{last}\nfrom bitlaw.datasets.{module} import {constant}")
        content = content.replace(
            "MINI_PYTHIA.name: MINI_PYTHIA", f"MINI_PYTHIA.name: MINI_PYTHIA, {constant}.name: {constant}", 1
        )
        loading.write_text(content)
    page = into / "docs" / "datasets.md"
    content = page.read_text()
    row = f"| `{name}` | {len(rows)} | {told.summary} |"
    kept = [line for line in content.split("\n") if not line.startswith(f"| `{name}` |")]
    place = max(i for i, line in enumerate(kept) if line.startswith("| `") and i < kept.index("## Columns"))
    content = "\n".join([*kept[: place + 1], row, *kept[place + 1 :]])
    start = content.find(f"\n## {name}\n")
    if start >= 0:
        end = content.find("\n## ", start + 4)
        content = content[:start] + (content[end:] if end >= 0 else "")
    content = f"{content.rstrip()}\n\n## {name}\n{text}\nWhat the study found: [findings.md](findings.md).\n"
    page.write_text(content)
    return len(rows)


def main() -> int:
    """Write the cards of the studies that have records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path(__file__).resolve().parents[2], help="repository to write to")
    given = parser.parse_args()
    for name in STUDIES:
        if (given.into / "src" / "bitlaw" / "data" / f"{name}.parquet").is_file():
            print(f"{name}: {write(name, given.into)} rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
