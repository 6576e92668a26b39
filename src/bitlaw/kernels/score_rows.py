"""Cross-entropy, KL divergence and agreement of two tables of logits in one walk over the vocabulary, a row a program.

With b the 16-bit model's logits of a row, q the variant's, t the target, lse = log sum exp:

    nats = lse(q) - q_t        KL = sum_v softmax(b)_v (b_v - q_v) - lse(b) + lse(q)        agreement: the same argmax

The sums are kept relative to the running maximum and scaled when it moves, so logits are read once, in the 16 bits they
come in, and no table of probabilities is written. Arithmetic is float32. Equal logits: the first one counts as the largest.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

LOWEST = tl.constexpr(-3.0e38)  # beyond the last logit: its exponential is 0, and differences of two of them are too


@triton.jit
def _score(
    base, variant, targets, nats, kl, agree,
    scored, base_window, base_stride, variant_window, variant_stride,
    VOCABULARY: tl.constexpr, COLUMNS: tl.constexpr, SAME: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    base += (row // scored) * base_window + (row % scored) * base_stride
    variant += (row // scored) * variant_window + (row % scored) * variant_stride
    column = tl.arange(0, COLUMNS)
    top_b = LOWEST
    top_q = LOWEST
    sum_b = 0.0
    sum_q = 0.0
    crossed = 0.0
    best_b = 0
    best_q = 0
    for start in range(0, VOCABULARY, COLUMNS):
        there = start + column < VOCABULARY
        q = tl.load(variant + start + column, mask=there, other=LOWEST).to(tl.float32)
        here = tl.max(q, axis=0)
        best_q = tl.where(here > top_q, start + tl.argmax(q, axis=0), best_q)
        new = tl.maximum(top_q, here)
        sum_q = sum_q * tl.exp(top_q - new) + tl.sum(tl.where(there, tl.exp(q - new), 0.0), axis=0)
        top_q = new
        if not SAME:
            b = tl.load(base + start + column, mask=there, other=LOWEST).to(tl.float32)
            here = tl.max(b, axis=0)
            best_b = tl.where(here > top_b, start + tl.argmax(b, axis=0), best_b)
            new = tl.maximum(top_b, here)
            shrink = tl.exp(top_b - new)
            weight = tl.where(there, tl.exp(b - new), 0.0)
            sum_b = sum_b * shrink + tl.sum(weight, axis=0)
            crossed = crossed * shrink + tl.sum(weight * (b - q), axis=0)
            top_b = new
    target = tl.load(targets + row)
    log_q = tl.log(sum_q)
    tl.store(nats + row, log_q - (tl.load(variant + target).to(tl.float32) - top_q))
    if not SAME:
        tl.store(kl + row, crossed / sum_b - (top_b - top_q) - (tl.log(sum_b) - log_q))
        tl.store(agree + row, tl.where(best_b == best_q, 1, 0))


def score_rows(
    base: torch.Tensor | None, variant: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return nats, KL(base || variant) in nats, and agreement (0 or 1), each [B, S].

    base, variant [B, S, V], any float dtype, the vocabulary contiguous; targets [B, S], token ids. base None scores the
    variant alone: KL 0, agreement 1. A row with NaN among its logits has NaN nats.
    """
    windows, scored, vocabulary = variant.shape
    nats = torch.empty((windows, scored), dtype=torch.float32, device=variant.device)
    kl = torch.zeros_like(nats)
    agree = torch.ones((windows, scored), dtype=torch.int32, device=variant.device)
    other = variant if base is None else base
    with torch.cuda.device_of(variant):  # Triton launches on the current GPU, whatever the tensors' is
        _score[(windows * scored,)](
            other,
            variant,
            targets.contiguous(),
            nats,
            kl,
            agree,
            scored,
            other.stride(0),
            other.stride(1),
            variant.stride(0),
            variant.stride(1),
            VOCABULARY=vocabulary,
            COLUMNS=min(4096, triton.next_power_of_2(vocabulary)),
            SAME=base is None,
        )
    return nats, kl, agree
