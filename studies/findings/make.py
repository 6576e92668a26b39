"""docs/findings.md and its figures from the shipped records alone: python studies/findings/make.py [--into REPOSITORY].

A part whose dataset is not shipped says so. Verdicts follow from the intervals: `held` when the whole 90 % interval is on the
claim's side, `not held` when it is on the other, else `undecided`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import ablating  # noqa: E402
import decay  # noqa: E402
import seeding  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from pairing import Ratio, tokens  # noqa: E402

from bitlaw.datasets import load, names  # noqa: E402
from bitlaw.records import Measurement  # noqa: E402
from bitlaw.report.ouyang2024 import reproduce_ouyang2024  # noqa: E402
from bitlaw.report.ouyang2024.fits import THRESHOLD  # noqa: E402
from bitlaw.report.ouyang2024.rows import WIDTHS, main_rows, usable  # noqa: E402
from bitlaw.report.slopes import Slope, common_slope  # noqa: E402

LAWS = ("ouyang2024-unified", "kumar2024-ptq", "bitlaw-sensitivity")
TINY = 1e-9  # rounding, not evidence
ENOUGH = 3  # checkpoints behind a spread
LATE = 1e8  # tokens: the exponent beyond it is told apart


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, whose it is, how it stands here, and the number it stands on."""

    claim: str
    whose: str
    verdict: str
    evidence: str


@dataclass(kw_only=True)
class Part:
    """A section of the page: title, claims for the table at the top, text, figures by file name."""

    title: str
    claims: list[Claim] = field(default_factory=list)
    text: str = ""
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)


def verdict(low: float, high: float, border: float = 0.0) -> str:
    """Return `held` for an interval above the border, `not held` below it, `undecided` across it or without one."""
    return "held" if low > border + TINY else "not held" if high < border - TINY else "undecided"


def contrary(said: str) -> str:
    """Return the verdict on the opposite claim."""
    return {"held": "not held", "not held": "held"}.get(said, said)


def above(found: Slope) -> str:
    """Return the verdict on a slope being above 0."""
    return verdict(found.low, found.high)


def over(found: Ratio, border: float = 1.0) -> str:
    """Return the verdict on a ratio being above 1, or another border."""
    return verdict(found.low, found.high, border)


def first_paper(rows: Sequence[Measurement]) -> Part:
    """What mini-pythia says of the first paper's laws, in the words of `bitlaw reproduce`."""
    made = reproduce_ouyang2024(rows, source=[], suite="mini-pythia")
    said = {item.name: item.ours for item in made.items}
    part = Part(title="The first paper's laws (mini-pythia)")
    part.text = (
        "Six sizes, 0.2M to 17.7M, to 512M tokens; [mini-pythia.md](mini-pythia.md) has the figures, `bitlaw reproduce ouyang2024` all "
        "of the paper's.\n\n"
        + "\n".join(
            f"- {words}: {said[name]}"
            for name, words in (("F3", "tokens"), ("F4", "size"), ("F5", "bits"), ("F6", "unified law"))
        )
    )
    ours = "Ouyang et al. 2024"
    mine = [m for m in main_rows(usable(rows), "mini-pythia").rows if m.qid > THRESHOLD]
    whole = {bits: _growth(m for m in mine if m.asked.variant.bits == bits) for bits in WIDTHS}
    late = {bits: _growth(m for m in mine if m.asked.variant.bits == bits and tokens(m) >= LATE) for bits in WIDTHS}
    sizes = {row[0]: row[2:] for item in made.items if item.name == "F4" for row in item.grids[0].rows}
    first, last = ([_interval(cells[at]) for cells in sizes.values()] for at in (0, -1))
    grid = next(item.grids[0].heads for item in made.items if item.name == "F4")
    gamma = _interval(next(item.grids[0].rows[0][2] for item in made.items if item.name == "F5"))

    def of_bits(values: Iterable[str]) -> str:
        return ", ".join(f"{bits:g} bits {words}" for bits, words in zip(WIDTHS, values))

    part.claims = [
        Claim(
            claim="QiD grows with training tokens",
            whose=ours,
            verdict=verdict(min(s.low for s in whole.values()), min(s.high for s in whole.values())),
            evidence=f"beta {of_bits(s.words for s in whole.values())} (mini-pythia.md, figure 1)",
        ),
        Claim(
            claim="it is one power of tokens",
            whose=ours,
            verdict="not held" if any(late[b].high < whole[b].low for b in WIDTHS) else "undecided",
            evidence=f"beyond 100M tokens beta is {of_bits(s.words for s in late.values())}; over all of training it is in the line above",
        ),
        Claim(
            claim="larger models lose less",
            whose=ours,
            verdict=verdict(min(low for low, _ in last), min(high for _, high in last))
            + (", not at few tokens" if any(high < 0 for _, high in first) else ""),
            evidence=f"{grid[-1]} tokens {of_bits(cells[-1] for cells in sizes.values())}; {grid[2]} {of_bits(cells[0] for cells in sizes.values())} (mini-pythia.md, figure 2)",
        ),
        Claim(
            claim="bits act as P^-5.48",
            whose=ours,
            verdict="held" if gamma[0] <= 5.48 <= gamma[1] else "not held: lower" if gamma[1] < 5.48 else "not held: higher",
            evidence=f"{said['F5']} With other widths and grids 4.9 to 5.9 (mini-pythia.md)",
        ),
    ]  # fmt: skip
    return part


def _growth(rows: Iterable[Measurement]) -> Slope:
    listed = list(rows)
    names_ = [m.asked.checkpoint.model for m in listed]
    return common_slope([tokens(m) for m in listed], [m.qid for m in listed], names_, names_)


def _interval(words: str) -> tuple[float, float]:
    """Return the ends of `0.25 [0.17, 0.32]`."""
    found = re.search(r"\[(-?[\d.]+), (-?[\d.]+)\]", words)
    return (float(found[1]), float(found[2])) if found else (float("nan"), float("nan"))


def of_decay(rows: Sequence[Measurement]) -> Part:
    """The study lr-state."""
    n = decay.found(rows)
    part = Part(title="Tokens or decay? (lr-state)")
    grid = sorted({tokens(m) for m in rows})
    span, end = f"{grid[0] / 1e6:.0f}M to {grid[-1] / 1e6:.0f}M", f"{grid[-1] / 1e6:.0f}M"
    sizes = ", ".join(dict.fromkeys(decay.size(m) for m in sorted(rows, key=lambda m: m.asked.checkpoint.parameters)))
    short = (
        "- Shorter runs that have decayed by 48M tokens (`cosine-48`, `wsd25-48`) have "
        f"{n.early_decay.words()} of the QiD of the constant rate there (interpolated).\n"
        if n.early_decay.pairs
        else ""
    )
    three = n.growth["gptq int3_g128"]
    words = {a: r.words() for a, r in n.ends.items()}
    betas = ", ".join(f"{name.removeprefix('gptq int')[0]} bits {s.words}" for name, s in n.growth.items())
    part.claims = [
        Claim(
            claim="QiD grows with tokens while the rate is constant",
            whose="implied by Ouyang et al. 2024; denied by arXiv 2510.06213",
            verdict=above(three),
            evidence=f"constant rate, {span} tokens, beta: {betas} (figure 1)",
        ),
        Claim(
            claim="decay of the learning rate raises QiD at equal tokens",
            whose="arXiv 2510.06213",
            verdict=over(n.ends["wsd25"]),
            evidence=f"QiD at {end} tokens over that of the constant rate: {', '.join(f'{a} {w}' for a, w in words.items())}; control, before the decay begins: {n.control.words()} (figure 1)",
        ),
        Claim(
            claim="a lower peak rate raises QiD at equal tokens",
            whose="arXiv 2510.06213 (keep rates high)",
            verdict=over(n.low_peak),
            evidence=f"constant rate 2.5 times lower: {n.low_peak.words()} of the QiD at the same tokens",
        ),
        Claim(
            claim="averaging weights does for quantization what high rates do: less QiD",
            whose="arXiv 2510.06213",
            verdict=contrary(over(n.averaged)),
            evidence=f"mean of five checkpoints over the last fifth, QiD {n.averaged.words()} of the plain one's, loss {n.averaged_loss:+.3f} nats",
        ),
    ]  # fmt: skip
    losses = ", ".join(f"{a} {gap:+.3f}" for a, gap in n.loss.items())
    part.text = f"""\
Sizes {sizes}, the same seed and batches, schedules that differ. Ratios are of QiD at equal tokens (GPTQ at 2, 3 and 4 bits,
group 128), intervals over size and peak rate. Before its decay begins a `wsd` run is the constant one but for the GPU's rounding: the control above
says how far two such runs are apart.

- Loss at {end} tokens, less that of the constant rate: {losses} nats. So decay buys loss, and what it costs after quantization is in the table.
{short}- In one regression over all runs, ln QiD = a(size, width) + beta ln D + lam ln(peak rate / rate) + mu ln(peak rate), {n.rows} rows: beta
  {_estimate(n.beta)}, lam {_estimate(n.lam)}. beta is growth at a held rate; lam is what decay adds (a cosine to a tenth: a factor of
  {10 ** n.lam[0]:.2f}).

![QiD by schedule](figures/findings-decay.png)

**Figure 1.** GPTQ at 3 bits, group 128, higher peak rate. Below: over that of the constant rate at equal tokens."""
    part.figures["findings-decay.png"] = (decay.draw(rows), "")
    return part


def _estimate(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def of_seeds(first: Sequence[Measurement], second: Sequence[Measurement]) -> Part:
    """The study mini-pythia-2."""
    n = seeding.found(first, second)
    held = seeding.held_out(first, second, LAWS)
    part = Part(title="A second seed, other samples, a larger model (mini-pythia-2)")
    part.claims = [
        Claim(
            claim="one training seed is enough to compare sizes",
            whose="assumed by both papers",
            verdict="see the spread",
            evidence="; ".join(
                f"{bits} bits: seed 1 over seed 0 {r.words()}, spread of ln {r.spread:.2f} over {r.pairs} pairs"
                for bits, r in n.training.items()
            ),
        )
    ]
    if held:
        best = min(held, key=lambda h: h.error)
        part.claims.append(
            Claim(
                claim="a law fitted to small sizes predicts a larger one",
                whose="Ouyang et al. 2024",
                verdict="held" if best.error < 0.5 else "not held",
                evidence="37.8M from 0.2M to 17.7M: " + "; ".join(f"{h.law} misses by {100 * h.error:.0f} % (times {h.bias:.2f})" for h in held),
            )
        )  # fmt: skip
    repeated = {b: s for b, s in n.calibration.items() if n.samples[b] >= ENOUGH}
    samples = ", ".join(f"{b} bits {100 * s:.0f} % ({n.samples[b]} checkpoints)" for b, s in repeated.items())
    samples = (
        samples
        or "too few checkpoints were measured with several samples; mini-pythia.md has the numbers of three sizes"
    )
    reached = max((tokens(m) for m in second if m.asked.checkpoint.model == seeding.LARGEST), default=0)
    part.text = f"""\
Sizes 0.8M and 3.2M trained once more with seed 1 (initial weights and order of the text), everything else as in mini-pythia but for the GPU (H100
instead of H200), and a model of 37.8M parameters, measured up to {reached / 1e6:.0f}M tokens. Losses of the two seeds differ by {n.loss:.3f} nats on average.

- *Training seed*: QiD of the second seed over the first at equal tokens and variant, above .002 nats:
  {"; ".join(f"{bits} bits {r.words()}, a spread of {100 * r.spread:.0f} %" for bits, r in n.training.items() if r.pairs)}. Nothing
  here separates it from the difference of the two GPUs, which CPU and GPU agreeing elsewhere ([mini-pythia.md](mini-pythia.md)) says is small.
- *Calibration sample*: standard deviation of ln QiD over samples: {samples}.

![Two seeds](figures/findings-seeds.png)

**Figure 2.** Plain GPTQ, group 128: seed 0 (dashed), seed 1, and the larger model."""
    part.figures["findings-seeds.png"] = (seeding.draw(first, second), "")
    return part


def of_native(rows: Sequence[Measurement]) -> Part:
    """The study native."""
    found = ablating.native(rows)
    part = Part(title="Native low bit (native)")
    if not found:
        part.text = "No low-bit model of these records has a 16-bit twin."
        return part
    ends = "; ".join(f"{t.name} {t.gaps[-1]:+.3f} at {t.tokens[-1] / 1e6:.0f}M" for t in found)
    behind = all(t.gaps[-1] > 0 for t in found)
    early = any(t.last_ahead for t in found)
    part.claims = [
        Claim(
            claim="low bit from the start is level or better early, behind late",
            whose="Ouyang et al. 2024, Figure 14",
            verdict="held" if behind and early else "late part held" if behind else "not held",
            evidence=f"loss minus that of the 16-bit twin: {ends}; last ahead at "
            + ", ".join(f"{t.last_ahead / 1e6:.1f}M" if t.last_ahead else "never" for t in found)
            + " tokens (figure 3)",
        )
    ]
    lines = [
        "| run | twin | " + " | ".join(f"{D / 1e6:.0f}M" for D in found[0].tokens) + " |",
        "|---|---|" + "---|" * len(found[0].tokens),
    ]
    for t in found:
        by = dict(zip(t.tokens, t.gaps))
        cells = [
            f"{by[D]:+.3f}" if D in by else f"{g:+.3f} ({T / 1e6:.0f}M)"
            for D, (T, g) in zip(found[0].tokens, zip(t.tokens, t.gaps))
        ]
        lines.append(f"| {t.name} | {t.twin} | " + " | ".join(cells) + " |")
    part.text = f"""\
BitNet b1.58 (ternary weights, one scale a matrix) and 16-bit twins with the same seed, batches and schedule; `-fast` at twice the peak rate. Loss
on the evaluation text minus that of the twin, nats per token:

{chr(10).join(lines)}

![Native low bit](figures/findings-native.png)

**Figure 3.** Gaps to the 16-bit twin. One seed; the twin's peak rate was not tuned for either."""
    part.figures["findings-native.png"] = (ablating.draw_native(rows), "")
    return part


def of_ablations(rows: Sequence[Measurement], base: Sequence[Measurement]) -> Part:
    """The study ablations, with the rows of lr-state it is compared with."""
    both = [*rows, *base]
    texts = ablating.texts(both)
    groups = [(one, other, ablating.against(both, one, other)) for one, other in ablating.GROUPS]
    acts = [(one, other, ablating.against(both, one, other)) for one, other in ablating.ACTIVATIONS]
    part = Part(title="Text, groups, activations (ablations)")
    part.claims = [
        Claim(
            claim="the trends do not depend on the evaluation text",
            whose="Ouyang et al. 2024, Figure 8",
            verdict="held" if all(_agree(texts, v) for v in ablating.GPTQ) else "undecided",
            evidence="beta at 3 bits: " + "; ".join(f"{t.name} {t.beta['gptq int3_g128'].words}" for t in texts),
        ),
        Claim(
            claim="rounding activations to 8 bits costs little beside 4-bit weights",
            whose="common practice (W4A8)",
            verdict="see the ratio",
            evidence=f"W4A8 over W4: nearest {acts[0][2].words()}, gptq {acts[1][2].words()}; W4A4 over W4: nearest {acts[2][2].words(1)}",
        ),
    ]  # fmt: skip
    text_lines = "\n".join(
        f"| {t.name} | {t.ratio.words()} | " + " | ".join(t.beta[v].words for v in ablating.GPTQ) + " |" for t in texts
    )
    group_lines = "\n".join(f"| {one} | {other} | {r.words()} | {r.pairs} |" for one, other, r in groups if r.pairs)
    act_lines = "\n".join(f"| {one} | {other} | {r.words()} | {r.pairs} |" for one, other, r in acts if r.pairs)
    part.text = f"""\
The same checkpoints scored on three texts; QiD over that on the corpus's validation text, and exponents of tokens within models:

| text | QiD, ratio | beta, 2 bits | 3 bits | 4 bits |
|---|---|---|---|---|
{text_lines}

Groups and activations, the corpus's validation text: QiD of one way over another at the same checkpoint, both above .001 nats, intervals over models (two or
three: wide). `A:int8_token` rounds the inputs of linear layers to 8 bits, one scale a token.

| one | over | ratio | pairs |
|---|---|---|---|
{group_lines}
{act_lines}

![Activations](figures/findings-activations.png)

**Figure 4.** Weights alone (dashed) and with activations."""
    part.figures["findings-activations.png"] = (ablating.draw(both), "")
    return part


def _agree(texts: Sequence[ablating.Text], variant: str) -> bool:
    slopes = [t.beta[variant] for t in texts]
    return all(a.low <= b.high and b.low <= a.high for a in slopes for b in slopes)


def parts() -> tuple[list[Part], list[str]]:
    """Return the parts that the shipped datasets allow, and the names of datasets that are not there."""
    wanted = ("mini-pythia", "lr-state", "mini-pythia-2", "native", "ablations")
    there = {name: load(name) for name in wanted if name in names()}
    made = [first_paper(there["mini-pythia"])]
    if "lr-state" in there:
        made.append(of_decay(there["lr-state"]))
    if "mini-pythia-2" in there:
        made.append(of_seeds(there["mini-pythia"], there["mini-pythia-2"]))
    if "native" in there:
        made.append(of_native(there["native"]))
    if "ablations" in there:
        made.append(of_ablations(there["ablations"], there.get("lr-state", [])))
    return made, [name for name in wanted if name not in there]


HEAD = """\
# Findings

What this project's own measurements say of the claims of both papers and of their critics. Everything here is made from the shipped records
([datasets.md](datasets.md)) by `studies/findings/make.py`; intervals are 90 %. Models have at most tens of millions of parameters: three decades
below what people deploy. Agreement is an observation about this range, disagreement too.

| claim | whose | here | evidence |
|---|---|---|---|
{claims}
{absent}
"""
CONFOUNDED = """\
## What is confounded

- In mini-pythia and mini-pythia-2 one cosine ends with the data: tokens and decay rise together. `lr-state` takes them apart, for its sizes and
  tokens only.
- Size and peak rate go together in every study (the larger, the lower), except the two peak rates of lr-state.
- Training text is repeated (117M distinct tokens); vocabulary is 4096 tokens; one text mixture.
- The second training seed ran on another GPU than the first.
- Calibration text is part of the training text, as in practice.
"""


def page(made: Sequence[Part], absent: Sequence[str]) -> str:
    """Return the page's Markdown."""
    claims = "\n".join(f"| {c.claim} | {c.whose} | {c.verdict} | {c.evidence} |" for part in made for c in part.claims)
    said = f"\nNot measured yet: {', '.join(absent)} ([studies.md](studies.md) has the plans).\n" if absent else ""
    sections = "\n\n".join(f"## {part.title}\n\n{part.text}" for part in made)
    return HEAD.format(claims=claims, absent=said) + "\n" + sections + "\n\n" + CONFOUNDED


def main() -> int:
    """Write page and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=HERE.parent.parent, help="repository to write to")
    given = parser.parse_args()
    made, absent = parts()
    figures = given.into / "docs" / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for part in made:
        for name, (figure, _) in part.figures.items():
            figure.savefig(figures / name, dpi=90, metadata={"Software": ""})
    (given.into / "docs" / "findings.md").write_text(page(made, absent))
    print(f"{sum(len(p.claims) for p in made)} claims; not measured: {', '.join(absent) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
