"""The card of `mini-pythia-2`: beside mini-pythia: a second training seed, longer runs and larger sizes."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 2077 measurements (2006 of quantized models, 71 of the 16-bit model; none failed): GPT-NeoX models (0.2M to
85.1M) to go with mini-pythia's: `-s1` are of its sizes with training seed 1 (initial weights and order of the text) instead
of 0, `-1b` of its sizes with one cosine over 1024M tokens, the others are larger.

| model | parameters N | checkpoints | last D measured | schedule, peak rate, seed | rows |
|---|---|---|---|---|---|
| neox-0.2m-1b | 200 064 | 11 | 618.5M | cosine, 0.003, 0 | 385 |
| neox-0.8m-1b | 793 344 | 12 | 1024.0M | cosine, 0.0025, 0 | 420 |
| neox-0.8m-s1 | 793 344 | 12 | 512.0M | cosine, 0.0025, 1 | 420 |
| neox-3.2m-s1 | 3 159 552 | 12 | 384.0M | cosine, 0.0018, 1 | 468 |
| neox-37.8m | 37 829 632 | 12 | 128.0M | cosine, 0.0008, 0 | 192 |
| neox-85m | 85 056 000 | 12 | 128.0M | cosine, 0.0006, 0 | 192 |

**Variants** (rows). `awq int3_g128` (47), `awq int4_g128` (71), `gptq int2_g128` (119), `gptq int2_g128_sym
within_block=sequential` (71), `gptq int2_g32` (47), `gptq int3_g128` (119), `gptq int3_g128 order=activation` (47), `gptq
int3_g128 scales=static` (47), `gptq int3_g128 upstream=full_precision` (47), `gptq int3_g128_sym within_block=sequential`
(71), `gptq int3_g32` (47), `gptq int4_g128` (119), `gptq int4_g128_sym within_block=sequential` (71), `gptq int4_g32` (47),
`gptq int5_g128` (47), `gptq int6_g128` (47), `hqq int4_g64` (47), `nearest int2_g128` (71), `nearest int2_g32` (47),
`nearest int3_g128` (71), `nearest int3_g32` (47), `nearest int4_g128` (71), `nearest int4_g32` (47), `nearest int5_g128`
(47), `nearest int6_g128` (47), `nearest int8_g128` (47), `nearest mxfp4_e2m1_k32` (47), `nearest mxfp6_e2m3_k32` (47),
`nearest mxint2_k32` (47), `nearest mxint3_k32` (47), `nearest mxint4_k32` (47), `nearest mxint6_k32` (47), `nearest
nf4_g64` (71), `nearest nvfp4_k16` (47). Linear layers of the blocks only: embeddings and head stay 16-bit.

**Training.** `studies/mini-pythia-2/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast,
torch.compile, AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/mini-pythia-2`. Weights are not shipped.

**Measuring.** float32. Evaluation: corpus/validation.jsonl.zst, 400 windows, 204 400 scored tokens. Calibration: 128
windows of 512 tokens of calibration.jsonl, 3 samples.

**Device and versions.** NVIDIA H100 80GB HBM3, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia. No text is in the records: they hold counts and sums, and are under this
project's licence (Apache-2.0).

**Known defects.**
- The second training seed ran on another kind of GPU than mini-pythia's first: the two are not separated.
- One cosine a model that ends with its tokens, as in mini-pythia: tokens and decay rise together.
- `mini-pythia-2`: of 72 checkpoints of `plan.toml` 1 were not measured, of neox-0.2m-1b (1).
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (1024.0M) reads 8.7 times as much.
"""

MINI_PYTHIA_2 = Card(
    name="mini-pythia-2",
    summary="beside mini-pythia: a second training seed, longer runs and larger sizes",
    licence="Apache-2.0",
    study="studies/mini-pythia-2",
    text=TEXT,
)
