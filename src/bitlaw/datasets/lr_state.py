"""The card of `lr-state`: models that differ in the learning-rate schedule alone (constant, cosine, warmup-stable-decay), and weight averages."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 1110 measurements (888 of quantized models, 222 of the 16-bit model; none failed): GPT-NeoX models of 0.2M,
0.4M, 0.8M and 3.2M parameters, to 96M tokens, under learning-rate schedules that differ: `constant`, `cosine`, `wsd25` and
`wsd50` (straight decay over the last 25 % and 50 % of the tokens), where there, `-48` (the same over 48M tokens), `low-`
(0.4 of the peak rate) and averages of weights of the constant run (`+mean5`).

| model | suite | parameters N | tokens D measured | peak rate | rows |
|---|---|---|---|---|---|
| neox-0.8m-constant | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0025 | 40 |
| neox-0.8m-constant+mean5 | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0025 | 40 |
| neox-0.8m-cosine | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0025 | 40 |
| neox-0.8m-cosine-48 | lr-state | 793 344 | 12.0M, 14.6M, 17.8M, 21.7M, 26.5M, 32.3M, 39.3M, 48.0M | 0.0025 | 40 |
| neox-0.8m-low-constant | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.001 | 40 |
| neox-0.8m-low-cosine | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.001 | 40 |
| neox-0.8m-wsd25 | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0025 | 40 |
| neox-0.8m-wsd25-48 | lr-state | 793 344 | 12.0M, 14.6M, 17.8M, 21.7M, 26.5M, 32.3M, 39.3M, 48.0M | 0.0025 | 40 |
| neox-0.8m-wsd50 | lr-state | 793 344 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0025 | 40 |
| neox-3.2m-constant | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.002 | 40 |
| neox-3.2m-constant+mean5 | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.002 | 40 |
| neox-3.2m-cosine | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.002 | 40 |
| neox-3.2m-cosine-48 | lr-state | 3 159 552 | 12.0M, 14.6M, 17.8M, 21.7M, 26.5M, 32.3M, 39.3M, 48.0M | 0.002 | 40 |
| neox-3.2m-low-constant | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0008 | 40 |
| neox-3.2m-low-cosine | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.0008 | 40 |
| neox-3.2m-wsd25 | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.002 | 40 |
| neox-3.2m-wsd25-48 | lr-state | 3 159 552 | 12.0M, 14.6M, 17.8M, 21.7M, 26.5M, 32.3M, 39.3M, 48.0M | 0.002 | 40 |
| neox-3.2m-wsd50 | lr-state | 3 159 552 | 12.0M, 16.1M, 21.8M, 29.2M, 39.4M, 53.0M, 71.3M, 96.0M | 0.002 | 40 |
| neox-199k-constant | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-199k-constant+mean5 | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-199k-cosine | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-199k-cosine-half | lr-state-cpu | 198 528 | 0.3M, 0.4M, 0.5M, 0.7M, 0.9M, 1.2M | 0.003 | 30 |
| neox-199k-low-constant | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.0012 | 30 |
| neox-199k-low-cosine | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.0012 | 30 |
| neox-199k-wsd25 | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-199k-wsd50 | lr-state-cpu | 198 528 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-397k-constant | lr-state-cpu | 396 800 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-397k-constant+mean5 | lr-state-cpu | 396 800 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-397k-cosine | lr-state-cpu | 396 800 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |
| neox-397k-low-cosine | lr-state-cpu | 396 800 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.0012 | 30 |
| neox-397k-wsd25 | lr-state-cpu | 396 800 | 0.3M, 0.5M, 0.7M, 1.0M, 1.6M, 2.4M | 0.003 | 30 |

**Variants** (rows). `gptq int2_g128` (222), `gptq int3_g128` (222), `gptq int4_g128` (222), `nearest int3_g128` (222).
Linear layers of the blocks only: embeddings and head stay 16-bit.

**Training.** `studies/lr-state/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast,
torch.compile, AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/lr-state`. Weights are not shipped. `lr-state-cpu`: `studies/lr-state/lr-state-cpu.toml` on two
cores: float32, batches of 16 windows of 128 tokens, a vocabulary of 1024 of its own, the first 2000 documents of train-000;
losses do not compare with those of `lr-state`.

**Measuring.** float32. `lr-state`: Evaluation: corpus/validation.jsonl.zst, 400 windows, 204 400 scored tokens.
Calibration: 128 windows of 512 tokens of calibration.jsonl, 1 sample. `lr-state-cpu`: Evaluation:
corpus/validation.jsonl.zst, 400 windows, 50 800 scored tokens. Calibration: 128 windows of 128 tokens of calibration.jsonl,
1 sample.

**Device and versions.** NVIDIA H100 80GB HBM3, cpu, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0;
torch 2.13.0+cpu, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia. No text is in the records: they hold counts and sums, and are under this
project's licence (Apache-2.0).

**Known defects.**
- One training seed. Runs of one size and peak rate see the same batches in the same order, so before a decay begins `wsd`
  and `constant` runs differ by the GPU's rounding only.
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (96.0M) reads 0.8 times as much.
- Text: 4.2M tokens of calibration.jsonl; the longest run measured (2.4M) reads 0.6 times as much.
"""

LR_STATE = Card(
    name="lr-state",
    summary="models that differ in the learning-rate schedule alone (constant, cosine, warmup-stable-decay), and weight averages",
    licence="Apache-2.0",
    study="studies/lr-state",
    text=TEXT,
)
