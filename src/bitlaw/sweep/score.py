"""Nats, KL divergence and agreement per window, summed into what a record keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Reference:
    """The 16-bit model on one chunk. B windows, S = T - 1 scored tokens, V vocabulary."""

    log_probabilities: torch.Tensor  # [B, S, V]
    targets: torch.Tensor  # [B, S]
    nats: torch.Tensor  # [B, S]


def reference(logits: torch.Tensor, ids: torch.Tensor) -> Reference:
    """Score the 16-bit model. logits [B, T, V], ids [B, T]; token t is predicted from those before it, the first is not."""
    log_probabilities = torch.log_softmax(logits[:, :-1].float(), -1)
    targets = ids[:, 1:]
    return Reference(log_probabilities, targets, _nats(log_probabilities, targets))


def _nats(log_probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


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
        same = logits is None
        log_probabilities = base.log_probabilities if logits is None else torch.log_softmax(logits[:, :-1].float(), -1)
        nats = base.nats if same else _nats(log_probabilities, base.targets)
        self.non_finite_tokens += int((~torch.isfinite(nats)).sum())
        of_window = nats.double().sum(1)
        of_baseline = base.nats.double().sum(1)
        difference = of_window - of_baseline
        windows, tokens = nats.shape
        self.windows += windows
        self.tokens_scored += windows * tokens
        self.tokens_squared += float(windows * tokens**2)
        self.nats += float(of_window.sum())
        self.nats_squared += float((of_window**2).sum())
        self.nats_tokens += float(of_window.sum() * tokens)
        self.baseline_nats += float(of_baseline.sum())
        self.difference_squared += float((difference**2).sum())
        self.difference_tokens += float(difference.sum() * tokens)
        if same:
            self.agreements += windows * tokens
            return
        kl = (base.log_probabilities.exp() * (base.log_probabilities - log_probabilities)).sum(-1)
        self.kl_nats += float(kl.double().sum())
        self.agreements += int((log_probabilities.argmax(-1) == base.log_probabilities.argmax(-1)).sum())
