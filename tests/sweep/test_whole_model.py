"""Models that are no chain of blocks: run as a whole, with the numbers of a plain re-implementation, and told in the record."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bitlaw.errors import CheckpointError, InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.quantize.nearest import nearest
from bitlaw.records import Variant
from bitlaw.sweep import Decoder, sweep
from bitlaw.sweep.layout import take_apart
from bitlaw.sweep.whole_model import WholeModel
from tests.sweep.families import FAMILIES, VOCABULARY
from tests.sweep.test_families import CALIBRATION, EVALUATION, loss, own_loss

FEW = EVALUATION[:1, :8]


class Mixer(nn.Module):
    """A block: each token with the mean of those up to it, through two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(32, 64)
        self.down = nn.Linear(64, 32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        mean = hidden.cumsum(1) / torch.arange(1, hidden.shape[1] + 1)[:, None]
        return hidden + self.down(torch.tanh(self.up(mean)))


class Odd(nn.Module):
    """Blocks in a list, with something between them that no block knows: `skip` adds the embedding, `memory` a hidden state."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.embed = nn.Embedding(VOCABULARY, 32)
        self.blocks = nn.ModuleList(Mixer() for _ in range(3))
        self.head = nn.Linear(32, VOCABULARY, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        entry = hidden = self.embed(input_ids)
        for block in self.blocks:
            if self.kind == "memory":  # behind the blocks' back: the chain looks whole
                block.memory = entry
            hidden = block(hidden)
            if self.kind == "skip":
                hidden = hidden + entry
            if self.kind == "memory":
                hidden.add_(0.1 * block.memory)
        return SimpleNamespace(logits=self.head(hidden))


class Bare(nn.Module):
    """No list of blocks at all."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 32)
        self.first, self.second = Mixer(), Mixer()
        self.head = nn.Linear(32, VOCABULARY, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.second(self.first(self.embed(input_ids)))))


MODELS = {"skip": lambda: Odd("skip"), "memory": lambda: Odd("memory"), "bare": Bare}
WHY = {"skip": "what a block reads", "memory": "differ by", "bare": "no list of decoder blocks"}


def by_hand(model: nn.Module, stages: list[list[str]], upstream: str) -> nn.Module:
    """Quantize a copy stage by stage, each time looking at the whole model's inputs. No code of the sweep."""
    work = copy.deepcopy(model)
    for names in stages:
        source = model if upstream == "full_precision" else work
        found = {n: InputStatistics(source.get_submodule(n).in_features) for n in names}
        hooks = [
            source.get_submodule(n).register_forward_pre_hook(lambda _, x, n=n, f=found: f[n].add(x[0])) for n in names
        ]
        with torch.no_grad():
            source(input_ids=CALIBRATION)
        for hook in hooks:
            hook.remove()
        for n in names:
            module = work.get_submodule(n)
            module.weight.data = gptq(module.weight.data, found[n], parse_format("int3_g16"), GptqOptions())
    return work


STAGES = {
    "skip": [[f"blocks.{i}.up", f"blocks.{i}.down"] for i in range(3)],
    "memory": [[f"blocks.{i}.up", f"blocks.{i}.down"] for i in range(3)],
    "bare": [["first.up"], ["first.down"], ["second.up"], ["second.down"]],
}


@pytest.mark.parametrize("kind", MODELS)
def test_numbers_are_those_of_the_whole_model(kind: str) -> None:
    model = MODELS[kind]().eval()
    before = copy.deepcopy(model.state_dict())
    upstreams = ("quantized", "full_precision")
    variants = [
        Variant(),
        make_variant("nearest", "int3_g16"),
        *(make_variant("gptq", "int3_g16", {"upstream": upstream}) for upstream in upstreams),
    ]
    ticks: list[tuple[int, int]] = []
    with pytest.warns(UserWarning, match=f"is run as a whole, which is slower: .*{WHY[kind]}"):
        base, rounded, *calibrated = sweep(
            model, variants, EVALUATION, CALIBRATION, batch_windows=4, watch=lambda a, b: ticks.append((a, b))
        )
    assert all(WHY[kind] in r.whole_model for r in (base, rounded, *calibrated))
    assert loss(base.seen) == pytest.approx(own_loss(model, EVALUATION), abs=1e-5)
    work = copy.deepcopy(model)
    for name in [n for stage in STAGES[kind] for n in stage]:
        module = work.get_submodule(name)
        module.weight.data = nearest(module.weight.data, None, parse_format("int3_g16"), None)
    assert loss(rounded.seen) == pytest.approx(own_loss(work, EVALUATION), abs=1e-5)
    for upstream, result in zip(upstreams, calibrated, strict=True):
        expected = by_hand(model, STAGES[kind], upstream)
        assert loss(result.seen) == pytest.approx(own_loss(expected, EVALUATION), abs=1e-4)
    assert len({loss(r.seen) for r in (base, rounded, *calibrated)}) == 4
    assert base.seen.weight_norm == pytest.approx(rounded.seen.weight_norm)
    assert ticks == sorted(ticks)
    assert all(done <= total for done, total in ticks)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_chain_run_as_a_whole_gives_the_numbers_of_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FAMILIES["llama"].make()
    variants = [
        make_variant("nearest", "int3_g16"),
        make_variant("gptq", "int3_g16"),
        make_variant("gptq", "int3_g16", {"upstream": "full_precision"}),
        make_variant("gptq", "int3_g16", {"within_block": "sequential"}),
        make_variant("gptaq", "int3_g16"),
        Variant(activations="int4_token"),
        Variant(activations="int8_tensor"),
    ]
    walked = sweep(model, variants, EVALUATION, CALIBRATION)
    assert not any(r.whole_model for r in walked)
    monkeypatch.setattr("bitlaw.sweep.engine.take_apart", lambda model, ids: (WholeModel(model), "asked for"))
    with pytest.warns(UserWarning, match="asked for"):
        whole = sweep(model, variants, EVALUATION, CALIBRATION)
    for ours, theirs in zip(whole, walked, strict=True):
        assert loss(ours.seen) == pytest.approx(loss(theirs.seen), abs=2e-4)
        assert ours.seen.quantized_layers == theirs.seen.quantized_layers
        assert ours.seen.bits_per_weight == theirs.seen.bits_per_weight


@pytest.mark.parametrize("family", FAMILIES)
def test_every_known_family_is_a_chain(family: str) -> None:
    _, why = take_apart(FAMILIES[family].make(), FEW)
    assert why == ""


def test_failures_and_refusals() -> None:
    model = Odd("skip").eval()
    with (
        pytest.warns(UserWarning, match="slower"),
        pytest.raises(InputError, match="kv_cache=int8_token cannot serve Odd"),
    ):
        sweep(model, [Variant(kv_cache="int8_token")], EVALUATION)
    bad = make_variant("gptq", "int4_g16", {"damping": 0.0})
    with pytest.warns(UserWarning, match="slower"):
        failed, fine = sweep(model, [bad, make_variant("nearest", "int4_g16")], EVALUATION, CALIBRATION[:1, :2])
    assert failed.seen.state == "failed"
    assert "blocks.0.up" in failed.seen.reason
    assert fine.seen.state == "ok"
    with pytest.raises(CheckpointError, match="no list of decoder blocks"):
        Decoder(Bare())
