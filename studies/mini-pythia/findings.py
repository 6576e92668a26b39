"""The page's words. Every number in them is computed; what is said around it was written after looking at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import effects
from rows import GPTQ, NEAREST, PAPER, Row, group
from tables import interval

from bitlaw.fit import Comparison, Fit

EARLY, MIDDLE, LATE = (5e6, 3e7), (1.2e7, 5.7e7), (1e8, 6e8)


def of_bits(rows: Sequence[Row], name: str, bits: float) -> list[Row]:
    """Return the rows of a group at one width."""
    return [r for r in group(rows, name) if r.bits == bits]


def per_bits(words: Mapping[int, str]) -> str:
    """Return `2 bits a, 3 bits b, 4 bits c`."""
    return ", ".join(f"{bits} bits {text}" for bits, text in words.items())


def turning(rows: Sequence[Row]) -> dict[int, str]:
    """Where the quantized loss is least, by bits: smallest and largest tokens among the models that turned."""
    said = {}
    for bits in (2, 3, 4):
        found = effects.bottoms(of_bits(rows, GPTQ, bits))
        turned = {m: low for m, (low, last) in found.items() if low.D < last.D}
        if turned:
            D = sorted({round(low.D / 1e6) for low in turned.values()})
            rise = [found[m][1].loss - low.loss for m, low in turned.items()]
            where = f"{D[0]}M to {D[-1]}M" if len(D) > 1 else f"{D[0]}M"
            up = f"{min(rise):.2f} to {max(rise):.2f} nats"
            said[bits] = f"in {len(turned)} of {len(found)} models (least at {where} tokens, then up by {up})"
        else:
            said[bits] = f"in none of {len(found)} up to the last checkpoint"
    return said


def findings(
    everything: Sequence[Row],
    rows: Sequence[Row],
    fits: Mapping[str, Mapping[float, Fit]],
    unified: Mapping[str, tuple[Fit, Fit]],
    judged: Mapping[str, Comparison],
    agreement: str,
) -> str:
    """Return the page with marks (@name) where tables go."""
    beta = {
        name: {b: effects.token_slopes(of_bits(rows, GPTQ, b), *window).words() for b in (2, 3, 4)}
        for name, window in (("middle", MIDDLE), ("late", LATE))
    }
    alpha = {b: dict(effects.size_slopes(of_bits(rows, GPTQ, b), (4e6, 5.6e7, 1.1e8, 2.5e8))) for b in (2, 3, 4)}
    early = {b: alpha[b][4e6].words() for b in (2, 3, 4)}
    clean = {b: alpha[b][5.6e7].words() for b in (2, 3, 4)}
    later = {b: alpha[b][2.5e8].words() for b in (2, 3, 4)}
    one = effects.error_slopes(rows)
    fixed, fixed_error, count = effects.separable(rows, slope_one=True)
    free, free_error, _ = effects.separable(rows, slope_one=False)
    alone, _ = effects.regression(group(rows, GPTQ), decay=False)
    both, delta = effects.regression(group(rows, GPTQ), decay=True)
    assert delta is not None
    gap = effects.ratio(rows, lambda r: r.way == "nearest int3_g128", lambda r: r.way == "gptq int3_g128")
    awq = effects.ratio(rows, lambda r: r.way == "awq int3_g128", lambda r: r.way == "nearest int3_g128")
    group32 = effects.ratio(rows, lambda r: r.way == "gptq int3_g32", lambda r: r.way == "gptq int3_g128")
    noise = {b: effects.seed_noise(everything, b) for b in (2, 3, 4)}
    first, by_power = judged[PAPER], unified[PAPER][0]
    law = "ouyang2024-unified"
    large, late, naive = (
        first.of(law, "largest-size"),
        first.of(law, "later-tokens"),
        first.of("nearest neighbour", "later-tokens"),
    )
    own = [r.name for r in first.in_sample if r.name.startswith("bitlaw-")]
    ours = "; ".join(
        f"`{name}` {100 * first.of(name, 'largest-size').median_relative_error:.0f} % and "
        f"{100 * first.of(name, 'later-tokens').median_relative_error:.0f} %"
        for name in own
    )
    if ours:
        ours = (
            f" This project's laws, in the same places (largest size, later tokens): {ours}. Their form was found with "
            "records of this study in view: not an independent test."
        )
    saturated = effects.off_line(rows, ("neox-0.2m", 511967232), "nearest int2_g128")
    cheap = effects.off_line(rows, ("neox-0.2m", 511967232), "gptq int4_g128")
    ties = {b: 100 * effects.exact_ties(b) for b in (2, 3, 4)}
    turns, g = turning(rows), unified
    least = min(found.intervals["beta"][0] for by_bits in fits.values() for found in by_bits.values())
    formats = len({r.format for r in rows if r.method == "nearest" and 0.002 < r.qid < 0.5})
    return f"""# mini-pythia: what six small models say about the scaling law of quantization

Six GPT-NeoX models, 0.2M to 17.7M non-embedding parameters, up to 12 checkpoints each to 512M tokens, 34 ways of quantizing:
{len(everything)} quantized measurements on one H200 ([data card](datasets.md)). This page and its figures are made from
those records alone by `studies/mini-pythia/analyse.py`; intervals are 90 %, over models (six, one training seed each).
QiD = loss(quantized) - loss(16-bit), nats per token. "Published" is Ouyang et al. 2024 (arXiv 2411.17691), which measured
Pythia from 160M to 12B parameters and 1B to 206B tokens: everything here is one to three decades below.

## Findings

**What held**
1. *QiD grows with tokens*: the interval of beta is above 0 for every one of {len(fits)} variants (table below, least lower end
   {least:.2f}). Once past 100M tokens (6 to 2500 tokens a parameter) it grows at about the published rate: beta
   {per_bits(beta["late"])}; published .52, .67, .66. (plain gptq, slope within each model from 100M tokens on, where the
   learning rate is falling; figure 1)
2. *Larger models lose less, once they are trained*: at 56M tokens, where every model still has over .9 of its peak learning
   rate, alpha is {per_bits(clean)}; at 250M {per_bits(later)}; published .22, .35, .38. (figure 2)
3. *Fewer bits hurt by about the published power of 5.5, but no one power*: gamma {interval(by_power, "gamma")} with the paper's settings,
   {interval(g[GPTQ][0], "gamma")} for gptq at 2 to 6 bits, {interval(g[NEAREST][0], "gamma")} for nearest at 2 to 8: which widths and which grid decide. See 9 for what bits stand for.
4. *The same form serves other methods and formats*; what differs is mostly the factor in front (table of exponents, figure 5).
5. *More training can make the quantized model worse*: along training with plain gptq the loss of the quantized model turns
   up: {per_bits(turns)}. The turn at 3 bits is of the size of what another calibration sample changes (12). (figure 4)

**What did not**
6. *It is not one power of tokens.* Between 12M and 57M tokens beta is {per_bits(beta["middle"])}, beyond 100M what stands
   in 1. One exponent for all of training (beta {interval(by_power, "beta")}, paper's settings) describes neither part.
7. *Size reverses at few tokens.* At 4M tokens alpha is {per_bits(early)}: at 2 bits larger models lose *more*. The curves
   cross between 8M and 16M tokens, for the largest model at less than one token a parameter. (figure 2)
8. *The published form does not extrapolate in tokens.* Fitted to D <= 205M of the paper's settings, it misses later
   checkpoints by a median of {100 * late.median_relative_error:.0f} % (log-R2 {late.log_r2:.2f}, bias x{late.bias:.1f}); taking the
   nearest measured checkpoint unchanged misses by {100 * naive.median_relative_error:.0f} %. The largest size, held out, is missed by
   {100 * large.median_relative_error:.0f} % (log-R2 {large.log_r2:.2f}; up to 56M tokens only).{ours}

**What it looks like instead**
9. *QiD is sensitivity(checkpoint) x error(format).* For round-to-nearest, over {one.count} checkpoints, the slope of ln QiD over
   the logarithm of the relative squared error of the weights (from SQNR) is {one.words()}. One number a checkpoint, and
   *no* constant for the format, gives R2 {fixed:.3f} of ln QiD with a median error of {100 * fixed_error:.0f} % over {count} rows of
   {formats} formats (integers, MX, FP4, NF4; QiD .002 to .5 nats); a free constant for each format only brings it to
   {free:.3f} and {100 * free_error:.0f} %. Bits matter through SQNR. (figure 3)
10. *It ends where the model is broken*: at the last checkpoint of neox-0.2m, 2-bit nearest (QiD above 3 nats) has {saturated:.2f} times
    what the line says. And it does not rank methods: gptq's QiD is smaller although its error on the weights is larger (4 bits at the same
    checkpoint: {cheap:.2f} of the line).

**Methods**
11. nearest loses {gap.words()} times as much as gptq (3 bits, group 128), at every width from 2 to 6 about alike; awq {awq.words()}
    times nearest; group 32 instead of 128 makes gptq's QiD {group32.words()} of what it was. Of gptq's options only activation order
    moves it beyond noise. (table of ratios)
12. *Another calibration sample changes QiD by {100 * noise[2][0]:.0f} %, {100 * noise[3][0]:.0f} % and {100 * noise[4][0]:.0f} %* at 2, 3 and 4 bits (standard
    deviation, three smallest sizes, QiD above .002); the standard error from 204 400 evaluated tokens is {100 * noise[2][2]:.1f} %, {100 * noise[3][2]:.1f} % and
    {100 * noise[4][2]:.1f} %. Error bars of a GPTQ result
    that know only the evaluation are too short.
13. *Hardware*: {agreement or "not compared."} The two that differ most are symmetric: there a group's largest weight lies halfway between two
    codes. In float32 the division returns that tie in {ties[2]:.0f} %, {ties[3]:.0f} % and {ties[4]:.0f} % of random groups at 2, 3 and 4 bits; elsewhere
    its last bit decides about a whole code. GPTQ's sums differ in the last bit between machines, so such rows are
    as uncertain as that, whatever their standard error (both score the same tokens, so it is no measure of this). That this is the
    cause is inferred: the arithmetic was checked on random numbers, not traced in these runs.

**What is confounded**
- *Tokens and learning-rate decay.* One cosine a size: its end is the end of the data. Growth between 12M and 57M tokens
  happens with the rate above .9 of its peak, so here QiD does grow without decay; but what part of the later growth is decay cannot be told.
  In a regression with a factor for each model and width, beta is {alone.words()} alone and {both.words()} with ln(rate / peak)
  beside it, whose coefficient, {delta.words()} (positive: decay raises QiD), has the sign that the bend of 6 gives it too.
  A study with constant and warmup-stable-decay schedules has to say; this one cannot.
- *Size and horizon.* The cosine ends at 512M tokens for the three small models, 384M for the next two, 256M for the largest: at
  250M tokens the small ones stand at about .6 of the peak rate, the largest at .1. Compare sizes at 56M tokens.
- *Size and peak rate* (3e-3 to 1e-3), *size and depth* (4 to 10 layers), *size and group*: rows of neox-0.2m have 64 or 256
  weights, so group 128 is group 64 in most of its layers.
- *Repetition.* 117M distinct tokens: what lies beyond is a second to fifth pass.
- *Scale.* 4096 tokens of vocabulary, 17.7M parameters at most. Agreement of exponents with models a thousand times larger is
  an observation about these ranges, not a law for all between.

## Figures

![QiD against tokens by size, gptq with the paper's settings at 2, 3 and 4 bits](figures/mini-pythia-tokens.png)

**Figure 1.** GPTQ with the paper's settings (`int*_g128_sym`, damping .1, layers one after the other). Dashed: k D^beta / N^alpha
fitted to each width. Values below 1e-4 are not drawn; they are in the fits.

![alpha at fixed tokens](figures/mini-pythia-sizes.png)

**Figure 2.** Exponent of size at fixed tokens across the six models (plain gptq, group 128), 90 % intervals.

![QiD against SQNR](figures/mini-pythia-errors.png)

**Figure 3.** Every variant of three checkpoints against the SQNR of its weights. Line: QiD proportional to the squared error.

![Losses along training](figures/mini-pythia-losses.png)

**Figure 4.** Loss of 16-bit and quantized models along training (plain gptq, group 128). Rings: least loss.

![Exponents by method](figures/mini-pythia-exponents.png)

**Figure 5.** Exponents of each width's fit by method, 90 % intervals over models; dashed: published. Averages over a curve that
bends (finding 6), and over a range in which size reverses (7): that is why beta is above and alpha below the published.

## Exponents of every method and width

QiD = k D^beta / N^alpha over all checkpoints of the variant. log-R2 and median error: in sample, rows above .0005 nats.
Exponents are bounded at 0, where some intervals end.

@exponents

With bits: the published unified law k D^beta / (N^alpha P^gamma), and Kumar et al.'s exponential in bits. BIC gain: above 0 the
exponential describes the rows better; rows are not independent, so read it as a direction.

@unified

## Held out

Median relative error (log-R2; share inside the 90 % interval) of rows the fit has not seen. Largest N: neox-17.7m. Later D: beyond
205M tokens. A bit width: each in turn. "mean per format" and "nearest neighbour" know nothing of scaling;
`bitlaw-` laws were shaped with these records in view.

@holdouts

## Ratios between ways of quantizing

Geometric mean of QiD over QiD at the same checkpoint, where both are above .001 nats; intervals over models.

@ratios

## Calibration noise

Plain gptq, group 128, the same checkpoints with other calibration windows (seeds 0, 1, 2).

@seeds

## CPU against GPU

The same questions (equal content keys) asked of a CPU, torch on one thread, against the H200 with the Triton kernel.

@cpu
"""
