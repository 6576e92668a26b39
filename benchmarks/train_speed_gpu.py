"""Milliseconds of a training step on one GPU, recorded as a CUDA graph and launched anew, for the studies' models.

    python benchmarks/train_speed_gpu.py --steps 40

128 windows of 512 random tokens, vocabulary 4096, bfloat16, compiled: the studies' settings. One JSON line a model and way, with
the seconds until the first steps are done (starting, compiling) and the peak memory.
"""

import argparse
import json
import time
import warnings

import torch

from bitlaw.train.loop import build_model, loss_function
from bitlaw.train.plan import train_plan
from bitlaw.train.stepping import STEPS_BEFORE_RECORDING, Stepper, adamw

MODELS = {  # architecture, width, layers, heads
    "neox-0.2m": ("gpt_neox", 64, 4, 4),
    "neox-0.8m": ("gpt_neox", 128, 4, 4),
    "neox-3.2m": ("gpt_neox", 256, 4, 8),
    "neox-6.3m": ("gpt_neox", 256, 8, 8),
    "neox-17.7m": ("gpt_neox", 384, 10, 6),
    "neox-37.8m": ("gpt_neox", 512, 12, 8),
    "neox-85m": ("gpt_neox", 768, 12, 12),
    "gpt2-0.8m": ("gpt2", 128, 4, 4),
    "opt-0.8m": ("opt", 128, 4, 4),
    "bloom-0.8m": ("bloom", 128, 4, 4),
    "llama-0.8m": ("llama", 128, 4, 4),
    "mpt-0.8m": ("mpt", 128, 4, 4),
}
WINDOWS, TOKENS, VOCABULARY = 128, 512, 4096


def measured(name: str, record: bool, steps: int) -> dict[str, object]:
    """Return a line for one model and way."""
    architecture, width, layers, heads = MODELS[name]
    model_plan = {"name": name, "architecture": architecture, "width": width, "layers": layers, "heads": heads}
    plan = train_plan(
        {
            "suite": "speed",
            "text": "none",
            "window_tokens": TOKENS,
            "batch_windows": WINDOWS,
            "tokens": 1e6,
            "models": [model_plan | {"peak_learning_rate": 1e-3}],
        }
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    text = {"vocabulary": VOCABULARY, "window_tokens": TOKENS, "end_of_text": 0}
    model = build_model(plan.models[0], text, "cuda")
    loss_of, _ = loss_function(plan, model, "cuda")
    step = Stepper(model, adamw(plan.optimizer, model), loss_of, clip=plan.optimizer.clip, record=record)
    batch = torch.randint(0, VOCABULARY, (WINDOWS, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    for _ in range(2 * STEPS_BEFORE_RECORDING):
        step(batch, 1e-3)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step(batch, 1e-3)
    torch.cuda.synchronize()
    took = (time.perf_counter() - started) / steps
    return {
        "what": "train_step",
        "model": name,
        "recorded": record,
        "milliseconds": 1e3 * took,
        "tokens_per_second": WINDOWS * TOKENS / took,
        "seconds_before": started - began,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    warnings.simplefilter("always")
    for name in given.models:
        for record in (True, False):
            line = json.dumps(measured(name, record, given.steps))
            print(line, flush=True)
            if given.out:
                with open(given.out, "a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
