"""The card of `native`: BitNet b1.58 and 16-bit twins along training."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 192 measurements (144 of quantized models, 48 of the 16-bit model; none failed): GPT-NeoX models of 0.8M and
6.3M parameters, to 64M tokens, trained in 16 bits and with ternary weights (BitNet b1.58, `-b158`; `-fast`: at twice the
peak rate), same seed and batches.

| model | parameters N | checkpoints | last D measured | schedule, peak rate, seed | rows |
|---|---|---|---|---|---|
| neox-0.8m | 793 344 | 8 | 64.0M | cosine, 0.0025, 0 | 32 |
| neox-0.8m-b158 | 793 344 | 8 | 64.0M | cosine, 0.0025, 0 | 32 |
| neox-0.8m-b158-fast | 793 344 | 8 | 64.0M | cosine, 0.005, 0 | 32 |
| neox-6.3m | 6 318 592 | 8 | 64.0M | cosine, 0.0015, 0 | 32 |
| neox-6.3m-b158 | 6 318 592 | 8 | 64.0M | cosine, 0.0015, 0 | 32 |
| neox-6.3m-b158-fast | 6 318 592 | 8 | 64.0M | cosine, 0.003, 0 | 32 |

**Variants** (rows). `gptq int2_g128` (48), `gptq int4_g128` (48), `nearest int1.58_tensor_absmax` (48). Linear layers of
the blocks only: embeddings and head stay 16-bit.

**Training.** `studies/native/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast,
torch.compile, AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/native`. Weights are not shipped.

**Measuring.** float32. Evaluation: corpus/validation.jsonl.zst, 400 windows, 204 400 scored tokens. Calibration: 128
windows of 512 tokens of calibration.jsonl, 1 sample.

**Device and versions.** NVIDIA H100 80GB HBM3, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia. No text is in the records: they hold counts and sums, and are under this
project's licence (Apache-2.0).

**Known defects.**
- One training seed; peak rates not tuned for either kind; BitNet's additional norms are left out.
- A ternary checkpoint holds the weights it computes with; GPTQ and nearest start from those.
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (64.0M) reads 0.5 times as much.
"""

NATIVE = Card(
    name="native",
    summary="BitNet b1.58 and 16-bit twins along training",
    licence="Apache-2.0",
    study="studies/native",
    text=TEXT,
)
