from pathlib import Path

import numpy as np
import pytest
import torch

from bitlaw.catalog import ARCHITECTURES
from bitlaw.errors import InputError
from bitlaw.suites.weights import count_parameters
from bitlaw.train.corpus import Batches
from bitlaw.train.files import locked, place_folder, replace_file
from bitlaw.train.head_loss import CHUNK_ROWS, head_loss
from bitlaw.train.plan import ModelPlan
from bitlaw.train.schedule import Schedule


@pytest.mark.parametrize("rows", [1, 7, CHUNK_ROWS, 2 * CHUNK_ROWS + 3])
def test_head_loss_is_cross_entropy_with_its_gradients(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = (3 * torch.randn(50, 12, generator=generator, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(0, 50, (rows,), generator=generator)
    ours = head_loss(hidden, weight, targets)
    theirs = torch.nn.functional.cross_entropy(hidden @ weight.T, targets)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for a, b in zip(torch.autograd.grad(2 * ours, (hidden, weight)), torch.autograd.grad(2 * theirs, (hidden, weight))):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-14)


def test_head_loss_with_huge_logits_is_finite() -> None:
    hidden = torch.full((4, 2), 1e3)
    loss = head_loss(hidden, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([0, 1, 0, 1]))
    assert loss.item() == pytest.approx(2000.0)


def test_batches_see_every_token_once_an_epoch_in_an_order_of_their_own() -> None:
    ids = np.arange(10 * 4 + 3, dtype=np.int32)  # ten windows of 4, and a tail
    batches = Batches(ids, window_tokens=4, batch_windows=5, seed=3)
    assert batches.windows == 10
    epochs = [np.concatenate([batches.batch(s) for s in pair]) for pair in ((0, 1), (2, 3))]
    for epoch in epochs:
        assert sorted(epoch[:, :-1].ravel().tolist()) == list(range(40))
        assert np.array_equal(epoch[:, 1:], epoch[:, :-1] + 1)  # labels are the next tokens
    assert not np.array_equal(*epochs)
    late = Batches(ids, window_tokens=4, batch_windows=5, seed=3).batch(3)  # asked for out of order
    assert np.array_equal(late, batches.batch(3))
    assert not np.array_equal(late, Batches(ids, window_tokens=4, batch_windows=5, seed=4).batch(3))


def test_batches_larger_than_the_text() -> None:
    batches = Batches(np.arange(9, dtype=np.int32), window_tokens=4, batch_windows=7, seed=0)
    assert batches.batch(5).shape == (7, 5)
    with pytest.raises(InputError, match="3 tokens, but one window needs 5"):
        Batches(np.arange(3, dtype=np.int32), window_tokens=4, batch_windows=1, seed=0)


def plan_of(architecture: str, width: int = 32, heads: int = 2) -> ModelPlan:
    return ModelPlan(
        name="m", architecture=architecture, width=width, layers=3, heads=heads, peak_learning_rate=1e-3, tokens=1e3,
        seed=0, schedule=Schedule(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "expected", "embeddings"),
    [
        ("gpt_neox", 3 * (12 * 32**2 + 13 * 32) + 2 * 32, 2 * 300),
        ("llama", 3 * (4 * 32**2 + 3 * 32 * 96 + 2 * 32) + 32, 2 * 300),
        ("gpt2", 3 * (12 * 32**2 + 13 * 32) + 2 * 32, 300 + 16),
        ("opt", 3 * (12 * 32**2 + 13 * 32) + 2 * 32, 300 + 16 + 2),
        ("bloom", 3 * (12 * 32**2 + 13 * 32) + 4 * 32, 300),
        ("mpt", 3 * (12 * 32**2 + 2 * 32) + 32, 300),
    ],
)
def test_architectures_have_the_parameters_they_say(architecture: str, expected: int, embeddings: int) -> None:
    from transformers import AutoModelForCausalLM

    config = ARCHITECTURES[architecture].load()(plan_of(architecture), vocabulary=300, window_tokens=16, end_of_text=0)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    count = count_parameters({name: tuple(p.shape) for name, p in model.named_parameters()})  # a tied head once
    assert (count.non_embedding, count.total) == (expected, expected + embeddings * 32)


def test_every_architecture_follows_the_contract() -> None:
    for name, entry in ARCHITECTURES.items():
        config = entry.load()(plan_of(name), vocabulary=300, window_tokens=16, end_of_text=5)
        assert (config.vocab_size, config.eos_token_id) == (300, 5)
        longest = getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", 16))
        assert longest >= 16


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_mode_is_the_same_function_so_models_train_in_evaluation_mode(name: str) -> None:
    from transformers import AutoModelForCausalLM

    config = ARCHITECTURES[name].load()(plan_of(name), vocabulary=300, window_tokens=16, end_of_text=5)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    ids = torch.arange(32).view(2, 16)
    losses, gradients = [], []
    for mode in (True, False):
        model.train(mode).zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        torch.autograd.backward(loss)
        losses.append(loss.item())
        gradients.append(model.get_input_embeddings().weight.grad.clone())
    assert losses[0] == losses[1]
    torch.testing.assert_close(*gradients)
    assert (gradients[0][ids[:, :-1].flatten()].norm(dim=1) > 0).all()  # no token is left out as padding


def test_neox_heads_too_small_to_rotate() -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        ARCHITECTURES["gpt_neox"].load()(plan_of("gpt_neox", heads=8), vocabulary=300, window_tokens=16, end_of_text=0)


def test_files_and_folders_are_whole_or_absent(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        (path / "half" if path.is_dir() else path).write_text("half")
        raise RuntimeError("killed")

    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(RuntimeError):
        replace_file(file, broken)
    assert file.read_text() == "old"
    replace_file(file, lambda path: path.write_text("new"))
    assert file.read_text() == "new"
    folder = tmp_path / "folder"
    with pytest.raises(RuntimeError):
        place_folder(folder, broken)
    assert not folder.exists()
    place_folder(folder, lambda path: (path / "a").write_text("1"))
    place_folder(folder, broken)  # it is there, so nothing is made
    assert [p.name for p in folder.iterdir()] == ["a"]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", wait=False, busy="busy"),
        pytest.raises(InputError, match="busy"),
        locked(tmp_path / "lock", wait=False, busy="busy"),
    ):
        pass
    with locked(tmp_path / "lock", wait=False, busy="busy"):
        pass
