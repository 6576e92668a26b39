"""Layer-output error of every method beside nearest's, layer by layer, on the last checkpoints of a suite.

    python benchmarks/layer_errors.py runs/demo/tiny --bits 2 3 4

Every layer sees the inputs of the 16-bit network (no drift, so gptaq is gptq). Printed: the geometric mean and the largest
of error / nearest's error over all layers of all models, and in how many layers a method was worse.
"""

import argparse
import math

import torch

from bitlaw.catalog import METHODS
from bitlaw.errors import InputError
from bitlaw.formats import parse_format, quantize_groups
from bitlaw.quantize import InputStatistics, WeightGradients, find_method
from bitlaw.quantize.error import output_error
from bitlaw.quantize.method import GRADIENTS, INPUTS
from bitlaw.quantize.scalars import scalar
from bitlaw.suites import open_suite
from bitlaw.sweep import Decoder
from bitlaw.sweep.gradients import collect_gradients
from bitlaw.sweep.layers import collect, input_groups, linear_layers
from bitlaw.text import open_text, token_windows

Layer = tuple[str, torch.Tensor, InputStatistics, WeightGradients]
EXTRA = ("gptq damping_rule=search", "gptq order=activation", "gptq order=group_aware")
EXTRA += ("gptq scales=block", "gptq scales=static")


@torch.no_grad()
def layers_of(checkpoint, windows: int) -> list[Layer]:
    """Name, weight, input statistics and gradients of every layer."""
    model, _ = checkpoint.load("cpu", "float32")
    decoder = Decoder(model)
    length = model.config.max_position_embeddings
    text = token_windows(checkpoint.load_tokenizer(), open_text("sample:train"), length, windows=windows, seed=0)
    chunks = list(torch.from_numpy(text.ids.astype("int64")).split(16))
    every = [layer for index in range(len(decoder.blocks)) for layer in linear_layers(decoder, index)]
    gradients = collect_gradients(decoder, every, chunks)
    stream = [decoder.embed(ids) for ids in chunks]
    found: list[Layer] = []
    for index in range(len(decoder.blocks)):
        groups = input_groups(decoder, index, stream[0])
        statistics, stream = collect(decoder, index, groups, stream)
        for group, made in zip(groups, statistics, strict=True):
            found += [(layer.name, layer.module.weight.data.clone(), made, gradients[layer.name]) for layer in group]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--bits", nargs="+", default=["2", "3", "4"])
    parser.add_argument("--format", default="int{bits}_g32")
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--method", action="append", help="a line such as 'crossquant alpha=0.15'; default all")
    given = parser.parse_args()
    last = {c.described.model: c for c in open_suite(given.suite).checkpoints}
    layers = [layer for checkpoint in last.values() for layer in layers_of(checkpoint, given.windows)]
    print(f"{len(layers)} layers of {', '.join(last)}; {given.format}\n")
    print("| method | bits | mean ratio | largest ratio | layers worse than nearest |\n|---|---|---|---|---|")
    for line in given.method or [*METHODS, *EXTRA]:
        name, *pairs = line.split()
        method = find_method(name)
        options = method.make_options({k: scalar(v) for k, v in (p.split("=", 1) for p in pairs)})
        needs = method.needs(options)
        for bits in given.bits:
            grid = parse_format(given.format.format(bits=bits))
            ratios = []
            for _, weight, statistics, gradients in layers:
                given_to = gradients if GRADIENTS in needs else statistics if INPUTS in needs else None
                try:
                    made = method.quantize(weight, given_to, grid, options).weight
                except InputError as error:
                    print(f"| {line} | {bits} | {error} | | |")
                    break
                base = output_error(weight, quantize_groups(weight, grid), statistics.hessian)
                ratios.append(output_error(weight, made, statistics.hessian) / base)
            else:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                print(f"| {line} | {bits} | {mean:.3f} | {max(ratios):.3f} | {sum(r > 1 + 1e-6 for r in ratios)} |")


if __name__ == "__main__":
    main()
