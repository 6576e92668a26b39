"""How the cost of a sweep grows: seconds against parameters, calibration tokens, evaluated tokens and number of variants.

    python benchmarks/growth.py --out growth.jsonl                                      (a GPU: Pythia's shapes, 4 bits, group 128)
    python benchmarks/growth.py --device cpu --shapes llama-tiny --layers 2 --divide 16 --repeats 1        (to try it out)

One JSON line a point, with what is varied and everything else as in the middle of the range; then a line a range with the slope
of log seconds on log of what is varied, over all points and over the upper half. `performance_page.py` draws them. Random
weights; the baseline is evaluated too, as in every sweep.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.sweep import sweep

LENGTH = 1024
MIDDLE = {"calibration_tokens": 1 << 17, "evaluation_tokens": 1 << 17, "variants": 4}
RANGES = {
    "calibration_tokens": [1 << n for n in range(14, 20)],
    "evaluation_tokens": [1 << n for n in range(14, 20)],
    "variants": [1, 2, 4, 8, 16],
}
KINDS = [(bits, group) for group in (128, 64, 32) for bits in (4, 3, 2, 8, 5, 6)]


def points(names: list[str], middle: str) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield what is varied, the shape and the settings of every point, shape by shape."""
    for name in names:
        yield "parameters", name, dict(MIDDLE)
        for varied, values in RANGES.items() if name == middle else ():
            for value in values:
                yield varied, name, MIDDLE | {varied: value}


def measured(model: Any, settings: dict[str, int], batch: int, device: str) -> float:
    """Return the seconds of one sweep."""
    vocabulary = model.config.vocab_size
    calibration, evaluation = (
        shapes.random_ids(max(settings[f"{name}_tokens"] // LENGTH, 1), LENGTH, vocabulary, seed)
        for seed, name in enumerate(("calibration", "evaluation"))
    )
    variants = [
        make_variant("gptq", f"int{bits}_g{group}", {"upstream": "full_precision"})
        for bits, group in KINDS[: settings["variants"]]
    ]
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    done = sweep(model, [Variant(), *variants], evaluation, calibration, batch_windows=batch)
    if device == "cuda":
        torch.cuda.synchronize()
    bad = [s.seen.reason for s in done if s.seen.state != "ok"]
    if bad:
        raise RuntimeError(f"a variant failed: {bad[0]}")
    return time.perf_counter() - started


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of log y on log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", nargs="+", default=["pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "pythia-2.8b"]
    )
    parser.add_argument(
        "--middle", default="", help="shape for the other ranges (default: the second, or the only one)"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=0, help="so many blocks of each shape (default: all)")
    parser.add_argument("--divide", type=int, default=1, help="all numbers of tokens by this")
    parser.add_argument("--repeats", type=int, default=2, help="runs of a point; the least counts")
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    middle = given.middle or given.shapes[min(1, len(given.shapes) - 1)]
    gpu = shapes.environment() if given.device == "cuda" else f"cpu, torch {torch.__version__}"
    lines: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps(line), flush=True)
        if given.out:
            with open(given.out, "a") as file:
                file.write(json.dumps(line) + "\n")

    model, loaded = None, ""
    for varied, name, undivided in points(given.shapes, middle):
        settings = {k: v // given.divide if "tokens" in k else v for k, v in undivided.items()}
        if name != loaded:
            model = None  # the one before goes first
            model, loaded = shapes.random_model(name, given.device, given.layers), name
            measured(model, {k: 4 * LENGTH if "tokens" in k else 18 for k in MIDDLE}, given.batch, given.device)
        took = min(measured(model, settings, given.batch, given.device) for _ in range(given.repeats))
        value = settings.get(varied, shapes.block_parameters(name) * model.config.num_hidden_layers)
        tell(
            {"what": "growth", "varied": varied, "value": value, "shape": name, **settings, "seconds": took, "gpu": gpu}
        )
    for varied in ("parameters", *RANGES):
        chosen = sorted((p["value"], p["seconds"]) for p in lines if p.get("varied") == varied)
        if len(chosen) < 3:
            continue
        x, y = [float(c[0]) for c in chosen], [float(c[1]) for c in chosen]
        half = math.floor(len(chosen) / 2)
        found = {"slope": slope(x, y), "upper_slope": slope(x[half:], y[half:]) if len(x[half:]) > 1 else None}
        tell({"what": "growth_slope", "of": varied, "shape": middle, **found, "gpu": gpu})


if __name__ == "__main__":
    main()
