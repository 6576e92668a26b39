"""The card of `families`: networks of six families: landscapes, and the second paper's formats by nearest and GPTQ."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 13194 measurements (13147 of quantized or perturbed models, 47 of the 16-bit model; none failed): the second
paper (arXiv 2410.12119) in small: the loss landscape of networks of six families (0.2M to 17.7M), and its formats by
rounding to nearest and by GPTQ. Suites are told apart by `suite`; losses on one text do not compare with those on
another's.

| model | suite | parameters N | tokens D measured | peak rate | rows |
|---|---|---|---|---|---|
| gpt2-0.2m | families | 200 064 | 200.0M | 0.003 | 170 |
| gpt2-2.7m | families | 2 669 568 | 200.0M | 0.002 | 170 |
| neox-2.7m | families | 2 669 568 | 100.0M | 0.002 | 170 |
| opt-2.7m | families | 2 669 568 | 200.0M | 0.002 | 4 |
| bloom-2.7m | families | 2 669 952 | 100.0M, 200.0M | 0.002 | 340 |
| gpt2-6.3m | families | 6 318 592 | 89.5M | 0.0015 | 170 |
| neox-6.3m | families | 6 318 592 | 89.5M | 0.0015 | 170 |
| llama-6.3m | families | 6 328 576 | 160.0M | 0.0015 | 170 |
| mpt-17.7m | families | 17 702 784 | 77.5M | 0.001 | 170 |
| mpt-200k | families-cpu | 197 184 | 0.8M | 0.004 | 170 |
| mpt-400k | families-cpu | 393 856 | 0.8M | 0.003 | 170 |
| gpt2-400k | families-cpu | 396 800 | 0.8M | 0.003 | 170 |
| neox-400k | families-cpu | 396 800 | 0.8M | 0.003 | 170 |
| opt-400k | families-cpu | 396 800 | 0.8M | 0.003 | 325 |
| bloom-400k | families-cpu | 397 056 | 0.8M | 0.003 | 170 |
| llama-400k | families-cpu | 402 048 | 0.8M | 0.003 | 170 |
| mpt-0.2m | families-gpu | 197 184 | 64.0M | 0.003 | 349 |
| gpt2-0.2m | families-gpu | 200 064 | 64.0M | 0.003 | 349 |
| neox-0.2m | families-gpu | 200 064 | 64.0M | 0.003 | 349 |
| opt-0.2m | families-gpu | 200 064 | 64.0M | 0.003 | 349 |
| bloom-0.2m | families-gpu | 200 192 | 64.0M | 0.003 | 349 |
| llama-0.2m | families-gpu | 201 280 | 64.0M | 0.003 | 349 |
| mpt-0.8m | families-gpu | 787 584 | 64.0M | 0.0025 | 349 |
| gpt2-0.8m | families-gpu | 793 344 | 64.0M | 0.0025 | 349 |
| neox-0.8m | families-gpu | 793 344 | 64.0M | 0.0025 | 349 |
| opt-0.8m | families-gpu | 793 344 | 64.0M | 0.0025 | 349 |
| bloom-0.8m | families-gpu | 793 600 | 64.0M | 0.0025 | 349 |
| llama-0.8m | families-gpu | 803 968 | 64.0M | 0.0025 | 349 |
| llama-2.7m | families-gpu | 2 656 704 | 64.0M | 0.002 | 349 |
| mpt-2.7m | families-gpu | 2 656 704 | 64.0M | 0.002 | 349 |
| gpt2-2.7m | families-gpu | 2 669 568 | 64.0M | 0.002 | 349 |
| neox-2.7m | families-gpu | 2 669 568 | 64.0M | 0.002 | 349 |
| opt-2.7m | families-gpu | 2 669 568 | 64.0M | 0.002 | 349 |
| bloom-2.7m | families-gpu | 2 669 952 | 64.0M | 0.002 | 349 |
| mpt-6.3m | families-gpu | 6 295 808 | 48.0M | 0.0015 | 349 |
| gpt2-6.3m | families-gpu | 6 318 592 | 48.0M | 0.0015 | 349 |
| neox-6.3m | families-gpu | 6 318 592 | 48.0M | 0.0015 | 349 |
| opt-6.3m | families-gpu | 6 318 592 | 48.0M | 0.0015 | 349 |
| bloom-6.3m | families-gpu | 6 319 104 | 48.0M | 0.0015 | 349 |
| llama-6.3m | families-gpu | 6 328 576 | 48.0M | 0.0015 | 349 |
| llama-17.7m | families-gpu | 17 702 784 | 40.0M | 0.001 | 349 |
| mpt-17.7m | families-gpu | 17 702 784 | 40.0M | 0.001 | 349 |
| gpt2-17.7m | families-gpu | 17 745 408 | 40.0M | 0.001 | 194 |
| neox-17.7m | families-gpu | 17 745 408 | 40.0M | 0.001 | 349 |
| opt-17.7m | families-gpu | 17 745 408 | 40.0M | 0.001 | 349 |
| bloom-17.7m | families-gpu | 17 746 176 | 40.0M | 0.001 | 349 |

**Variants** (rows). `gptq` (2008 rows; 52 formats), `nearest` (2008 rows; 52 formats), `perturb_along` (5696 rows; 28
formats; over along, offset_db), `perturb_compensated` (720 rows; over seed, snr_db), `perturb_random` (2715 rows; over
seed, snr_db; 93 with Taylor terms). Elements in blocks of 16 to 128: mxfp4_e2m1, mxfp6_e2m3, mxfp6_e3m2, mxint2, mxint3,
mxint4, mxint6; 24 formats of integers with a float scale. Probes (`perturb_*`) are no quantized models: laws, fits and
reports leave them out. Linear layers of the blocks only: embeddings and head stay 16-bit.

**Training.** On GPUs by `studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast, torch.compile, AdamW, one
cosine, batches of 128 windows of 512 tokens, seed 0; the tokenizer of mini-pythia. Training losses and SHA-256 of the
weights are in `studies/families`. `families-cpu`: the shipped plan `families` (`bitlaw train families`), a vocabulary of
1024. `families` is of `studies/families/run.toml` and `families-gpu` is of `studies/families/plan.toml`. Weights are not
shipped.

**Measuring.** float32. `families`: Evaluation: corpus/validation.jsonl.zst, 256 windows, 130 816 scored tokens.
Calibration: 128 windows of 512 tokens of calibration.jsonl, 1 sample. `families-cpu`: Evaluation: sample:evaluation, 24
windows, 3 048 scored tokens. Calibration: 24 windows of 128 tokens of sample:train, 1 sample. `families-gpu`: Evaluation:
corpus/validation.jsonl.zst, 128 windows, 65 408 scored tokens. Calibration: 128 windows of 512 tokens of calibration.jsonl,
1 sample.

**Device and versions.** NVIDIA H100 80GB HBM3, cpu, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0;
torch 2.13.0+cpu, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** The corpus of mini-pythia and the public-domain sample that comes with bitlaw. No text is in the
records: they hold counts and sums, and are under this project's licence (Apache-2.0).

**Known defects.**
- In `families` device time ended: opt-2.7m has the 16-bit model and three probes only, 850 rows of 5 checkpoints failed
  with `CUDA out of memory` and are left out, and gpt2-6.3m, neox-6.3m, neox-2.7m and mpt-17.7m are from the middle of their
  training.
- families-cpu is scored on 3 048 tokens: standard errors of changes at 4 and 6 bits are as large as the changes.
- families-cpu was measured under the suite name `families`; only the name (and so the content keys) was changed.
- `seconds` on GPUs are of cards that several processes shared.
- `families`: of 90 checkpoints of `run.toml` 80 were not measured, of 30 models.
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (200.0M) reads 1.7 times as much.
- Text: 117.2M tokens of corpus/train-*.jsonl.zst; the longest run measured (64.0M) reads 0.5 times as much.
"""

FAMILIES = Card(
    name="families",
    summary="networks of six families: landscapes, and the second paper's formats by nearest and GPTQ",
    licence="Apache-2.0",
    study="studies/families",
    text=TEXT,
)
