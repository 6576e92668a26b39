"""The card of `families`: small networks of six families, their landscapes and the second paper's grid of formats."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 2879 measurements (2862 of quantized or perturbed models, 17 of the 16-bit model; none failed) for the second
paper (arXiv 2410.12119): the loss landscape of networks of six families, and its formats by rounding to nearest and by GPTQ.
Two suites, told apart by `suite`; their texts and tokenizers differ, so losses of one do not compare with the other's.

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

**Variants.** 170 a checkpoint, the plan `grid`: the 16-bit model; 28 formats (MXINT2/3/4/6, MXFP4 e2m1, MXFP6 e2m3 and e3m2 in
blocks of 16, 32, 64 and 128, a short block at the end of rows) by rounding to nearest and by the paper's GPTQ (a whole block at
once, damping searched, inputs of the 16-bit network); `perturb_random` in three directions at 30 to -6 dB; `perturb_along` each
format at -1 and +1 dB. opt-400k has the plan `grid-more` too: integers in tensors, rows and groups, probes along nearest and GPTQ
at -10 to 14 dB, Taylor terms. opt-2.7m has the 16-bit model and three probes at 30 dB with Taylor terms only. Probes are no
quantized models: laws, fits and reports leave `perturb_*` out. Linear layers of the blocks only: embeddings and head stay 16-bit.

**Training.** families: `studies/families/run.toml`, which is `plan.toml` with 256 windows and other passes, by
`studies/gpu/run.py` ([studies.md](studies.md)): bfloat16 autocast, torch.compile, AdamW, one cosine, batches of 128 windows of 512
tokens, seed 0; the tokenizer of mini-pythia. Training losses of all 30 models and SHA-256 of the weights are in `studies/families`.
families-cpu: the shipped plan `families` (`bitlaw train families`), 0.8M tokens, a vocabulary of 1024. Weights are not shipped.

**Measuring.** float32. families: corpus/validation.jsonl.zst, 256 windows of 512 tokens, 130 816 scored tokens; calibration on 128
windows of 512 tokens from the first 2000 documents of training shard 0. families-cpu: the public-domain sample's evaluation part, 24
windows of 128 tokens, 3 048 scored tokens; calibration on 24 windows of 128 tokens of its training part.

**Device and versions.** families: four NVIDIA H100 80GB HBM3, 2026-11-27; torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0.
families-cpu: CPU, 2026-11-27; torch 2.13.0+cpu, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** families: the corpus of mini-pythia. families-cpu: the public-domain sample that comes with bitlaw. No text is
in the records: they hold counts and sums, and are under this project's licence (Apache-2.0).

**Known defects.**
- Of the study's 30 models with 3 checkpoints each, 9 checkpoints of 8 models are measured whole. Device time ended, and up to six
  processes shared a card: 850 rows of 5 checkpoints (bloom-2.7m at 50M, gpt2-0.2m at 50M and 100M, llama-0.2m at 200M, llama-6.3m
  at 89M tokens) failed with `CUDA out of memory`, their 16-bit models too. They are left out.
- No OPT is quantized in families; integer formats and long probes along a direction are those of opt-400k alone.
- Sizes, tokens and families are not crossed: gpt2-6.3m, neox-6.3m, neox-2.7m and mpt-17.7m are from the middle of their training.
- families-cpu is scored on 3 048 tokens: standard errors of changes at 4 and 6 bits are as large as the changes.
- families-cpu was measured under the suite name `families`; only the name (and so the content keys) was changed.
- `seconds` in families are of cards that several processes shared.
"""

FAMILIES = Card(
    name="families",
    summary="networks of six families: landscapes, and the second paper's formats by nearest and GPTQ",
    licence="Apache-2.0",
    study="studies/families",
    text=TEXT,
)
