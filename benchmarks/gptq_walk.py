"""A gptq variant's weights, and nats of each window, for paired comparisons that sums in a store cannot give.

The walk is the sweep's (engine.py) for one variant, written out; its QiD equals the stored one.
"""

import math
from collections.abc import Mapping

import torch

from bitlaw.formats import parse_format
from bitlaw.quantize import find_method
from bitlaw.records import Variant
from bitlaw.sweep import Decoder
from bitlaw.sweep.layers import collect, input_groups, linear_layers, replaced_weights

Weights = dict[str, torch.Tensor]
BATCH = 32


@torch.no_grad()
def gptq_weights(model: torch.nn.Module, variant: Variant, calibration: torch.Tensor, batch: int = BATCH) -> Weights:
    """Quantized weight [out, in] of every linear layer by qualified name. calibration [windows, T], read `batch` at once."""
    method, format = find_method(variant.method), parse_format(variant.format)
    options = method.make_options(variant.options)
    decoder = Decoder(model)
    stream = [decoder.embed(ids) for ids in calibration.split(batch)]
    made: Weights = {}
    for index in range(len(decoder.blocks)):
        layers = linear_layers(decoder, index)
        groups = input_groups(decoder, index, stream[0])
        sequential = options.within_block == "sequential"
        for gathered in [[g] for g in groups] if sequential else [groups]:
            known = {layer.name: made[layer.name] for layer in layers if layer.name in made}
            statistics = collect(decoder, index, gathered, stream, weights=known)
            for group, inputs in zip(gathered, statistics, strict=True):
                for layer in group:
                    weight = layer.module.weight.data.float()
                    made[layer.name] = method.quantize(weight, inputs, format, options, layer.name).weight
        kept = made if options.upstream == "quantized" else {}
        with replaced_weights(layers, kept):
            stream = [decoder.run_block(index, hidden) for hidden in stream]
    return made


@torch.no_grad()
def window_nats(model: torch.nn.Module, ids: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Nats of each window under other weights, [windows], float64. ids [windows, T]; the first token is not scored."""
    modules = {name: model.get_submodule(name) for name in weights}
    originals = {name: module.weight.data for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.weight.data = weights[name]
        return torch.cat([_nats(model(input_ids=chunk, use_cache=False).logits, chunk) for chunk in ids.split(BATCH)])
    finally:
        for name, module in modules.items():
            module.weight.data = originals[name]


def _nats(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    log_probabilities = torch.log_softmax(logits[:, :-1].float(), -1)
    return -log_probabilities.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1).double().sum(1)


def paired(nats: torch.Tensor, other: torch.Tensor, tokens: int) -> tuple[float, float]:
    """Mean of nats - other per token and its paired standard error; both [windows] of `tokens` scored tokens."""
    difference = (nats - other) / tokens
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))
