"""Seconds of the sweep on one GPU: one GPTQ variant, or twelve with their evaluation, by stage and against the roofline.

    python benchmarks/sweep_gpu.py one --shape pythia-1.4b
    python benchmarks/sweep_gpu.py twelve --shape llama-3-8b
    python benchmarks/sweep_gpu.py paper --shape pythia-1b        (the first paper's three variants, its settings)

`one`: 4 bits, group 128, upstream from the quantized network, 128 x 2048 calibration tokens, no evaluation to speak of (one
window): what llm-compressor times as a quantization. `twelve`: 2, 3, 4, 8 bits x group 32, 64, 128, upstream full
precision, evaluated on 1000 x 1024 tokens beside the baseline; the yardstick is transformers' own forward with its
cross-entropy on the same windows. Random weights, bfloat16. --stages times each part with the GPU drained before and behind it, in a
run of its own. `roofline` is operations over measured rates, summed over stages, by the measured time. --compile runs the blocks
through torch.compile; what that costs is told apart: the seconds that a first sweep of two blocks takes longer than a second, and the
graphs that were made during the runs that are timed (none, if those of the two serve all).
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.kernels import moments
from bitlaw.quantize import make_variant
from bitlaw.quantize.statistics import InputStatistics
from bitlaw.records import Variant
from bitlaw.sweep import Decoder, SweptVariant, sweep
from bitlaw.sweep.compiled import CompiledBlocks
from bitlaw.sweep.score import Tally

CALIBRATION = (128, 2048)


class Stages:
    """Wall seconds by stage, the GPU drained at both ends of each; nested calls count for the inner stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []
        self._undo: list[tuple[Any, str, Any]] = []

    def watch(self, owner: Any, name: str, stage: str) -> None:
        real = getattr(owner, name)
        self._undo.append((owner, name, real))

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            torch.cuda.synchronize()
            started = time.perf_counter()
            try:
                return real(*arguments, **keywords)
            finally:  # a block that is ended behind its last wanted input counts too
                torch.cuda.synchronize()
                took = time.perf_counter() - started
                self.seconds[stage] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        setattr(owner, name, timed)

    def stop(self) -> None:
        for owner, name, real in self._undo:
            setattr(owner, name, real)


def watch_all() -> Stages:
    import bitlaw.quantize.stacked as stacked

    stages = Stages()
    stages.watch(InputStatistics, "add", "statistics")
    stages.watch(InputStatistics, "inverse_factor", "factor")
    stages.watch(stacked, "solve_on_gpu", "columns")
    stages.watch(Decoder, "run_block", "blocks")
    stages.watch(CompiledBlocks, "run", "blocks")
    stages.watch(CompiledBlocks, "inputs", "blocks")
    stages.watch(Decoder, "head", "head")
    stages.watch(Tally, "add", "score")
    return stages


def operations(
    shape: str, layers: int, calibrated_passes: float, variants: int, evaluation_tokens: int, ceilings: dict[str, float]
) -> dict[str, float]:
    """Return seconds each stage would take at the measured rates. calibrated_passes: forward passes over calibration tokens."""
    made = shapes.config(shape)
    groups, blocks = shapes.linear_shapes(shape)
    blocks = layers or blocks
    tokens = CALIBRATION[0] * CALIBRATION[1]
    share = (moments.PANELS + 1) / (2 * moments.PANELS)
    per_token = 2.0 * shapes.block_parameters(shape) * blocks
    attention = 2.0 * made.hidden_size * blocks  # causal scores and values: 4 T H / 2 a token and block, times T
    forward = tokens * calibrated_passes * (per_token + attention * CALIBRATION[1])
    evaluation = evaluation_tokens * (per_token + attention * 1024)
    own = max(calibrated_passes, 1.0) / 2 if calibrated_passes > 1 else 1.0
    return {
        "statistics": own * share * 2.0 * tokens * sum(n * n for n, _ in groups) * blocks / ceilings["bf16"],
        "factor": own * sum(n**3 / 3 for n, _ in groups) * blocks * (1 / ceilings["cholesky"] + 1 / ceilings["fp32"]),
        "columns": variants * sum(n * n * sum(rows) for n, rows in groups) * blocks / ceilings["fp32"],
        "blocks": (forward + evaluation) / ceilings["bf16"],
        "head": 2.0 * made.hidden_size * made.vocab_size * evaluation_tokens / ceilings["bf16"],
        "score": 0.0,
    }


def bare_seconds(model: nn.Module, ids: torch.Tensor, batch: int) -> float:
    """Return the seconds of transformers' own forward and cross-entropy on all windows."""

    def work() -> None:
        with torch.no_grad():
            for start in range(0, len(ids), batch):
                part = ids[start : start + batch].cuda()
                logits = model(input_ids=part, use_cache=False).logits[:, :-1]
                nn.functional.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten())

    return shapes.seconds(work)


def warm_up(
    shape: str,
    variants: Sequence[Variant],
    evaluation: torch.Tensor,
    calibration: torch.Tensor,
    batch: int,
    compile: str,
) -> float:
    """Return the seconds of a sweep of two blocks and one batch of windows: what compiling costs, mostly, the first time."""
    model = shapes.random_model(shape, layers=2)  # what is done only in the first block, and only in later ones
    texts = evaluation[:batch], calibration[:batch]
    return shapes.seconds(lambda: sweep(model, variants, *texts, batch_windows=batch, compile=compile))


def graphs_made() -> int:
    """Return how many graphs torch.compile has made in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("one", "twelve", "paper"))
    parser.add_argument("--shape", default="pythia-160m")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=0, help="so many blocks of the shape (default: all)")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--compile", default="no", choices=("auto", "yes", "no"))
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    ceilings = shapes.ceilings()
    torch.cuda.empty_cache()
    print(shapes.environment(), flush=True)
    print({name: f"{value / 1e12:.3g} T/s" for name, value in ceilings.items()}, flush=True)
    model = shapes.random_model(given.shape, layers=given.layers)
    vocabulary = model.config.vocab_size
    calibration = shapes.random_ids(*CALIBRATION, vocabulary, seed=1)
    if given.what == "one":
        variants = [make_variant("gptq", "int4_g128")]
        evaluation = shapes.random_ids(1, 2048, vocabulary, seed=2)
        roof = operations(given.shape, given.layers, 2, 1, 0, ceilings)
    elif given.what == "twelve":
        variants = [
            make_variant("gptq", f"int{bits}_g{group}", {"upstream": "full_precision"})
            for bits in (2, 3, 4, 8)
            for group in (32, 64, 128)
        ]
        evaluation = shapes.random_ids(given.windows, 1024, vocabulary, seed=2)
        roof = operations(given.shape, given.layers, 1, 12, 13 * evaluation.numel(), ceilings)
    else:
        settings = {"damping": 0.1, "within_block": "sequential"}
        variants = [make_variant("gptq", f"int{bits}_g128_sym", settings) for bits in (2, 3, 4)]
        evaluation = shapes.random_ids(given.windows, 1024, vocabulary, seed=2)
        roof = operations(given.shape, given.layers, 6, 3, 4 * evaluation.numel(), ceilings)
    result: dict[str, Any] = {
        "what": given.what,
        "shape": given.shape,
        "layers": model.config.num_hidden_layers,
        "ceilings": ceilings,
        "gpu": shapes.environment(),
    }
    warm = partial(warm_up, given.shape, variants, evaluation, calibration, given.batch)
    result["warm_up"] = warm("no")
    print(f"two blocks, one batch, kernels compiled: {result['warm_up']:.1f} s", flush=True)
    if given.compile != "no":
        first, second = warm("yes"), warm("yes")
        result["compile_seconds"], result["graphs"] = first - second, graphs_made()
        print(f"blocks compiled: {first - second:.1f} s, {result['graphs']} graphs", flush=True)
    if given.what != "one":
        bare_seconds(model, evaluation[: given.batch], given.batch)
        result["bare"] = bare_seconds(model, evaluation, given.batch)
        print(f"bare evaluation forward: {result['bare']:.2f} s", flush=True)

    def swept() -> Sequence[SweptVariant]:
        every = [Variant(), *variants]
        return sweep(model, every, evaluation, calibration, batch_windows=given.batch, compile=given.compile)

    runs = []
    graphs = graphs_made()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(given.repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        done = swept()
        torch.cuda.synchronize()
        runs.append(time.perf_counter() - started)
        result["states"] = sorted({s.seen.state for s in done})
        result["notes"] = sorted({s.notes for s in done})
        result["compiled"] = all(s.compiled for s in done)
        result["qid"] = [
            (s.seen.nats - done[0].seen.nats) / s.seen.tokens_scored for s in done[1:] if s.seen.tokens_scored
        ]
        said = f"states {result['states']}, compiled {result['compiled']}, notes {result['notes']}"
        print(f"sweep: {runs[-1]:.2f} s, {said}", flush=True)
    result["sweep"] = min(runs)
    result["graphs_while_timed"] = graphs_made() - graphs
    print(
        f"graphs made in the runs timed: {result['graphs_while_timed']}; first QiD {result['qid'][:3]} nats", flush=True
    )
    result["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    result["roofline_seconds"] = roof
    result["share_of_roofline"] = sum(roof.values()) / result["sweep"]
    print(f"peak {result['peak_gib']:.1f} GiB; {result['share_of_roofline']:.1%} of the roofline", flush=True)
    if "bare" in result:
        result["variants_and_baseline_over_bare"] = result["sweep"] / result["bare"]
        print(
            f"{result['variants_and_baseline_over_bare']:.2f} bare forwards for {len(variants) + 1} evaluations",
            flush=True,
        )
    if given.stages:
        stages = watch_all()
        staged = shapes.seconds(swept)
        stages.stop()
        result["staged_total"] = staged
        result["stages"] = {**stages.seconds, "rest": staged - sum(stages.seconds.values())}
        print("| stage | seconds | roofline seconds |\n|---|---|---|", flush=True)
        for name, took in result["stages"].items():
            print(f"| {name} | {took:.2f} | {roof.get(name, 0.0):.2f} |", flush=True)
    if given.out:
        with open(given.out, "a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
