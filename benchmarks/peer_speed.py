"""Seconds of llm-compressor's GPTQ on a model of a known shape, one GPU: its `oneshot`, loading and saving not counted.

    python benchmarks/peer_speed.py --shape pythia-1.4b --out peer.jsonl        (llm-compressor installed beside bitlaw)

The same random weights' shapes, 128 x 2048 random calibration tokens, 4 bits, group 128, as `sweep_gpu.py one`. It reads the model from a
folder, so one is written first, to --folder.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

try:
    from benchmarks import gpu_shapes as shapes
except ImportError:  # run as a script
    import gpu_shapes as shapes


def write_model(shape: str, folder: Path, layers: int) -> None:
    """Write random weights and a tokenizer of as many words as the vocabulary, if they are not there."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    if (folder / "config.json").exists():
        return
    model = shapes.random_model(shape, layers=layers)
    model.save_pretrained(folder)
    words = {f"w{number}": number for number in range(model.config.vocab_size)}
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), pad_token="w1")
    made.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="pythia-160m")
    parser.add_argument("--layers", type=int, default=0, help="so many blocks of the shape (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/peer-models"))
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    import llmcompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from datasets import Dataset

    folder = given.folder / f"{given.shape}-{given.layers}"
    write_model(given.shape, folder, given.layers)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cuda")
    vocabulary = model.config.vocab_size
    ids = shapes.random_ids(128, 2048, vocabulary, seed=1).numpy()
    args = QuantizationArgs(num_bits=4, type="int", symmetric=False, strategy="group", group_size=128)
    recipe = GPTQModifier(
        ignore=["embed_out", "lm_head"],
        dampening_frac=0.01,
        block_size=128,
        config_groups={"all": QuantizationScheme(targets=["Linear"], weights=args)},
        actorder=None,
    )
    rows = {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}
    dataset = Dataset.from_dict(rows)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    started = time.perf_counter()
    oneshot(
        model=model,
        processor=AutoTokenizer.from_pretrained(folder),
        dataset=dataset,
        recipe=[recipe],
        max_seq_length=2048,
        num_calibration_samples=128,
        shuffle_calibration_samples=False,
    )
    torch.cuda.synchronize()
    took = time.perf_counter() - started
    result = {
        "what": "peer",
        "peer": f"llm-compressor {llmcompressor.__version__}",
        "shape": given.shape,
        "layers": model.config.num_hidden_layers,
        "seconds": took,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "gpu": shapes.environment(),
    }
    print(result, flush=True)
    if given.out:
        with open(given.out, "a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
