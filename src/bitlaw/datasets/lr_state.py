"""The card of `lr-state`: models that differ in the learning-rate schedule alone (constant, cosine, warmup-stable-decay), and weight averages."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 80 measurements (64 of quantized models, 16 of the 16-bit model; none failed): GPT-NeoX models of 0.8M
parameters, to 96M tokens, under learning-rate schedules that differ: `constant`, `cosine`, `wsd25` and `wsd50` (straight
decay over the last 25 % and 50 % of the tokens), where there, `-48` (the same over 48M tokens), `low-` (0.4 of the peak
rate) and averages of weights of the constant run (`+mean5`).

| model | parameters N | checkpoints | last D measured | schedule, peak rate, seed | rows |
|---|---|---|---|---|---|
| neox-0.8m-cosine | 793 344 | 8 | 96.0M | cosine, 0.0025, 0 | 40 |
| neox-0.8m-low-cosine | 793 344 | 8 | 96.0M | cosine, 0.001, 0 | 40 |

**Variants** (rows). `gptq int2_g128` (16), `gptq int3_g128` (16), `gptq int4_g128` (16), `nearest int3_g128` (16). Linear
layers of the blocks only: embeddings and head stay 16-bit.

**Training.** `studies/lr-state/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast,
torch.compile, AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/lr-state`. Weights are not shipped.

**Measuring.** float32. Evaluation: corpus/validation.jsonl.zst, 400 windows, 204 400 scored tokens. Calibration: 128
windows of 512 tokens of calibration.jsonl, 1 sample.

**Device and versions.** NVIDIA H100 80GB HBM3, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia. No text is in the records: they hold counts and sums, and are under this
project's licence (Apache-2.0).

**Known defects.**
- One training seed. Runs of one size and peak rate see the same batches in the same order, so before a decay begins `wsd`
  and `constant` runs differ by the GPU's rounding only.
- `lr-state`: of 144 checkpoints of `plan.toml` 128 were not measured, of 16 models.
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (96.0M) reads 0.8 times as much.
"""

LR_STATE = Card(
    name="lr-state",
    summary="models that differ in the learning-rate schedule alone (constant, cosine, warmup-stable-decay), and weight averages",
    licence="Apache-2.0",
    study="studies/lr-state",
    text=TEXT,
)
