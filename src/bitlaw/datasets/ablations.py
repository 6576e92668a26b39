"""The card of `ablations`: checkpoints of lr-state on other texts, other group sizes, rounded activations."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 760 measurements (720 of quantized models, 40 of the 16-bit model; none failed): the last checkpoints of
lr-state's cosine runs (0.2M, 0.4M, 0.8M and 3.2M) measured again: on WikiText-2's test text and on the public-domain
sample, and on the validation text with other group sizes and with rounded activations.

| model | suite | parameters N | tokens D measured | peak rate | rows |
|---|---|---|---|---|---|
| neox-0.8m-cosine | lr-state | 793 344 | 53.0M, 71.3M, 96.0M | 0.0025 | 114 |
| neox-0.8m-low-cosine | lr-state | 793 344 | 53.0M, 71.3M, 96.0M | 0.001 | 114 |
| neox-3.2m-cosine | lr-state | 3 159 552 | 53.0M, 71.3M, 96.0M | 0.002 | 114 |
| neox-3.2m-low-cosine | lr-state | 3 159 552 | 53.0M, 71.3M, 96.0M | 0.0008 | 114 |
| neox-199k-cosine | lr-state-cpu | 198 528 | 1.6M, 2.4M | 0.003 | 76 |
| neox-199k-low-cosine | lr-state-cpu | 198 528 | 1.6M, 2.4M | 0.0012 | 76 |
| neox-397k-cosine | lr-state-cpu | 396 800 | 1.6M, 2.4M | 0.003 | 76 |
| neox-397k-low-cosine | lr-state-cpu | 396 800 | 1.6M, 2.4M | 0.0012 | 76 |

**Variants** (rows). `awq int4_g128` (60), `gptq int2_g128` (40), `gptq int3_g128` (40), `gptq int3_g128_sym
within_block=sequential` (40), `gptq int3_g32` (20), `gptq int3_g64` (20), `gptq int3_row` (20), `gptq int4_g128` (40),
`gptq int4_g128 A:int4_token` (20), `gptq int4_g128 A:int8_token` (20), `gptq int4_g32` (20), `gptq int4_g64` (20), `gptq
int4_row` (20), `nearest int3_g128` (40), `nearest int3_g32` (20), `nearest int3_g64` (20), `nearest int3_row` (20),
`nearest int4_g128` (20), `nearest int4_g128 A:int4_token` (20), `nearest int4_g128 A:int8_token` (20), `nearest int4_g32`
(20), `nearest int4_g64` (20), `nearest int4_row` (20), `nearest int8_g128 A:int8_token` (20), `nearest nf4_g64` (60), `none
A:int4_token` (20), `none A:int8_token` (20). Linear layers of the blocks only: embeddings and head stay 16-bit.

**Training.** `studies/lr-state/plan.toml` by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast,
torch.compile, AdamW, batches of 128 windows of 512 tokens; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/lr-state`. Weights are not shipped. `lr-state-cpu`: `studies/lr-state/lr-state-cpu.toml` on two
cores: float32, batches of 16 windows of 128 tokens, a vocabulary of 1024 of its own, the first 2000 documents of train-000;
losses do not compare with those of `lr-state`.

**Measuring.** float32. `lr-state`: Evaluation: corpus/validation.jsonl.zst, 400 windows, 204 400 scored tokens;
corpus/wikitext2-test.txt.zst, 400 windows, 204 400 scored tokens; sample, 400 windows, 204 400 scored tokens. Calibration:
128 windows of 512 tokens of calibration.jsonl, 1 sample. `lr-state-cpu`: Evaluation: corpus/validation.jsonl.zst, 400
windows, 50 800 scored tokens; corpus/wikitext2-test.txt.zst, 400 windows, 50 800 scored tokens; sample, 400 windows, 50 800
scored tokens. Calibration: 128 windows of 128 tokens of calibration.jsonl, 1 sample.

**Device and versions.** NVIDIA H100 80GB HBM3, cpu, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0;
torch 2.13.0+cpu, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia and the public-domain sample that comes with bitlaw. No text is in the
records: they hold counts and sums, and are under this project's licence (Apache-2.0).

**Known defects.**
- Few models: intervals over models are wide.
- WikiText-2 here is tokenised text with `<unk>`; the public-domain sample is older English: losses differ, QiD is compared.
- The public-domain sample may share passages with the Gutenberg part of the training text (none is the same document).
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (96.0M) reads 0.8 times as much.
- Text: 4.2M tokens of calibration.jsonl; the longest run measured (2.4M) reads 0.6 times as much.
"""

ABLATIONS = Card(
    name="ablations",
    summary="checkpoints of lr-state on other texts, other group sizes, rounded activations",
    licence="Apache-2.0",
    study="studies/ablations",
    text=TEXT,
)
