"""The card of `mini-pythia`: six small GPT-NeoX models along their training, quantized in 34 ways and measured on one GPU."""

from bitlaw.datasets.card import Card

TEXT = """\
**What it is.** 2504 measurements (2433 of quantized models, 71 of the 16-bit model; none failed) of six GPT-NeoX models of
0.2M to 17.7M non-embedding parameters at up to 12 log-spaced checkpoints from 4M to 512M training tokens.

| model | parameters N | planned tokens | checkpoints measured | last D measured | with all 34 variants | replicates of plain gptq |
|---|---|---|---|---|---|---|
| neox-0.2m | 200 064 | 512M | 12 | 512.0M | 12 | two more calibration seeds at all 12 |
| neox-0.8m | 793 344 | 512M | 12 | 512.0M | 12 | two more at all 12 |
| neox-1.6m | 1 586 432 | 512M | 12 | 512.0M | 12 | one more at 5 |
| neox-3.2m | 3 159 552 | 384M | 11 | 253.6M | 11 | none |
| neox-6.3m | 6 318 592 | 384M | 12 | 384.0M | 11 | none |
| neox-17.7m | 17 745 408 | 256M | 12 | 256.0M | 8 | none |

Device time ran out: the last checkpoint of neox-3.2m was not measured at all; the last of neox-6.3m and the last four of
neox-17.7m (from 82M tokens) have only `gptq` and `nearest` at int2, int3, int4, group 128, asymmetric.

**Variants.** `gptq` at int2 to int6 (group 128, asymmetric, damping .01 of the mean diagonal); the first paper's
settings at 2, 3, 4 bits (`int*_g128_sym`, damping .1, layers of a block one after the other); group 32 at 2, 3, 4 bits;
at 3 bits also statistics of the 16-bit network, static scales, activation order. `nearest` at int2 to int6 and int8 (group
128), int2 to int4 (group 32), MXINT2/3/4/6, MXFP4, MXFP6, NVFP4, NF4. `awq` at int3 and int4; `hqq` at int4 (group 64).
Linear layers of the blocks only: embeddings and head stay 16-bit, activations too.

**Training.** `bitlaw train studies/mini-pythia/plan.toml --workers 6`: six models at once on one GPU, bfloat16 autocast,
torch.compile, AdamW, warmup of 5M tokens, one cosine to a tenth of the peak rate (3e-3 for the smallest to 1e-3 for the
largest) that ends at the planned tokens; batches of 128 windows of 512 tokens; one training seed. Tokenizer: BPE of 4096
trained on the same text. Learning rate at each checkpoint is in the records; `studies/mini-pythia/suite.json` adds
epochs and SHA-256 of the weights, `studies/mini-pythia/train-loss.csv` the training loss (means over about a hundredth of
the run). Weights are not shipped; the plan makes such models again, but on other hardware not bit for bit.

**Measuring.** float32; evaluation: the first 400 windows of 512 tokens of the corpus's validation text, 204 400 scored
tokens, the same in every row; calibration: 128 windows of 512 tokens, drawn with seed 0 (replicates: 1 and 2) from the
first 2000 documents of training shard 0 (`calibration.jsonl`).

**Device and versions.** One NVIDIA H200, 2026-11-22; Python 3.12, torch 2.11.0+cu130, transformers 5.17.0, bitlaw 0.1.0.

**Text and licences.** Shards 0 to 3 of the project's English corpus: 69 510 documents, 117 188 332 tokens, so 512M
tokens are 4.4 passes. Sources: English Wikipedia 2015 (CC BY-SA 3.0), Project Gutenberg and two collections of novels
(public domain in the USA), arXiv abstracts (CC0), Microsoft's win32 and C++ documentation (CC BY 4.0), Python's PEPs
(public domain / CC0), the D.C. Code, US executive orders and 18F posts (public domain), Schema-Guided Dialogue (CC BY-SA
4.0). No text is in the records: they hold counts and sums, and are under this project's licence (Apache-2.0).

**Known defects.**
- One training seed a size: what one size does is not separated from what its seed does.
- The cosine ends at 512M, 384M or 256M tokens depending on size, and the learning rate falls as tokens rise: tokens,
  decay and (partly) size are confounded. Use `learning_rate` in the records.
- Text was repeated beyond 117M tokens (2.2 to 4.4 passes at the ends); QiD is on unseen text, but training is not of one pass.
- Column `kernel` says `torch` throughout. Integer GPTQ ran its column loop in bitlaw's Triton kernel.
- Outside the Triton kernel scales were computed before commit e89a251: on the GPU division by a constant was multiplication
  by its reciprocal, so a scale may differ by one unit in the last place from what bitlaw computes now (nearest int3 on a
  CPU: QiD differs by .00002 of .48).
- Measured again on a CPU, 13 of 18 rows have the same QiD to .01 %, three differ by .02 to .3 %, and two symmetric ones
  (`int3_g128_sym`, `int4_g128_sym` of neox-0.8m) by 2.3 and 2.6 %: a symmetric grid puts a group's largest weight halfway
  between two codes, where the last bit of a sum decides (`docs/mini-pythia.md`, CPU against GPU).
- The calibration text is part of the training text, as in practice; the evaluation text is not (0.9 % of its 8-word
  shingles occur in training, mostly stock phrases).
- QiD of the first checkpoints is a few ten-thousandths of a nat, about as large as its standard error or as what another
  calibration seed changes. Some are negative. Model them; do not drop them.
- Models with rows shorter than 128 (neox-0.2m: 64) have one group a row where the format says group 128.
"""

MINI_PYTHIA = Card(
    name="mini-pythia",
    summary="six GPT-NeoX models (0.2M to 17.7M) to 512M tokens, 34 ways of quantizing, one H200",
    licence="Apache-2.0",
    study="studies/mini-pythia",
    text=TEXT,
)
