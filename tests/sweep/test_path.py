"""The loss between two checkpoints: its ends are the checkpoints', its curvature that of the measured points."""

import copy
import math

import pytest
import torch
from torch import nn

from bitlaw.errors import InputError
from bitlaw.sweep.path import training_path
from tests.sweep.models import gpt_neox, llama, windows
from tests.sweep.test_trained import loss_of, sentences, trained

__all__ = ["trained"]
EVALUATION = windows(4, 24, seed=2)


def later_than(model: nn.Module, size: float = 1e-3, seed: int = 1) -> nn.Module:
    moved = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return moved


def test_ends_and_middle_are_those_models(trained: nn.Module) -> None:
    later = later_than(trained, 0.02)
    evaluation = sentences(8, seed=1000)
    before = {name: p.clone() for name, p in trained.named_parameters()}
    path = training_path(trained, later, evaluation, [0.0, 0.5, 1.0], batch_windows=3)
    middle = copy.deepcopy(trained)
    with torch.no_grad():
        for p, q in zip(middle.parameters(), later.parameters(), strict=True):
            p.copy_((p + q) / 2)
    wanted = [loss_of(m, evaluation) for m in (trained, middle, later)]
    assert [point.loss for point in path.points] == pytest.approx(wanted, rel=1e-5)
    assert all(torch.equal(before[name], p) for name, p in trained.named_parameters())
    change = path.everything
    assert change.parameters == sum(p.numel() for p in trained.parameters())
    assert change.change == pytest.approx(0.02 * math.sqrt(change.parameters), rel=0.03)
    assert change.relative == pytest.approx(change.change / change.norm_from)
    flat = [torch.cat([p.detach().flatten() for p in m.parameters()]).double() for m in (trained, later)]
    assert change.cosine == pytest.approx(float(nn.functional.cosine_similarity(*flat, dim=0)), rel=1e-6)
    assert path.linear_layers.parameters == sum(
        p.numel() for name, p in trained.named_parameters() if p.dim() == 2 and "layers" in name
    )


def test_curvature_along_the_path_is_that_of_the_points(trained: nn.Module) -> None:
    later = later_than(trained, 0.01)
    evaluation = sentences(8, seed=1000)
    step = 0.1
    path = training_path(trained, later, evaluation, [-step, 0.0, step])
    below, at, above = (point.loss for point in path.points)
    x = step * path.everything.change
    assert path.begin is not None
    assert path.begin.gradient == pytest.approx((above - below) / (2 * x), rel=0.02)
    assert path.begin.curvature == pytest.approx((above - 2 * at + below) / x**2, rel=0.05)
    assert path.end is not None
    assert path.end.curvature != path.begin.curvature


def test_equal_checkpoints_have_no_direction() -> None:
    model = gpt_neox()
    path = training_path(model, copy.deepcopy(model), EVALUATION, [0.0, 2.0])
    assert path.points[0].loss == path.points[1].loss
    assert (path.everything.change, path.everything.cosine) == (0.0, pytest.approx(1.0))
    assert path.begin is path.end is None


def test_a_path_that_overflows_says_so_and_one_between_different_models_is_refused() -> None:
    model = gpt_neox()
    path = training_path(model, later_than(model), EVALUATION, [1.0, 1e38], curvature=False)
    assert path.points[0].loss is not None
    assert path.points[1].loss is None
    assert "non-finite loss" in path.points[1].reason
    assert path.begin is None
    with pytest.raises(InputError, match="different models"):
        training_path(model, llama(), EVALUATION, [0.0])
