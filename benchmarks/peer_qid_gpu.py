"""QiD after llm-compressor's GPTQ and after bitlaw's, on one GPU, of a really trained checkpoint, on the same windows.

    python benchmarks/peer_qid_gpu.py SUITE --model neox-37.8m --evaluation validation.jsonl.zst --calibration calibration.jsonl

Both quantize the model's last checkpoint (float32 weights, symmetric integers, groups of 128, damping 0.01, columns in their own
order) with the same 128 calibration windows; both sets of weights are scored on the same evaluation windows. One JSON line
a width: QiD of each in nats per token, their difference with its paired standard error, the share of weights that agree
within a quarter of a step. llm-compressor is installed beside bitlaw.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

try:
    from benchmarks.gptq_peers import Match, same_values, step
    from benchmarks.gptq_walk import gptq_weights, paired, window_nats
    from benchmarks.peer_weights import llm_compressor
except ImportError:  # run as a script
    from gptq_peers import Match, same_values, step
    from gptq_walk import gptq_weights, paired, window_nats
    from peer_weights import llm_compressor

from bitlaw.measure import MeasurePlan
from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows

MATCH = Match("llm-compressor", "no order", 128, "gptq int{bits}_g128_sym scales=static")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", default="sample:evaluation")
    parser.add_argument("--calibration", default="sample:train")
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    chosen = [c for c in open_suite(given.suite).checkpoints if c.described.model == given.model]
    checkpoint = max(chosen, key=lambda c: c.described.step)
    model, tokenizer = checkpoint.load(given.device, "float32")
    length = int(model.config.max_position_embeddings)
    evaluation, calibration = (
        torch.from_numpy(token_windows(tokenizer, open_text(text), length, windows=count, seed=seed).ids).long()
        for text, count, seed in ((given.evaluation, given.windows, None), (given.calibration, 128, 0))
    )
    there = evaluation.to(given.device)
    base = window_nats(model, there, {})
    gpu = torch.cuda.get_device_name() if given.device.startswith("cuda") else given.device
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for bits in given.bits:
            theirs, _ = llm_compressor(str(folder), calibration.numpy(), MATCH.setting(bits, exact=False))
            theirs = {name: weight.to(given.device) for name, weight in theirs.items()}
            (_, variant) = MeasurePlan.make(variants=[MATCH.line.format(bits=bits)]).variants
            ours = gptq_weights(model, variant, calibration.to(given.device), batch=1)
            if theirs.keys() != ours.keys():
                raise RuntimeError(f"other layers were quantized: {sorted(theirs.keys() ^ ours.keys())}")
            nats, others = (window_nats(model, there, weights) for weights in (ours, theirs))
            scored = length - 1
            same = [
                same_values(ours[name], theirs[name], step(model.get_submodule(name).weight.data, MATCH, bits))
                for name in ours
            ]
            line = {
                "what": "peer_qid",
                "model": given.model,
                "parameters": checkpoint.described.parameters,
                "tokens": checkpoint.described.tokens,
                "gpu": gpu,
                "bits": bits,
                "qid": paired(nats, base, scored),
                "peer_qid": paired(others, base, scored),
                "difference": paired(others, nats, scored),
                "least_same": min(same),
            }
            print(json.dumps(line), flush=True)
            if given.out:
                with open(given.out, "a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
