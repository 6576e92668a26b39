"""Nats, KL divergence and agreement per window, summed into what a record keeps.

On a GPU a kernel reads the logits once, in the dtype they come in (kernels/score_rows.py); elsewhere torch does it, by
tables of log-probabilities. Both count in float32, and sum in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from bitlaw.kernels import available


@dataclass(frozen=True)
class Reference:
    """The 16-bit model on one chunk. B windows, S = T - 1 scored tokens, V vocabulary.

    table: log-probabilities, or the logits themselves where the kernel counts (`by_kernel`).
    """

    table: torch.Tensor  # [B, S, V]
    targets: torch.Tensor  # [B, S]
    nats: torch.Tensor  # [B, S]
    by_kernel: bool = False

    @cached_property
    def probabilities(self) -> torch.Tensor:
        """Of every token, [B, S, V]; made once for all variants."""
        return self.table.exp()

    @cached_property
    def most_likely(self) -> torch.Tensor:
        """The token that is ranked first, [B, S]; found once for all variants."""
        return self.table.argmax(-1)


def reference(logits: torch.Tensor, ids: torch.Tensor) -> Reference:
    """Score the 16-bit model. logits [B, T, V], ids [B, T]; token t is predicted from those before it, the first is not."""
    targets = ids[:, 1:]
    if available(logits.device):
        nats, _, _ = _by_kernel(None, logits, targets)
        return Reference(logits[:, :-1], targets, nats, by_kernel=True)
    log_probabilities = torch.log_softmax(logits[:, :-1].float(), -1)
    return Reference(log_probabilities, targets, _nats(log_probabilities, targets))


def _nats(log_probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def _by_kernel(
    base: torch.Tensor | None, logits: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return nats, KL and agreement, [B, S] each. base [B, S, V] or None, logits [B, T, V], targets [B, S]."""
    from bitlaw.kernels.score_rows import score_rows

    return score_rows(base, logits[:, : targets.shape[1]], targets)


def score_logits(base: Reference, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return nats, KL(16-bit || variant) and agreement (0 or 1) of every scored token, [B, S]. logits [B, T, V]."""
    if base.by_kernel:
        return _by_kernel(base.table, logits, base.targets)
    log_probabilities = torch.log_softmax(logits[:, :-1].float(), -1)
    kl = (base.table - log_probabilities).mul_(base.probabilities).sum(-1)
    return _nats(log_probabilities, base.targets), kl, ranks_first(log_probabilities, base.most_likely)


def ranks_first(table: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return table.argmax(-1) == tokens, [B, S] bool. table [B, S, V], tokens [B, S].

    On a CPU argmax takes several times as long as finding a largest value, so it is asked only where two are equal: the value at
    the token is compared with the largest of the others. The table is as before afterwards.
    """
    place = tokens.unsqueeze(-1)
    own = table.gather(-1, place)
    others = table.scatter_(-1, place, -torch.inf).amax(-1, keepdim=True)
    table.scatter_(-1, place, own)
    first = (own > others).squeeze(-1)
    tied = (own == others).squeeze(-1)
    if tied.any():
        first[tied] = table[tied].argmax(-1) == tokens[tied]
    return first


@dataclass
class Tally:
    """Sums over windows of one variant; see records.Seen for their meaning."""

    windows: int = 0
    tokens_scored: int = 0
    tokens_squared: float = 0.0
    nats: float = 0.0
    nats_squared: float = 0.0
    nats_tokens: float = 0.0
    baseline_nats: float = 0.0
    difference_squared: float = 0.0
    difference_tokens: float = 0.0
    kl_nats: float = 0.0
    agreements: int = 0
    non_finite_tokens: int = field(default=0)

    def add(self, logits: torch.Tensor | None, base: Reference) -> None:
        """Count one chunk. logits [B, T, V] of the variant; None counts the 16-bit model against itself."""
        windows, tokens = base.nats.shape
        if logits is None:
            nats, kl, agreements = base.nats, None, torch.tensor(windows * tokens, device=base.nats.device)
        else:
            nats, kl, agree = score_logits(base, logits)
            agreements = agree.sum()
        of_window = nats.double().sum(1)
        of_baseline = base.nats.double().sum(1)
        difference = of_window - of_baseline
        sums = torch.stack(  # one copy from the device a chunk
            (
                of_window.sum(),
                (of_window**2).sum(),
                of_baseline.sum(),
                (difference**2).sum(),
                difference.sum(),
                torch.zeros_like(of_window[0]) if kl is None else kl.double().sum(),
                agreements.double(),
                (~torch.isfinite(nats)).sum().double(),
            )
        ).tolist()
        self.windows += windows
        self.tokens_scored += windows * tokens
        self.tokens_squared += float(windows * tokens**2)
        self.nats += sums[0]
        self.nats_squared += sums[1]
        self.nats_tokens += sums[0] * tokens
        self.baseline_nats += sums[2]
        self.difference_squared += sums[3]
        self.difference_tokens += sums[4] * tokens
        self.kl_nats += sums[5]
        self.agreements += int(sums[6])
        self.non_finite_tokens += int(sums[7])
