"""Every damping at once gives what the dampings give one by one."""

from types import SimpleNamespace

import pytest
import torch

from bitlaw.errors import HessianError
from bitlaw.formats import parse_format
from bitlaw.formats.grouping import group_parameters
from bitlaw.quantize import InputStatistics, damping_search
from bitlaw.quantize.gptq import GptqOptions, gptq, solve
from tests.quantize.toys import inputs, weights

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def statistics(columns: int, device: str) -> InputStatistics:
    made = InputStatistics(columns, device)
    made.add(inputs(columns, 600, seed=columns).to(device))
    return made


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "columns", "micro_block", "order"),
    [
        ("mxint3_k16", 64, 16, "none"),
        ("mxfp4_e2m1_k32_short", 80, 32, "none"),  # the last block is short
        ("mxint2_k16", 64, 8, "none"),  # two micro-blocks share a scale
        ("mxint4_k16", 64, 32, "activation"),  # two scales in a micro-block
        ("int3_g16", 48, 16, "group_aware"),
        ("nvfp4_k16", 64, 16, "none"),  # a scale of the whole tensor
    ],
)
def test_equals_one_damping_after_the_other(
    name: str, columns: int, micro_block: int, order: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, seen = weights(24, columns, seed=3).to(device), statistics(columns, device)
    options = GptqOptions(damping_rule="search", micro_block=micro_block, order=order, block_size=48)
    monkeypatch.setattr("bitlaw.kernels.gptq_columns.available", lambda device: False)
    monkeypatch.setattr(damping_search, "serves", lambda *_: False)
    want = gptq(weight, seen, parse_format(name), options)
    asked = []
    monkeypatch.setattr(damping_search, "serves", lambda *_: bool(asked.append(1)) or True)
    made = gptq(weight, seen, parse_format(name), options)
    assert asked
    assert float(((made - want).abs() < 1e-4).float().mean()) >= 0.995


def test_parameters_chosen_by_the_caller_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, seen, grid = weights(8, 32, seed=5), statistics(32, "cpu"), parse_format("mxint4_k16")
    wide = group_parameters(2.0 * weight, grid)
    options = GptqOptions(damping_rule="search", micro_block=16)
    monkeypatch.setattr(damping_search, "serves", lambda *_: False)
    want = solve(weight, seen, grid, options, static=wide)
    assert not torch.equal(want, gptq(weight, seen, grid, options))
    monkeypatch.setattr(damping_search, "serves", lambda *_: True)
    assert torch.equal(solve(weight, seen, grid, options, static=wide), want)


def test_a_hessian_that_no_damping_mends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damping_search, "serves", lambda *_: True)
    bad = InputStatistics.from_hessian(torch.diag(torch.tensor([-1.0] * 32)))
    with pytest.raises(HessianError):
        gptq(
            weights(4, 32, seed=1), bad, parse_format("mxint4_k16"), GptqOptions(damping_rule="search", micro_block=16)
        )


def test_it_serves_micro_blocks_on_a_gpu_only() -> None:
    on_gpu = SimpleNamespace(is_cuda=True)
    assert damping_search.serves(on_gpu, 16)
    assert not damping_search.serves(on_gpu, 1)
    assert not damping_search.serves(weights(4, 32, seed=1), 16)


def test_weights_too_large_for_every_damping_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, seen, grid = weights(8, 32, seed=5), statistics(32, "cpu"), parse_format("mxint4_k16")
    options = GptqOptions(damping_rule="search", micro_block=16)
    want = gptq(weight, seen, grid, options)
    monkeypatch.setattr(damping_search, "serves", lambda *_: True)
    monkeypatch.setattr(damping_search, "NUMBERS_AT_ONCE", 8 * weight.numel() - 1)
    monkeypatch.setattr(damping_search, "solve_dampings", lambda *_, **__: pytest.fail("too large"))
    assert torch.equal(gptq(weight, seen, grid, options), want)


def test_the_best_is_the_first_of_the_least() -> None:
    weight, hessian = torch.zeros(2, 2), torch.eye(2)
    tried = torch.stack([torch.full((2, 2), value) for value in (2.0, 1.0, -1.0, float("nan"))])
    assert torch.equal(damping_search.best_of(tried, [weight], hessian)[0], tried[1])
    two = damping_search.best_of(torch.cat((tried, tried.flip(0)), 1), [weight, weight], hessian)
    assert torch.equal(torch.cat(two), torch.cat((tried[1], tried[2]))), "each weight has its own best"


def test_dampings_that_mend_nothing_are_left_out() -> None:
    """An eigenvalue of -0.05 of a Hessian whose mean diagonal is near 1: shares below it do not help."""
    hessian = torch.eye(8)
    hessian[0, 0] = -0.05
    made = InputStatistics.from_hessian(hessian).inverse_factors((1e-3, 1e-1, 1.0), "none")
    alone = [InputStatistics.from_hessian(hessian).inverse_factor(share, "none") for share in (1e-1, 1.0)]
    assert torch.equal(made, torch.stack(alone))
