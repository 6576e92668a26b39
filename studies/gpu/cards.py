"""Data cards of the GPU studies, written from their shipped records: python studies/gpu/cards.py [--into REPOSITORY].

For every study below whose Parquet file is shipped: `src/bitlaw/datasets/NAME.py`, its line in `loading.py`, its row and section in
`docs/datasets.md`. Counts, sizes, tokens, variants, texts, devices and versions are read off the records, passes over the text and what
of the plan is missing off the study's files; what a study is and what else is wrong with it stands here.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from unpack import place_of  # noqa: E402
from work import planned_units, read_study  # noqa: E402

from bitlaw.records import Measurement  # noqa: E402
from bitlaw.store import read_parquet  # noqa: E402

WIDTH = 124
MANY = 60  # variants beyond which a card counts them by method
NAMED = 10  # models with missing checkpoints beyond which they are counted


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a study's records cannot tell of themselves. `{sizes}` and `{tokens}` in `what` are filled in from them."""

    summary: str
    what: str
    training: str
    defects: tuple[str, ...]
    plan: str = ""
    found: str = "[findings.md](findings.md)"


GPU_TRAINING = (
    "`studies/{plan}/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast, torch.compile, AdamW, batches of 128 "
    "windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the weights are in `studies/{plan}`. Weights are not shipped."
)
CPU_TRAINING = (
    GPU_TRAINING
    + " `lr-state-cpu`: `studies/lr-state/lr-state-cpu.toml` on two cores: float32, batches of 16 windows of 128 tokens, a vocabulary of "
    "1024 of its own, the first 2000 documents of train-000; losses do not compare with those of `lr-state`."
)
STUDIES = {
    "mini-pythia-2": Told(
        summary="beside mini-pythia: a second training seed, longer runs and larger sizes",
        what="GPT-NeoX models ({sizes}) to go with mini-pythia's: `-s1` are of its sizes with training seed 1 (initial weights and order of the text) "
        "instead of 0, `-1b` of its sizes with one cosine over 1024M tokens, the others are larger",
        training=GPU_TRAINING,
        plan="mini-pythia-2",
        defects=(
            "The second training seed ran on another kind of GPU than mini-pythia's first: the two are not separated.",
            "One cosine a model that ends with its tokens, as in mini-pythia: tokens and decay rise together.",
        ),
    ),
    "lr-state": Told(
        summary="models that differ in the learning-rate schedule alone (constant, cosine, warmup-stable-decay), and weight averages",
        what="GPT-NeoX models of {sizes} parameters, to {tokens} tokens, under learning-rate schedules that differ: `constant`, `cosine`, `wsd25` and "
        "`wsd50` (straight decay over the last 25 % and 50 % of the tokens), where there, `-48` (the same over 48M tokens), `low-` (0.4 of the "
        "peak rate) and averages of weights of the constant run (`+mean5`)",
        training=CPU_TRAINING,
        plan="lr-state",
        defects=(
            "One training seed. Runs of one size and peak rate see the same batches in the same order, so before a decay begins `wsd` "
            "and `constant` runs differ by the GPU's rounding only.",
        ),
    ),
    "native": Told(
        summary="BitNet b1.58 and 16-bit twins along training",
        what="GPT-NeoX models of {sizes} parameters, to {tokens} tokens, trained in 16 bits and with ternary weights (BitNet b1.58, `-b158`; "
        "`-fast`: at twice the peak rate), same seed and batches",
        training=GPU_TRAINING,
        plan="native",
        defects=(
            "One training seed; peak rates not tuned for either kind; BitNet's additional norms are left out.",
            "A ternary checkpoint holds the weights it computes with; GPTQ and nearest start from those.",
        ),
    ),
    "ablations": Told(
        summary="checkpoints of lr-state on other texts, other group sizes, rounded activations",
        what="the last checkpoints of lr-state's cosine runs ({sizes}) measured again: on WikiText-2's test text and on the public-domain "
        "sample, and on the validation text with other group sizes and with rounded activations",
        training=CPU_TRAINING,
        plan="lr-state",
        defects=(
            "Few models: intervals over models are wide.",
            "WikiText-2 here is tokenised text with `<unk>`; the public-domain sample is older English: losses differ, QiD is compared.",
            "The public-domain sample may share passages with the Gutenberg part of the training text (none is the same document).",
        ),
    ),
    "families": Told(
        summary="networks of six families: landscapes, and the second paper's formats by nearest and GPTQ",
        what="the second paper (arXiv 2410.12119) in small: the loss landscape of networks of six families ({sizes}), and its formats by rounding to "
        "nearest and by GPTQ. Suites are told apart by `suite`; losses on one text do not compare with those on another's",
        training="On GPUs by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast, torch.compile, AdamW, one cosine, batches of 128 windows "
        "of 512 tokens, seed 0; the tokenizer of mini-pythia. Training losses and SHA-256 of the weights are in `studies/families`. `families-cpu`: "
        "the shipped plan `families` (`bitlaw train families`), a vocabulary of 1024. {plans}Weights are not shipped.",
        defects=(
            "In `families` device time ended: opt-2.7m has the 16-bit model and three probes only, 850 rows of 5 checkpoints failed with `CUDA out of "
            "memory` and are left out, and gpt2-6.3m, neox-6.3m, neox-2.7m and mpt-17.7m are from the middle of their training.",
            "families-cpu is scored on 3 048 tokens: standard errors of changes at 4 and 6 bits are as large as the changes.",
            "families-cpu was measured under the suite name `families`; only the name (and so the content keys) was changed.",
            "`seconds` on GPUs are of cards that several processes shared.",
        ),
        found="[predictor.md](predictor.md), [frontier.md](frontier.md), [landscape.md](landscape.md)",
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


def in_millions(n: float) -> str:
    """Return `0.8M`."""
    return f"{n / 1e6:.1f}M"


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def model_table(rows: list[Measurement]) -> str:
    """Return a line for each model: size, checkpoints, tokens, schedule, rows; with the suite where there are several."""
    models: dict[tuple[str, int, str], list[Measurement]] = {}
    for m in rows:
        c = m.asked.checkpoint
        models.setdefault((c.suite, c.parameters, c.model), []).append(m)
    several = len({suite for suite, _, _ in models}) > 1
    head = (
        ["suite", "parameters N", "tokens D measured", "peak rate"]
        if several
        else ["parameters N", "checkpoints", "last D measured", "schedule, peak rate, seed"]
    )
    lines = [f"| model | {' | '.join(head)} | rows |", "|---" * (len(head) + 2) + "|"]
    for (suite, n, name), ms in sorted(models.items()):
        at = [m.asked.checkpoint for m in ms]
        tokens = sorted({c.tokens or 0 for c in at})
        if several:
            cells = [suite, spaced(n), ", ".join(map(in_millions, tokens)), f"{at[0].peak_learning_rate:g}"]
        else:
            how = f"{at[0].schedule}, {at[0].peak_learning_rate:g}, {at[0].training_seed}"
            cells = [spaced(n), str(len({c.step for c in at})), in_millions(tokens[-1]), how]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(ms)} |")
    return "\n".join(lines)


def variants_said(rows: list[Measurement]) -> str:
    """Return every variant with its rows, or, where there are many, how many of each method."""
    changed = [m for m in rows if not m.asked.variant.is_baseline]
    ways = Counter(map(way, changed))
    if len(ways) <= MANY:
        return ", ".join(f"`{w}` ({n})" for w, n in sorted(ways.items()))
    said = []
    for method in sorted({m.asked.variant.method for m in changed}):
        mine = [m for m in changed if m.asked.variant.method == method]
        formats = sorted({m.asked.variant.format for m in mine} - {"none"})
        options = {
            name for m in mine for name in ("seed", "snr_db", "offset_db", "along") if name in m.asked.variant.options
        }
        terms = sum(bool(m.asked.variant.options.get("taylor")) for m in mine)
        words = [f"{len(formats)} formats"] * bool(formats) + (
            [f"over {', '.join(sorted(options))}"] if options else []
        )
        words += [f"{terms} with Taylor terms"] * bool(terms)
        said.append(f"`{method}` ({len(mine)} rows; {'; '.join(words)})")
    elements = sorted(
        {m.asked.variant.format.rsplit("_k", 1)[0] for m in changed if m.asked.variant.format.startswith("mx")}
    )
    integers = len({m.asked.variant.format for m in changed if m.asked.variant.format.startswith("int")})
    return (
        f"{', '.join(said)}. Elements in blocks of 16 to 128: {', '.join(elements)}"
        + (f"; {integers} formats of integers with a float scale" if integers else "")
        + ". Probes (`perturb_*`) are no quantized models: laws, fits and reports leave them out"
    )


def measuring_said(rows: list[Measurement]) -> str:
    """Return evaluation and calibration texts, by suite where they differ."""
    said: dict[str, list[str]] = {}
    for suite in sorted({m.asked.checkpoint.suite for m in rows}):
        mine = [m for m in rows if m.asked.checkpoint.suite == suite]
        texts = sorted({(m.asked.evaluation.name, m.asked.evaluation.windows, m.seen.tokens_scored or 0) for m in mine})
        used = {m.asked.calibration for m in mine} - {
            m.asked.calibration for m in mine if m.asked.calibration.token_hash == "none"
        }
        shapes = sorted({(t.name, t.windows, t.window_tokens) for t in used})
        words = "; ".join(
            f"{name}, {windows} windows, {spaced(scored)} scored tokens" for name, windows, scored in texts
        )
        drawn = "; ".join(f"{windows} windows of {length} tokens of {name}" for name, windows, length in shapes)
        said.setdefault(
            f"Evaluation: {words}. Calibration: {drawn or 'none'}, {len(used)} {'sample' if len(used) == 1 else 'samples'}.",
            [],
        ).append(suite)
    if len(said) == 1:
        return next(iter(said))
    return " ".join(f"{listed([f'`{s}`' for s in suites])}: {words}" for words, suites in said.items())


def devices_said(rows: list[Measurement]) -> str:
    """Return devices, dates and versions."""
    devices = ", ".join(sorted({m.made.device for m in rows}))
    dates = listed(sorted({m.made.date[:10] for m in rows}))
    versions = sorted({(m.made.torch_version, m.made.transformers_version, m.made.bitlaw_version) for m in rows})
    return f"{devices}, {dates}; " + "; ".join(f"torch {a}, transformers {b}, bitlaw {c}" for a, b, c in versions)


def passes_said(suite: str, rows: Sequence[Measurement], studies: Path) -> str:
    """Return how often the text was read, from the suite's suite.json; nothing where it has none."""
    file = place_of(suite, studies) / "suite.json"
    if not file.is_file():
        return ""
    text = json.loads(file.read_text()).get("training_text", {})
    most = max((m.asked.checkpoint.tokens or 0 for m in rows), default=0)
    once = int(text.get("tokens", 0))
    if not once:
        return ""
    return f"Text: {once / 1e6:.1f}M tokens of {text['source']}; the longest run measured ({in_millions(most)}) reads {most / once:.1f} times as much."


def missing_said(name: str, suite: str, rows: Sequence[Measurement], studies: Path) -> str:
    """Return which checkpoints of the plan that trained a suite were not measured; nothing where all were or no plan of the study trained it.

    The plan is the one of the study's plans whose checkpoints the records agree with most.
    """
    measured = {(m.asked.checkpoint.model, m.asked.checkpoint.step) for m in rows}
    best: tuple[int, int, str, set[tuple[str, int]]] = (0, 0, "", set())
    for file in sorted((studies / name).glob("*.toml")):
        study = read_study(file)
        if study.train is not None and study.suite == suite:
            units = [unit.split(" ") for of_model in planned_units(study, study.train).values() for unit in of_model]
            planned = {(model, int(step)) for _, _, model, step in units}
            best = max(
                best, (len(planned & measured), -len(planned - measured), file.name, planned), key=lambda b: b[:2]
            )
    if not (lost := sorted(best[3] - measured)):
        return ""
    models = [f"{model} ({sum(m == model for m, _ in lost)})" for model in dict.fromkeys(m for m, _ in lost)]
    models = models if len(models) <= NAMED else [f"{len(models)} models"]
    return (
        f"`{suite}`: of {len(best[3])} checkpoints of `{best[2]}` {len(lost)} were not measured, of {listed(models)}."
    )


def plans_said(name: str, suites: Sequence[str], studies: Path) -> str:
    """Return which plan of the study trained which suite."""
    plans = {
        study.suite: file.name
        for file in sorted((studies / name).glob("*.toml"))
        if (study := read_study(file)).train is not None
    }
    there = [f"`{suite}` is of `studies/{name}/{plans[suite]}`" for suite in suites if suite in plans]
    return f"{listed(there)}. " if there else ""


def text_of(name: str, rows: list[Measurement], studies: Path) -> str:
    """Return the card's text."""
    told = STUDIES[name]
    base = sum(m.asked.variant.is_baseline for m in rows)
    failed = sum(m.seen.state != "ok" for m in rows)
    probes = any(m.asked.variant.is_probe for m in rows)
    sizes = sorted({m.asked.checkpoint.parameters for m in rows})
    span = [in_millions(sizes[0]), in_millions(sizes[-1])]
    words = {
        "sizes": " to ".join(span) if len(sizes) > 4 else listed(list(dict.fromkeys(map(in_millions, sizes)))),
        "tokens": f"{max(m.asked.checkpoint.tokens or 0 for m in rows) / 1e6:.0f}M",
    }
    suites = sorted({m.asked.checkpoint.suite for m in rows})
    sample = any("sample" in t for m in rows for t in (m.asked.evaluation.name, m.asked.calibration.name))
    parts = [
        f"**What it is.** {len(rows)} measurements ({len(rows) - base} of quantized {'or perturbed ' if probes else ''}models, {base} of the 16-bit "
        f"model; {f'{failed} failed' if failed else 'none failed'}): {told.what.format(**words)}.",
        model_table(rows),
        f"**Variants** (rows). {variants_said(rows)}. Linear layers of the blocks only: embeddings and head stay 16-bit.",
        f"**Training.** {told.training.format(plan=told.plan, plans=plans_said(name, suites, studies))}",
        f"**Measuring.** float32. {measuring_said(rows)}",
        f"**Device and versions.** {devices_said(rows)}.",
        f"**Text and licences.** The corpus of mini-pythia{' and the public-domain sample that comes with bitlaw' if sample else ''}. No text is in the "
        "records: they hold counts and sums, and are under this project's licence (Apache-2.0).",
    ]
    wrapped = [p if p.startswith("|") else fill(p) for p in parts]
    by_suite = {s: [m for m in rows if m.asked.checkpoint.suite == s] for s in suites}
    computed = [missing_said(name, s, mine, studies) for s, mine in by_suite.items()]
    computed += [passes_said(s, mine, studies) for s, mine in by_suite.items()]
    defects = "\n".join(fill(f"- {d}", "  ") for d in (*told.defects, *filter(None, computed)))
    return "\n\n".join(wrapped) + f"\n\n**Known defects.**\n{defects}\n"


def fill(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most WIDTH."""
    return textwrap.fill(text, width=WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def write(name: str, into: Path) -> int:
    """Write the card of a study and what refers to it -> its rows."""
    rows = read_parquet(into / "src" / "bitlaw" / "data" / f"{name}.parquet")
    text, told = text_of(name, rows, into / "studies"), STUDIES[name]
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
    content = f"{content.rstrip()}\n\n## {name}\n{text}\nWhat the study found: {told.found}.\n"
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
