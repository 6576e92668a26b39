from pathlib import Path
from typing import Any

import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.train import read_train_plan
from bitlaw.train.plan import train_plan
from tests.train.conftest import NEOX, small_plan


def test_shipped_plan_has_the_demo_s_sizes() -> None:
    plan = read_train_plan("tiny")
    assert [(m.width, m.layers, m.heads) for m in plan.models] == [(32, 2, 2), (64, 2, 4), (128, 2, 4)]
    assert (plan.suite, plan.text, plan.vocabulary, plan.step_tokens) == ("tiny", "sample:train", 1024, 2048)
    assert all(m.tokens >= 2e6 and len(plan.steps(m)) == 6 for m in plan.models)


@pytest.mark.parametrize("name", ["families", "families-gpu"])
def test_family_plans_have_four_sizes_or_more_of_each_family_and_the_same_in_each(name: str) -> None:
    plan = read_train_plan(name)
    sizes: dict[str, list[tuple[int, int, int, float, float]]] = {}
    for m in plan.models:
        sizes.setdefault(m.architecture, []).append((m.width, m.layers, m.heads, m.peak_learning_rate, m.tokens))
        assert len(plan.steps(m)) >= 2
    assert set(sizes) == {"gpt2", "opt", "bloom", "llama", "gpt_neox", "mpt"}
    assert all(of_family == sizes["gpt2"] for of_family in sizes.values())
    assert len(sizes["gpt2"]) >= 4


def test_resolved_plan_reads_back(text_file: Path) -> None:
    plan = small_plan(text_file, schedule={"kind": "wsd", "decay_share": 0.5})
    assert train_plan(plan.as_dict()) == plan


def test_models_take_what_they_do_not_say_from_the_plan(text_file: Path) -> None:
    own = {"name": "b", **NEOX, "tokens": 64, "seed": 7, "schedule": {"kind": "constant"}}
    plan = small_plan(text_file, schedule={"warmup_tokens": 100}, models=[{"name": "a", **NEOX}, own])
    a, b = plan.models
    assert (a.tokens, a.seed, a.schedule.kind, a.schedule.warmup_tokens) == (768, 1, "cosine", 100)
    assert (b.tokens, b.seed, b.schedule.kind, b.schedule.warmup_tokens) == (64, 7, "constant", 100)
    assert (plan.steps(a), plan.steps(b)) == ((3, 6, 12), (1,))


def test_learning_rate_of_a_step(text_file: Path) -> None:
    plan = small_plan(text_file, schedule={"warmup_tokens": 128, "final_share": 0.1})
    model = plan.models[0]
    assert plan.learning_rate(model, 1) == pytest.approx(0.5e-2)
    assert plan.learning_rate(model, 2) == pytest.approx(1e-2)
    assert plan.learning_rate(model, 12) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suite": "a/b"}, "cannot be a folder"),
        ({"batch_windows": 0}, "batch_windows=0"),
        ({"tokens": -5}, "tokens=-5"),
        ({"tokens": float("nan")}, "tokens=nan"),
        ({"vocabulary": 100}, "vocabulary=100 is below 257"),
        ({"vocabulary": "many"}, r"vocabulary='many' should be of type int"),
        ({"window_tokens": 1}, "window_tokens=1"),
        ({"windowtokens": 1}, "Did you mean 'window_tokens'"),
        ({"dtype": "float16"}, "Unknown dtype"),
        ({"optimizer": {"beta3": 1}}, "Did you mean 'beta"),
        ({"optimizer": {"beta1": 1.0}}, "betas 1.0"),
        ({"optimizer": {"clip": -1.0}}, "clip"),
        ({"schedule": {"kind": "linear"}}, "Unknown schedule"),
        ({"models": []}, "it has none"),
        ({"models": [{"name": "a", **NEOX}] * 2}, "it has a, a"),
        ({"models": [{"name": "a", **NEOX, "heads": 3}]}, "heads=3"),
        ({"models": [{"name": "a", **NEOX, "width": 0}]}, "width=0"),
        ({"models": [{"name": "../a", **NEOX}]}, "cannot be a folder"),
        ({"models": [{"name": "a", "architecture": "llama"}]}, "lacks width, layers, heads, peak_learning_rate"),
    ],
)
def test_plans_that_cannot_be(text_file: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        small_plan(text_file, **changes)


def test_unknown_architecture_offers_the_nearest(text_file: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'llama'"):
        small_plan(text_file, models=[{"name": "a", **NEOX, "architecture": "lama"}])


def test_files_that_are_no_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read the plan .*one of: .*tiny"):
        read_train_plan(tmp_path / "gone.toml")
    path = tmp_path / "plan.toml"
    path.write_text("[train")
    with pytest.raises(InputError, match="not TOML"):
        read_train_plan(path)
    path.write_text("[measure]\nbits = [2]\n")
    with pytest.raises(InputError, match=r"no \[train\] table"):
        read_train_plan(path)
