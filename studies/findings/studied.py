"""The sections of the page for the studies lr-state, mini-pythia-2, native and ablations: claims judged by rule, numbers from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ablating
import decay
import numpy as np
import seeding
from pairing import tokens
from saying import FAILS, HOLDS, OPEN, Claim, Part, above, all_of, contrary, over, verdict, within

from bitlaw.records import Measurement
from bitlaw.report.ouyang2024.training_twins import gaps, training_twins

LAWS = ("ouyang2024-unified", "kumar2024-ptq", "bitlaw-sensitivity")
GOOD = 0.5  # median relative error below which a law is said to predict a larger model
ENOUGH = 3  # checkpoints behind a spread
SURE = 1.645  # standard deviations of a 90 % interval
ALIKE = 0.1  # exponents that differ by no more than this are alike
LITTLE = 1.1  # times as much QiD that counts as little more


def _elsewhere(rows: Sequence[Measurement]) -> str:
    """Return what the study's other suites say of the same."""
    told = ""
    for suite in dict.fromkeys(m.asked.checkpoint.suite for m in rows):
        mine = decay.comparable([m for m in rows if m.asked.checkpoint.suite == suite])
        n, last = decay.found(mine), max(map(tokens, mine)) / 1e6
        sizes = ", ".join(sorted({decay.size(m) for m in mine}))
        ends = ", ".join(f"{a} {r.words()}" for a, r in n.ends.items())
        told += (
            f"- `{suite}` (sizes {sizes}, to {last:.3g}M tokens): at its last tokens over the constant rate {ends}; beta {_estimate(n.beta)}, "
            f"lam {_estimate(n.lam)}; averages {n.averaged.words()}.\n"
        )
    return told


def of_decay(rows: Sequence[Measurement]) -> Part:
    """The study lr-state: judged by the suite with the longest runs, the others told beside."""
    longest = max(rows, key=tokens).asked.checkpoint.suite
    others = [m for m in rows if m.asked.checkpoint.suite != longest]
    rows = decay.comparable([m for m in rows if m.asked.checkpoint.suite == longest])
    n, judge = decay.found(rows), decay.judged(rows)
    part = Part(title="Tokens or decay? (lr-state)")
    grid = sorted({tokens(m) for m in rows})
    span, end = f"{grid[0] / 1e6:.3g}M to {grid[-1] / 1e6:.3g}M", f"{grid[-1] / 1e6:.3g}M"
    shorter = sorted({decay.arm(m).removeprefix("low-") for m in rows if decay.arm(m).startswith(decay.SHORTER)})
    sizes = ", ".join(dict.fromkeys(decay.size(m) for m in sorted(rows, key=lambda m: m.asked.checkpoint.parameters)))
    short = (
        f"- Shorter runs ({', '.join(f'`{a}`' for a in shorter)}), once they have decayed, have "
        f"{n.early_decay.words()} of the QiD of the constant rate there (interpolated).\n"
        if n.early_decay.pairs
        else ""
    )
    words = {a: r.words() for a, r in n.ends.items()}
    betas = ", ".join(f"{name.removeprefix('gptq int')[0]} bits {s.words}" for name, s in n.growth.items())
    part.claims = [
        Claim(
            claim="QiD grows with tokens while the rate is constant",
            whose="implied by Ouyang et al. 2024; denied by arXiv 2510.06213",
            verdict=above(n.growth[judge]),
            evidence=f"constant rate, {span} tokens, beta: {betas} (figure 1); judged at {decay.bits_of(judge)} bits",
        ),
        Claim(
            claim="a decay at the end of a held rate (wsd) raises QiD at equal tokens",
            whose="arXiv 2510.06213",
            verdict=all_of(over(r) for a, r in n.ends.items() if a.startswith("wsd")),
            evidence=f"QiD at each run's last tokens over that of the constant rate: {', '.join(f'{a} {w}' for a, w in words.items() if a.startswith('wsd'))}; control, before the decay begins: {n.control.words()} (figure 1)",
        ),
        Claim(
            claim="a cosine, whose rate is lower all along, ends with more QiD than a held rate at equal tokens",
            whose="arXiv 2510.06213",
            verdict=over(n.ends["cosine"]),
            evidence=f"at its last tokens over the constant rate: {words['cosine']} (figure 1)",
        ),
        Claim(
            claim="tokens alone explain the growth, the learning-rate state adds nothing",
            whose="Ouyang et al. 2024 (tokens); arXiv 2510.06213 (decay)",
            verdict=contrary(verdict(n.lam[1], n.lam[2])),
            evidence=f"ln QiD on ln D and ln(peak rate / rate) over all runs: exponent of tokens {_estimate(n.beta)}, of decay {_estimate(n.lam)}. Twice the "
            f"tokens at a held rate: {_times(2.0, n.beta)} times the QiD; a decay to a tenth: {_times(10.0, n.lam)} times",
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
            evidence=f"mean of five checkpoints over the last fifth, QiD {n.averaged.words()} of the plain one's, loss {_gap(n.averaged_loss)}",
        ),
    ]  # fmt: skip
    losses = ", ".join(f"{a} {_gap(gap)}" for a, gap in n.loss.items())
    buys = (
        " Decay lowers the loss; what it does to QiD is in the table."
        if all(gap < 0 for gap in n.loss.values())
        else ""
    )
    part.text = f"""\
Sizes {sizes}, the same seed and batches, schedules that differ, to {end} tokens. Ratios are of QiD at equal tokens (GPTQ at 2, 3 and 4 bits,
group 128), intervals over size and peak rate. Before its decay begins a `wsd` run is the constant one but for rounding on a GPU: the control above
says how far two such runs are apart; of a single pair of checkpoints ln QiD then differs by {n.control.spread:.2f} (standard deviation).

- Loss at each run's last tokens, less that of the constant rate: {losses}.{buys}
{short}{_elsewhere(others)}- The regression has {n.rows} rows: ln QiD = a(size, width) + beta ln D + lam ln(peak rate / rate) + mu ln(peak rate); beta {_estimate(n.beta)} is
  growth at a held rate, lam {_estimate(n.lam)} what decay adds. Intervals are over runs.

![QiD by schedule](figures/findings-decay.png)

**Figure 1.** GPTQ at {decay.bits_of(judge)} bits, group 128, higher peak rate, above .001 nats. Below: over that of the constant rate at equal tokens."""
    part.figures["findings-decay.png"] = (decay.draw(rows), "")
    return part


def _gap(nats: float) -> str:
    return f"{nats:+.3f} nats" if np.isfinite(nats) else "not measured"


def _estimate(found: tuple[float, float, float]) -> str:
    if not np.isfinite(found[0]):
        return "unknown"
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def _times(factor: float, found: tuple[float, float, float]) -> str:
    if not np.isfinite(found[0]):
        return "an unknown number of"
    low, value, high = (factor ** found[i] for i in (1, 0, 2))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def of_seeds(
    first: Sequence[Measurement], second: Sequence[Measurement], alphas: Mapping[float, tuple[float, float]]
) -> Part:
    """The study mini-pythia-2; alphas: bits -> interval of the exponent of size."""
    n = seeding.found(first, second)
    held = seeding.held_out(first, second, LAWS)
    part = Part(title="A second seed, other samples, a larger model (mini-pythia-2)")
    spread = {b: r.spread for b, r in n.training.items() if np.isfinite(r.spread)}
    doubling = {b: tuple(a * np.log(2) for a in alphas[float(b)]) for b in spread if float(b) in alphas}
    resolved = [
        FAILS if high < spread[b] else HOLDS if low > SURE * spread[b] else OPEN for b, (low, high) in doubling.items()
    ]
    part.claims = [
        Claim(
            claim="one training seed is enough to tell a size from twice that size",
            whose="assumed by both papers",
            verdict=all_of(resolved),
            evidence="; ".join(
                f"{b} bits: standard deviation of ln QiD between seeds {spread[b]:.2f} ({n.training[b].pairs} pairs), doubling the size lowers ln QiD by {low:.2f} to {high:.2f}"
                for b, (low, high) in doubling.items()
            ),
        ),
        Claim(
            claim="the calibration sample matters less than the training seed",
            whose="asked here",
            verdict=all_of(
                HOLDS if c.high < spread[b] / 2**0.5 else FAILS if c.low > spread[b] / 2**0.5 else OPEN
                for b, c in n.calibration.items()
                if b in spread and c.checkpoints >= ENOUGH
            ),
            evidence="standard deviation of ln QiD over samples: " + "; ".join(
                f"{b} bits {c.value:.3f} ({c.low:.3f} to {c.high:.3f}; {c.checkpoints} checkpoints), over seeds {spread.get(b, np.nan) / 2**0.5:.2f}"
                for b, c in n.calibration.items()
                if c.checkpoints
            ),
        ),
    ]  # fmt: skip
    if n.horizon.pairs:
        part.claims.append(
            Claim(
                claim="at equal tokens a run whose cosine is longer loses less: its rate is higher",
                whose="arXiv 2510.06213",
                verdict=contrary(over(n.horizon)),
                evidence=f"QiD of the longer runs over mini-pythia's at equal tokens, where their rate has fallen by a fifth or more: {n.horizon.words()}, {n.horizon.pairs} rows",
            )
        )  # fmt: skip
    if held:
        paper = [h for h in held if h.law == LAWS[0]]
        part.claims.append(
            Claim(
                claim=f"the unified law fitted to small sizes predicts a larger one (median error below {100 * GOOD:.0f} %)",
                whose="Ouyang et al. 2024",
                verdict=all_of(HOLDS if h.error < GOOD else FAILS for h in paper),
                evidence="; ".join(
                    f"{one.model} from mini-pythia, {one.rows} rows: "
                    + ", ".join(f"{h.law} misses by {100 * h.error:.0f} % (times {h.bias:.2f})" for h in held if h.model == one.model)
                    for one in paper
                ),
            )
        )  # fmt: skip
    big = seeding.larger(first, second)
    reached = {name: max(tokens(m) for m in second if m.asked.checkpoint.model == name) for name in big}
    ends = ", ".join(f"{name} up to {D / 1e6:.0f}M tokens" for name, D in reached.items())
    part.text = f"""\
Two sizes trained once more with seed 1 (initial weights and order of the text), everything else as in mini-pythia but for the GPU (H100 instead of
H200); `-1b`, where there: sizes of mini-pythia with one cosine over 1024M tokens; and larger models: {ends or "none measured"}. Losses of the two seeds
differ by {n.loss:.3f} nats on average.

- *Training seed*: QiD of the second seed over the first at equal tokens and variant, above .002 nats:
  {"; ".join(f"{bits} bits {r.words()}, a spread of {100 * r.spread:.0f} %" for bits, r in n.training.items() if r.pairs)}. Nothing
  here separates it from the difference of the two GPUs, which CPU and GPU agreeing elsewhere ([mini-pythia.md](mini-pythia.md)) says is small.
- *Calibration sample*: plain GPTQ of mini-pythia and mini-pythia-2 at checkpoints measured with several samples.

![Two seeds](figures/findings-seeds.png)

**Figure 2.** Plain GPTQ, group 128: seed 0 of mini-pythia (dashed), and the models of mini-pythia-2."""
    part.figures["findings-seeds.png"] = (seeding.draw(first, second), "")
    return part


def of_native(rows: Sequence[Measurement], seed_spread: float) -> Part:
    """The study native; seed_spread: standard deviation of the loss of two runs that differ in the seed alone, nats."""
    found = ablating.native(rows)
    part = Part(title="Native low bit (native)")
    if not found:
        part.text = "No low-bit model of these records has a 16-bit twin at the same tokens."
        return part
    half = SURE * seed_spread
    sizes = {t.size: [o for o in found if o.size == t.size] for t in found}
    early = [min(t.gaps[0] for t in runs) for runs in sizes.values()]
    ends = {size: (min(t.gaps[-1] for t in runs), max(t.tokens[-1] for t in runs)) for size, runs in sizes.items()}
    longer = []
    for n, curves in training_twins().items():  # a size is judged by its longest runs
        here = [(name, last, float(curves[name][0][-1])) for name, _, _, last, _ in gaps(curves)]
        longer += here
        until = max(D for _, _, D in here)
        if until > ends.get(n, (0.0, 0.0))[1]:
            ends[n] = (min(last for _, last, _ in here), until)
    late = [gap for gap, _ in ends.values()]
    noise = f"± {half:.3f} by what another seed changes" if np.isfinite(half) else "no second seed to judge by"
    part.claims = [
        Claim(
            claim="trained in low bit from the start is level or better early",
            whose="Ouyang et al. 2024, Figure 14",
            verdict=all_of(HOLDS if gap < half else FAILS if gap > half else OPEN for gap in early),
            evidence=f"loss minus that of the 16-bit twin at the first checkpoint ({noise}), better run of each size: " + ", ".join(f"{gap:+.3f}" for gap in early),
        ),
        Claim(
            claim="and behind late",
            whose="Ouyang et al. 2024, Figure 14",
            verdict=all_of(verdict(gap - half, gap + half) for gap in late),
            evidence="at the last checkpoint: " + "; ".join(f"{t.name} {t.gaps[-1]:+.3f} at {t.tokens[-1] / 1e6:.0f}M" for t in found)
            + "; training loss of longer runs: " + "; ".join(f"{name} {last:+.3f} at {D / 1e6:.0f}M" for name, last, D in longer)
            + "; judged by the longest runs of each size, the better one",
        ),
    ]  # fmt: skip
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

**Figure 3.** Gaps to the 16-bit twin. One seed; the twin's peak rate was not tuned for either. Longer runs of an earlier lease are known by
their training loss alone (`bitlaw reproduce ouyang2024`, F14)."""
    part.figures["findings-native.png"] = (ablating.draw_native(rows), "")
    return part


def of_ablations(rows: Sequence[Measurement], base: Sequence[Measurement]) -> Part:
    """The study ablations, with the rows of lr-state it is compared with."""
    both = [*rows, *base]
    texts = ablating.texts(both)
    groups = [(one, other, ablating.against(both, one, other)) for one, other in ablating.GROUPS]
    acts = [(one, other, ablating.against(both, one, other)) for one, other in ablating.ACTIVATIONS]
    finer = ablating.finer_groups(both)
    others = [t for t in texts if t.name != ablating.TEXTS[ablating.VALIDATION]]
    part = Part(title="Text, groups, activations (ablations)")
    part.claims = [
        Claim(
            claim=f"the growth with tokens does not depend on the evaluation text (exponents within {ALIKE:g})",
            whose="Ouyang et al. 2024, Figure 8",
            verdict=all_of(within(t.drift.low, t.drift.high, -ALIKE, ALIKE) for t in others),
            evidence="exponent of tokens less that on the corpus's validation text: " + "; ".join(f"{t.name} {t.drift.words}" for t in others),
        ),
        Claim(
            claim="finer groups lose less (32 against 128)",
            whose="common practice; Ouyang et al. 2024 use 128",
            verdict=contrary(over(finer)),
            evidence=f"QiD with groups of 32 over that with 128, GPTQ and nearest at 3 and 4 bits: {finer.words()}, {finer.pairs} pairs",
        ),
        Claim(
            claim=f"rounding activations to 8 bits costs little beside 4-bit weights (QiD at most {LITTLE:g} times)",
            whose="common practice (W4A8)",
            verdict=all_of(contrary(over(acts[i][2], LITTLE)) for i in (0, 1)),
            evidence=f"W4A8 over W4: nearest {acts[0][2].words()}, gptq {acts[1][2].words()}; W4A4 over W4: nearest {acts[2][2].words(1)}",
        ),
    ]  # fmt: skip
    text_lines = "\n".join(
        f"| {t.name} | {t.ratio.words()} | " + " | ".join(t.beta[v].words for v in ablating.GPTQ) + " |" for t in texts
    )
    group_lines = "\n".join(f"| {one} | {other} | {r.words()} | {r.pairs} |" for one, other, r in groups if r.pairs)
    act_lines = "\n".join(f"| {one} | {other} | {r.words()} | {r.pairs} |" for one, other, r in acts if r.pairs)
    part.text = f"""\
The same checkpoints scored on {len(texts)} texts; QiD over that on the corpus's validation text, and exponents of tokens within models:

| text | QiD, ratio | beta, 2 bits | 3 bits | 4 bits |
|---|---|---|---|---|
{text_lines}

Groups and activations, the corpus's validation text: QiD of one way over another at the same checkpoint, both above .001 nats, intervals over models (few:
wide). `A:int8_token` rounds the inputs of linear layers to 8 bits, one scale a token.

| one | over | ratio | pairs |
|---|---|---|---|
{group_lines}
{act_lines}

![Activations](figures/findings-activations.png)

**Figure 4.** Weights alone (dashed) and with activations."""
    part.figures["findings-activations.png"] = (ablating.draw(both), "")
    return part
