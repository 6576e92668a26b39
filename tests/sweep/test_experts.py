"""Mixtures of experts: each expert's matrices are layers of their own, whose statistics are of the tokens routed to it."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bitlaw.errors import CheckpointError, InputError
from bitlaw.formats import parse_format
from bitlaw.quantize import InputStatistics, make_variant
from bitlaw.quantize.gptq import GptqOptions, gptq
from bitlaw.records import Variant
from bitlaw.sweep import Decoder, sweep
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.layers import (
    collect_through,
    input_groups,
    linear_layers,
    replaced_weights,
    stages,
    tapped,
    watched,
)
from tests.sweep.families import FAMILIES
from tests.sweep.test_families import CALIBRATION, EVALUATION, loss, own_loss

STACKED = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "granite_moe")


def routed_by_hand(model: nn.Module, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Second moments of what every expert reads, sum of x^T x: from the router's choice, no code of the sweep."""
    found: dict[str, torch.Tensor] = {}

    def look(name: str, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        hidden, choice = inputs[0], inputs[1]
        for expert in range(module.gate_up_proj.shape[0]):
            x = hidden[(choice == expert).any(-1)]
            gate, up = (x @ module.gate_up_proj[expert].T).chunk(2, -1)
            middle = module.act_fn(gate) * up
            found[f"{name}.gate_up_proj.{expert}"] = x.T @ x
            found[f"{name}.down_proj.{expert}"] = middle.T @ middle

    hooks = [
        module.register_forward_pre_hook(lambda m, a, name=name: look(name, m, a))
        for name, module in model.named_modules()
        if name.endswith(".experts")
    ]
    with torch.no_grad():
        model(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe"])
def test_statistics_are_those_of_the_routed_tokens(family: str) -> None:
    model = FAMILIES[family].make()
    expected = routed_by_hand(model, CALIBRATION)
    decoder = Decoder(model)
    stream = [decoder.embed(CALIBRATION)]
    few = decoder.embed(CALIBRATION[:1, :2])  # so few tokens that some experts see none
    checked = 0
    for index in range(len(decoder.blocks)):
        groups = input_groups(decoder, index, few)
        few = decoder.run_block(index, few)
        assert sorted(n.name for g in groups for n in g) == sorted(n.name for n in linear_layers(decoder, index))
        statistics, stream = behind(decoder, index, groups, stream)
        for group, of_group in zip(groups, statistics, strict=True):
            if group[0].expert is not None:
                second = of_group.hessian * of_group.tokens
                assert torch.allclose(second, expected[group[0].name], rtol=1e-3, atol=1e-4 * float(second.abs().max()))
                checked += 1
    assert checked == len(expected) == 16


def behind(decoder, index, groups, stream):
    return collect_through(decoder, index, groups, stream)


@pytest.mark.parametrize("family", STACKED)
def test_routers_and_gates_stay(family: str) -> None:
    decoder = Decoder(FAMILIES[family].make())
    names = [layer.name.removeprefix("model.layers.0.") for layer in linear_layers(decoder, 0)]
    assert not any("gate." in f"{name}." or "router" in name for name in names)
    assert sum(layer.expert is not None for layer in linear_layers(decoder, 0)) == 8  # 4 experts, 2 matrices
    if family == "qwen2_moe":
        assert "mlp.shared_expert.up_proj" in names


@pytest.mark.parametrize("upstream", ["full_precision", "quantized"])
def test_gptq_equals_quantizing_each_expert_by_hand(upstream: str) -> None:
    model = FAMILIES["mixtral"].make()
    (result,) = sweep(model, [make_variant("gptq", "int4_g16", {"upstream": upstream})], EVALUATION, CALIBRATION)
    work, format = copy.deepcopy(model), parse_format("int4_g16")
    for index in range(2):
        source = work if upstream == "quantized" else model
        moments = routed_by_hand(source, CALIBRATION)
        dense = dense_moments(source, f"model.layers.{index}.", CALIBRATION)
        for name, statistics in dense.items():
            module = work.get_submodule(name)
            module.weight.data = gptq(module.weight.data, statistics, format, GptqOptions())
        for own in ("gate_up_proj", "down_proj"):
            stack = work.get_parameter(f"model.layers.{index}.mlp.experts.{own}")
            for expert in range(4):
                moment = InputStatistics.from_hessian(moments[f"model.layers.{index}.mlp.experts.{own}.{expert}"])
                stack.data[expert] = gptq(stack.data[expert].clone(), moment, format, GptqOptions())
    assert loss(result.seen) == pytest.approx(own_loss(work, EVALUATION), abs=2e-4)
    assert abs(loss(result.seen) - own_loss(model, EVALUATION)) > 1e-3
    tokens = CALIBRATION.numel()
    assert result.seen.least_expert_tokens is not None
    assert 0 < result.seen.least_expert_tokens < tokens * 2 / 4  # two of four experts a token: the mean


def dense_moments(model: nn.Module, prefix: str, tokens: torch.Tensor) -> dict[str, InputStatistics]:
    chosen = {n: m for n, m in model.named_modules() if n.startswith(prefix) and isinstance(m, nn.Linear)}
    found = {name: InputStatistics(module.in_features) for name, module in chosen.items()}
    hooks = [m.register_forward_pre_hook(lambda _, x, n=n: found[n].add(x[0])) for n, m in chosen.items()]
    with torch.no_grad():
        model(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    return found


def test_an_expert_without_tokens_is_rounded_to_nearest_and_named() -> None:
    model = FAMILIES["mixtral"].make()
    few = CALIBRATION[:1, :2]  # four choices of an expert in each block, two of them at most differ for each token
    decoder = Decoder(model)
    hidden, unread = decoder.embed(few), []
    for index in range(2):
        read: set[str] = set()
        with watched(linear_layers(decoder, index), lambda layer, _, read=read: read.add(layer.name)):
            hidden = decoder.run_block(index, hidden)
        unread += [n.name for n in linear_layers(decoder, index) if n.name not in read]
    assert 0 < len(unread) < 16
    variant = make_variant("gptq", "int4_g16", {"upstream": "full_precision"})
    (result,) = sweep(model, [variant], EVALUATION, few)
    assert result.seen.state == "ok", result.seen.reason
    assert result.seen.fallback_layers == len(unread)
    assert result.seen.least_expert_tokens == 0
    told = result.seen.fallbacks.split("; ")
    assert sorted(line.split(" ")[0] for line in told) == sorted(unread)
    assert "rounded to nearest" in told[0]
    assert "no token" in told[0]


def test_replaced_weights_of_some_experts() -> None:
    model = FAMILIES["gpt_oss"].make()
    decoder = Decoder(model)
    layers = {layer.name.removeprefix("model.layers.0.mlp.experts."): layer for layer in linear_layers(decoder, 0)}
    one, other = layers["gate_up_proj.2"], layers["gate_up_proj.3"]
    stack = one.stored.data
    before = stack.clone()
    assert one.weight.shape == (one.out_features, one.in_features) == (128, 32)
    assert torch.equal(one.weight, before[2].T)
    new = torch.randn(128, 32)
    with replaced_weights(list(layers.values()), {one.name: new}):
        assert torch.equal(one.weight, new)
        assert torch.equal(one.stored.data[2], new.T)
        assert torch.equal(other.weight, before[3].T)
    assert one.stored.data.data_ptr() == stack.data_ptr()
    assert torch.equal(one.stored.data, before)


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_experts_read_what_a_tap_gives_them(family: str) -> None:
    model = FAMILIES[family].make()
    decoder = Decoder(model)
    hidden = decoder.embed(EVALUATION)
    plain = decoder.run_block(0, hidden)
    layers = [layer for layer in linear_layers(decoder, 0) if layer.expert is not None]
    with tapped(layers, lambda layer, inputs: None):
        assert torch.allclose(decoder.run_block(0, hidden), plain, atol=1e-4)
    downs = [layer for layer in layers if "down_proj" in layer.name]
    with tapped(downs, lambda layer, inputs: torch.zeros_like(inputs)):
        silent = decoder.run_block(0, hidden)
    weights = {layer.name: torch.zeros_like(layer.weight) for layer in downs}
    with replaced_weights(layers, weights):
        assert torch.allclose(silent, decoder.run_block(0, hidden), atol=1e-4)
    assert not torch.allclose(silent, plain, atol=1e-2)


def test_activations_of_experts() -> None:
    model = FAMILIES["qwen2_moe"].make()
    variants = [Variant(activations=name) for name in ("int8_token", "int4_token", "int8_tensor")]
    fine, coarse, static = sweep(model, variants, EVALUATION, CALIBRATION[:1, :4])
    assert coarse.seen.kl_nats > 4 * fine.seen.kl_nats > 0
    assert static.seen.state == "ok"
    with pytest.raises(InputError, match="crossquant8 takes maxima over a window, and model"):
        sweep(model, [Variant(activations="crossquant8")], EVALUATION)


def test_gradients_of_experts() -> None:
    model = FAMILIES["mixtral"].make()
    decoder = Decoder(model)
    layers = [layer for index in range(2) for layer in linear_layers(decoder, index)]
    found = collect_gradients(decoder, layers, [CALIBRATION])
    logits = model(input_ids=CALIBRATION).logits[:, :-1]
    nn.functional.cross_entropy(logits.flatten(0, 1), CALIBRATION[:, 1:].flatten()).backward()
    gradient = model.model.layers[1].mlp.experts.down_proj.grad
    for expert in range(4):
        own = found[f"model.layers.1.mlp.experts.down_proj.{expert}"]
        assert torch.allclose(own.absolute, gradient[expert].abs(), rtol=1e-4, atol=1e-8)


class Stacked(nn.Module):
    """Two matrices in one parameter, and no word on their layout."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.randn(2, 32, 32))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.both[0] @ self.both[1]


class Listed(nn.Module):
    """Experts as a list of modules, with a router beside them, as older code has it."""

    def __init__(self, layers: Iterator[nn.Module]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(layers)
        self.gate = nn.Linear(32, len(self.experts), bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        choice = self.gate(inputs).argmax(-1)
        outputs = torch.zeros_like(inputs)
        for number, expert in enumerate(self.experts):
            here = choice == number
            if here.any():
                outputs[here] = expert(inputs[here])
        return outputs


def test_experts_as_a_list_of_modules() -> None:
    model = FAMILIES["llama"].make()
    for block in model.model.layers:
        block.mlp = Listed(copy.deepcopy(block.mlp) for _ in range(3))
    decoder = Decoder(model)
    layers = linear_layers(decoder, 0)
    assert [layer.expert for layer in layers] == [None] * 4 + [0] * 3 + [1] * 3 + [2] * 3
    assert not any(layer.name.endswith("mlp.gate") for layer in layers)
    (result,) = sweep(model, [make_variant("gptq", "int4_g16")], EVALUATION, CALIBRATION[:1, :3])
    assert result.seen.state == "ok"
    assert result.seen.quantized_layers == 26
    assert result.seen.fallback_layers > 0


def test_a_layout_that_nobody_tells_is_refused() -> None:
    model = FAMILIES["llama"].make()
    model.model.layers[1].mlp = Stacked()
    with pytest.raises(
        CheckpointError, match=r"Stacked keeps several matrices in one parameter \(both \[2, 32, 32\]\)"
    ):
        sweep(model, [make_variant("nearest", "int4_g16")], EVALUATION)
    few = FAMILIES["llama"].make()
    few.model.layers[1].mlp.gates = nn.Parameter(torch.randn(2, 8, 8))  # a hundredth of the block
    (result,) = sweep(few, [make_variant("nearest", "int4_g16")], EVALUATION)
    assert result.seen.quantized_layers == 14


def test_probes_move_experts() -> None:
    model = FAMILIES["mixtral"].make()
    experts = "model.layers.*.mlp.experts.*"
    near, far = (
        make_variant("perturb_random", "none", {"snr_db": ratio, "layers": experts, "taylor": True})
        for ratio in (40.0, 20.0)
    )
    base, close, distant = sweep(model, [Variant(), near, far], EVALUATION)
    assert distant.seen.kl_nats > 10 * close.seen.kl_nats > 0
    stacks = {n: p for n, p in model.named_parameters() if p.dim() == 3}
    layers = [layer for index in range(2) for layer in linear_layers(Decoder(model), index)]
    everything = sum(float(p.detach().double().square().sum()) for p in stacks.values())
    everything += sum(float(n.weight.double().square().sum()) for n in layers if n.expert is None)
    assert base.seen.weight_norm == pytest.approx(everything**0.5)


def test_experts_side_by_side_within_a_block() -> None:
    """Within a block one after the other: experts are one step, as none reads what another makes."""
    model = FAMILIES["mixtral"].make()
    decoder = Decoder(model)
    groups = input_groups(decoder, 0, decoder.embed(EVALUATION))
    steps = stages(groups)
    assert [len(step) for step in steps] == [1, 1, 4, 4]  # query key value; output; gate and up; down
    assert sum(len(step) for step in steps) == len(groups)
    variant = make_variant("gptq", "int4_g16", {"within_block": "sequential"})
    (sequential,) = sweep(model, [variant], EVALUATION, CALIBRATION)
    work, format = copy.deepcopy(model), parse_format("int4_g16")
    for index in range(2):
        prefix = f"model.layers.{index}."
        for names in (("q_proj", "k_proj", "v_proj"), ("o_proj",)):
            for name, statistics in dense_moments(work, prefix, CALIBRATION).items():
                if name.endswith(names):
                    module = work.get_submodule(name)
                    module.weight.data = gptq(module.weight.data, statistics, format, GptqOptions())
        for own in ("gate_up_proj", "down_proj"):
            moments = routed_by_hand(work, CALIBRATION)
            stack = work.get_parameter(f"{prefix}mlp.experts.{own}")
            for expert in range(4):
                moment = InputStatistics.from_hessian(moments[f"{prefix}mlp.experts.{own}.{expert}"])
                stack.data[expert] = gptq(stack.data[expert].clone(), moment, format, GptqOptions())
    assert loss(sequential.seen) == pytest.approx(own_loss(work, EVALUATION), abs=2e-4)


def test_gptaq_compares_dense_layers_only() -> None:
    """The 16-bit network routes other tokens to an expert, so its inputs there are compared with nothing."""
    (paired,) = sweep(FAMILIES["mixtral"].make(), [make_variant("gptaq", "int3_g16")], EVALUATION, CALIBRATION)
    assert paired.seen.state == "ok", paired.seen.reason
    assert paired.seen.quantized_layers == 24
