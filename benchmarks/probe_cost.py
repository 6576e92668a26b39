"""What probes of the loss landscape cost: processor seconds on a CPU (a shared machine does not change them), wall seconds on a GPU.

    python benchmarks/probe_cost.py runs/families llama-400k [--device cuda]

1. `bitlaw probe`'s sweep (the 16-bit model and one direction at 13 distances, 32 windows; then with compensated noise beside them, and the inputs
   it needs) over one evaluation of the 16-bit model on 256 windows: at most 3 is wanted.
2. The plan `grid` on that checkpoint: its quantizations alone, and with as many probes beside them: at most 1.5 is wanted.
3. The same of GPTQ with its defaults, where every variant has a calibration stream of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

from bitlaw.measure import MeasurePlan, measure_plan, read_plan
from bitlaw.measure.foreign import find_original
from bitlaw.measure.running import evaluation_windows_of
from bitlaw.probe import CALIBRATION_WINDOWS, SNR_DB, WINDOWS, compensated_variants
from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites import Suite, open_suite
from bitlaw.sweep import sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("checkpoint", help="MODEL or MODEL@STEP")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--windows", type=int, default=256, help="of a usual evaluation")
    parser.add_argument("--text", default="sample:evaluation")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    suite = open_suite(given.suite)
    checkpoint = find_original(suite, given.checkpoint)
    alone = Suite(name=suite.name, folder=suite.folder, checkpoints=(checkpoint,), training_text=suite.training_text)
    plan = MeasurePlan(
        variants=(make_variant("perturb_random", "none"),), evaluation=given.text, evaluation_windows=given.windows
    )
    ids = torch.from_numpy(evaluation_windows_of(plan, alone).ids.astype(np.int64))
    model, _ = checkpoint.load(given.device, "float32")

    def seconds(variants: Sequence[Variant], windows: int, inputs: int = 128) -> float:
        least = float("inf")
        for _ in range(given.repeats):
            begun = now(given.device)
            sweep(model, variants, ids[:windows], ids[:inputs], batch_windows=32)
            least = min(least, now(given.device) - begun)
        return least

    once = seconds([Variant()], given.windows)
    line = [make_variant("perturb_random", "none", {"snr_db": float(db)}) for db in SNR_DB]
    probed = seconds([Variant(), *line], WINDOWS)
    print(f"{given.checkpoint} on {given.device}: 16-bit model, {given.windows} windows: {once:.3f} s")
    print(f"probe, {len(line)} distances, {WINDOWS} windows: {probed:.3f} s = {probed / once:.2f} evaluations")
    noise = compensated_variants()
    probed = seconds([Variant(), *line, *noise], WINDOWS, CALIBRATION_WINDOWS)
    print(
        f"with {len(noise)} of compensated noise, {CALIBRATION_WINDOWS} windows of inputs: {probed:.3f} s = {probed / once:.2f} evaluations"
    )
    given.repeats = 2
    grid = measure_plan(read_plan("grid")).variants
    ways = {
        "the grid's quantizations": [v for v in grid if v.method in ("nearest", "gptq")],
        "GPTQ, upstream quantized": [
            make_variant("gptq", f"int{bits}_g{g}_short") for bits in (2, 3, 4, 8) for g in (32, 128)
        ],
    }
    for name, quantized in ways.items():
        probes = [v for v in grid if v.is_probe][: len(quantized)]
        first, both = seconds(quantized, 64), seconds([*quantized, *probes], 64)
        print(
            f"{name}: {len(quantized)}, 64 windows: {first:.2f} s; with {len(probes)} probes {both:.2f} s = {both / first:.2f}x"
        )


def now(device: str) -> float:
    """Return processor seconds of this process on a CPU, wall seconds behind all work on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
