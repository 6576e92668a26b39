"""A model larger than the GPU: a 70B-shaped checkpoint with random weights is written to disk and swept block by block.

    python benchmarks/larger_than_gpu.py write FOLDER --blocks 20             (1.7 GB a block, 4.2 GB of embedding and head)
    python benchmarks/larger_than_gpu.py sweep FOLDER --calibration 128 --evaluation 64
    python benchmarks/larger_than_gpu.py sweep FOLDER --device cuda:0,cuda:1       (spread over GPUs instead, each with a range of blocks)
    python benchmarks/larger_than_gpu.py write FOLDER --shape llama-tiny --blocks 4; ... sweep FOLDER --device cpu --tokens 64

The second prints one JSON line: peak GPU memory, seconds in all and a block, bytes read, and the seconds that all 80 blocks
would take, from the seconds of the blocks that are there (spread over GPUs, blocks are read before the walk begins). Variants: 4 bits, group 128, nearest and GPTQ, upstream quantized.
"""

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes

from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import spread, sweep

SHAPES = ("llama-3-70b", "llama-tiny")


def write(folder: Path, shape: str, blocks: int, device: str) -> None:
    """Write the checkpoint, a file for what lies outside the blocks and one for each block."""
    folder.mkdir(parents=True, exist_ok=True)
    made = shapes.config(shape, blocks)
    made.architectures, made.dtype = ["LlamaForCausalLM"], torch.bfloat16
    made.save_pretrained(folder)
    with torch.device("meta"):
        model: Any = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16)
    files: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict().items():
        block = name.split(".")[2] if name.startswith("model.layers.") else "outside"
        files.setdefault(f"model-{block}.safetensors", {})[name] = tensor
    generator = torch.Generator(device).manual_seed(0)
    for file, tensors in files.items():
        drawn = {}
        for name, tensor in tensors.items():
            if tensor.dim() == 1:
                drawn[name] = torch.ones(tensor.shape, dtype=torch.bfloat16)
            else:
                noise = torch.randn(tensor.shape, generator=generator, device=device, dtype=torch.bfloat16)
                drawn[name] = (0.02 * noise).cpu()
        save_file(drawn, folder / file, metadata={"format": "pt"})
    where = {name: file for file, tensors in files.items() for name in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def forget_peaks(devices: list[str]) -> None:
    """Let the peak of each GPU's memory begin anew.

    Before CUDA has begun, the allocator knows no GPU, and one that is named by its number is an invalid argument.
    """
    torch.cuda.init()
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)


def run(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Sweep the checkpoint and return what it took."""
    devices = given.device.split(",")
    on_gpu = devices[0].startswith("cuda")
    made = LlamaConfig.from_pretrained(folder)
    draw = torch.Generator().manual_seed(1)
    evaluation, calibration = (
        torch.randint(0, made.vocab_size, (windows, given.tokens), generator=draw)
        for windows in (given.evaluation, given.calibration)
    )
    group = 128 if made.hidden_size >= 1024 else 32
    variants = [Variant(), make_variant("nearest", f"int4_g{group}"), make_variant("gptq", f"int4_g{group}")]
    marks: list[float] = []
    if on_gpu:
        forget_peaks(devices)
    started = time.perf_counter()
    dtype = torch.bfloat16 if on_gpu else torch.float32
    with closing(StreamedModel(folder, devices[0], dtype)) as streamed:
        model = spread(streamed, devices) if len(devices) > 1 else streamed
        opened = time.perf_counter()
        results = sweep(
            model, variants, evaluation, calibration, batch_windows=given.batch,
            watch=lambda done, total: marks.append(time.perf_counter()),
        )  # fmt: skip
    ended = time.perf_counter()
    peaks = [torch.cuda.max_memory_allocated(device) / 1e9 for device in devices if on_gpu]
    steps = len(variants)  # a step for each variant and one for the baseline, a block
    behind = marks[steps - 1 : steps * made.num_hidden_layers : steps]
    of_block = [b - a for a, b in zip([marks[0], *behind], behind)][1:] or [behind[0] - opened]
    return {
        "what": "larger_than_gpu",
        "shape": given.shape,
        "blocks": made.num_hidden_layers,
        "of_blocks": 80,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "devices": len(devices),
        "torch": torch.__version__,
        "calibration": [given.calibration, given.tokens],
        "evaluation": [given.evaluation, given.tokens],
        "checkpoint_gb": sum(f.stat().st_size for f in folder.glob("*.safetensors")) / 1e9,
        "peak_gpu_gb": max(peaks) if on_gpu else None,
        "peak_gpu_gb_each": peaks,
        "seconds": ended - started,
        "seconds_before_the_walk": opened - started,
        "seconds_a_block": sum(of_block) / len(of_block),
        "seconds_all_blocks": ended - started + (80 - made.num_hidden_layers) * sum(of_block) / len(of_block),
        "states": [r.seen.state for r in results],
        "notes": sorted({r.notes for r in results}),
        "nats_a_token": [r.seen.nats / r.seen.tokens_scored for r in results if r.seen.tokens_scored],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "sweep"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3-70b")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--calibration", type=int, default=128)
    parser.add_argument("--evaluation", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    if given.what == "write":
        device = given.device if torch.cuda.is_available() else "cpu"
        write(given.folder, given.shape, given.blocks, device)
    else:
        line = json.dumps(run(given.folder, given))
        print(line)
        if given.out:
            with open(given.out, "a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
