"""GPTAQ against a plain float64 loop of its column rule, its two limits that are GPTQ, and the output it aims at."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.quantize.gptaq import GptaqOptions, gptaq
from bitlaw.quantize.gptq import GptqOptions, gptq
from tests.quantize.test_gptq_variants import agree, plain_round
from tests.quantize.toys import generator, inputs, weights


def drifted(features: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of the quantized network and of the 16-bit one: other by a fixed linear map and noise."""
    full = inputs(features, tokens, seed=1)
    turn = torch.eye(features) + 0.15 * torch.randn(features, features, generator=generator(2)) / features**0.5
    return full @ turn + 0.05 * torch.randn(tokens, features, generator=generator(3)), full


def pair_statistics(x: torch.Tensor, full: torch.Tensor) -> InputStatistics:
    made = InputStatistics(x.shape[1])
    half = len(x) // 2
    made.add(x[:half].reshape(2, -1, x.shape[1]), full[:half].reshape(2, -1, x.shape[1]))
    made.add(x[half:], full[half:])
    return made


def plain_gptaq(weight, x, full, bits, group, alpha, damping=0.01):
    """One column at a time: the drift of input j's column is solved on the columns after j by least squares."""
    w, x, full = (a.astype(np.float64) for a in (weight.copy(), x, full))
    n, tokens = w.shape[1], len(x)
    h = x.T @ x / tokens
    d = (full - x).T @ x / tokens
    h = h + damping * np.mean(np.diag(h)) * np.eye(n)
    out = np.zeros_like(w)
    grid = None
    for j in range(n):
        if j % group == 0:
            grid = w[:, j : j + group].copy()
        out[:, j : j + 1] = plain_round(w[:, j : j + 1], grid, bits)
        if j + 1 == n:
            break
        inverse = np.linalg.inv(h[j:, j:])
        error = (w[:, j] - out[:, j]) / inverse[0, 0]
        mend = alpha * d[j, j + 1 :] @ np.linalg.inv(h[j + 1 :, j + 1 :])
        w[:, j + 1 :] += np.outer(w[:, j], mend) - np.outer(error, inverse[0, 1:])
    return out


@pytest.mark.parametrize(("alpha", "block_size"), [(0.25, 128), (1.0, 16), (1.0, 7)])
def test_equals_plain_reference(alpha: float, block_size: int) -> None:
    x, full = drifted(48, 400)
    weight, statistics = weights(24, 48, seed=4), pair_statistics(x, full)
    options = GptaqOptions(alpha=alpha, block_size=block_size)
    got = gptaq(weight, statistics, parse_format("int3_g16"), options)
    want = plain_gptaq(weight.numpy(), x.numpy(), full.numpy(), 3, 16, alpha)
    assert agree(got, want, 3)
    assert not agree(got, plain_gptaq(weight.numpy(), x.numpy(), full.numpy(), 3, 16, 0.0), 3)


def test_without_drift_or_alpha_it_is_gptq() -> None:
    x, full = drifted(64, 300)
    weight, grid = weights(16, 64, seed=5), parse_format("int3_g32")
    plain = InputStatistics(64)
    for half in x.split(len(x) // 2):  # as pair_statistics adds them: sums in another order differ in their last bits
        plain.add(half)
    want = gptq(weight, plain, grid, GptqOptions())
    assert torch.equal(gptaq(weight, plain, grid, GptaqOptions()), want)
    assert torch.equal(gptaq(weight, pair_statistics(x, full), grid, GptaqOptions(alpha=0.0)), want)
    assert not torch.equal(gptaq(weight, pair_statistics(x, full), grid, GptaqOptions()), want)


@pytest.mark.parametrize("settings", [{}, {"order": "activation"}, {"micro_block": 16}, {"order": "group_aware"}])
def test_comes_nearer_to_the_16_bit_output(settings: dict[str, object]) -> None:
    x, full = drifted(64, 800)
    weight, grid, statistics = weights(48, 64, seed=6), parse_format("int4_g32"), pair_statistics(x, full)

    def error(quantized: torch.Tensor) -> float:
        return float((x @ quantized.T - full @ weight.T).square().sum(1).mean())

    with_drift = gptaq(weight, statistics, grid, GptaqOptions(alpha=1.0, **settings))
    assert error(with_drift) < 0.9 * error(gptq(weight, statistics, grid, GptqOptions(**settings)))


def test_drift_statistics_equal_numpy() -> None:
    x, full = drifted(24, 100)
    statistics = pair_statistics(x, full)
    want = (full - x).double().numpy().T @ x.double().numpy() / 100
    np.testing.assert_allclose(statistics.drift.numpy(), want, rtol=1e-4, atol=1e-5)
    assert torch.count_nonzero(InputStatistics(24).drift) == 0


def test_options_that_make_no_sense_are_refused() -> None:
    for bad, said in (
        ({"alpha": 1.5}, "from 0 to 1"),
        ({"alpha": float("nan")}, "from 0 to 1"),
        ({"upstream": "full_precision"}, "or the method gptq"),
        ({"damping_rule": "search"}, "damping_rule='relative'"),
    ):
        with pytest.raises(InputError, match=said):
            make_variant("gptaq", "int4_g128", bad)
