"""Small layers with known statistics: correlated inputs, some channels larger than others, a few weights far out."""

import torch

from bitlaw.quantize import InputStatistics, Method, WeightGradients
from bitlaw.quantize.method import GRADIENTS, INPUTS


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(features: int, tokens: int, seed: int) -> torch.Tensor:
    """Tokens x features, correlated; every eighth channel is four times as large."""
    mix = torch.randn(features, features, generator=generator(seed)) / features**0.5
    x = torch.randn(tokens, features, generator=generator(seed + 1)) @ mix
    x = x + 0.3 * torch.randn(tokens, features, generator=generator(seed + 2))
    return x * torch.where(torch.arange(features) % 8 == 3, 4.0, 1.0)


def weights(rows: int, columns: int, seed: int, outliers: bool = True) -> torch.Tensor:
    weight = torch.randn(rows, columns, generator=generator(seed))
    if outliers:
        far = torch.rand(rows, columns, generator=generator(seed + 1)) < 0.01
        weight = torch.where(far, 5.0 * weight, weight)
    return weight


def statistics_of(x: torch.Tensor, drift_seed: int | None = None) -> InputStatistics:
    made = InputStatistics(x.shape[1])
    beside = None
    if drift_seed is not None:
        beside = x + 0.2 * torch.randn(x.shape, generator=generator(drift_seed))
    made.add(x, beside)
    return made


def gradients_of(x: torch.Tensor, rows: int, seed: int) -> WeightGradients:
    """Gradients of random losses at the layer's output, one a batch of a quarter of the tokens."""
    batches = x.chunk(4)
    g = [torch.randn(len(b), rows, generator=generator(seed + i)).T @ b / len(b) for i, b in enumerate(batches)]
    return WeightGradients(
        absolute=torch.stack([b.abs() for b in g]).mean(0), squared=torch.stack([b.square() for b in g]).mean(0)
    )


def statistics_for(method: Method, options: object, x: torch.Tensor, rows: int):
    """What the method's function looks at: inputs with drift, gradients, or nothing."""
    needs = method.needs(options)
    if GRADIENTS in needs:
        return gradients_of(x, rows, seed=77)
    return statistics_of(x, drift_seed=78) if INPUTS in needs else None
