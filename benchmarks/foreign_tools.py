"""Checkpoints of other tools, made here on a CPU from one trained checkpoint and measured beside it, as a Markdown table.

    python benchmarks/foreign_tools.py runs/demo/tiny [NAME ...]   (in the peers' environment: scripts/test-peers makes it)

Every tool quantizes the last checkpoint of the suite's largest model and saves it its own way, in a process of its own;
`bitlaw measure --foreign` (here as a function) then loads the folder. What fails is a row with the reason.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitlaw.errors import BitlawError
from bitlaw.measure import MeasurePlan, measure
from bitlaw.measure.foreign import ForeignModel, measure_foreign
from bitlaw.records import Measurement
from bitlaw.store import open_store
from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows

Maker = Callable[[str, np.ndarray, str], None]
"""(folder of the original, calibration ids [windows, T], folder to write)"""


def gptqmodel(dtype: torch.dtype = torch.float32, backend: str = "", **settings: Any) -> Maker:
    """GPTQModel in one of its methods and formats."""

    def make(original: str, ids: np.ndarray, out: str) -> None:
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # it refuses to load a model with one
        from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

        config = QuantizeConfig(device="cpu", offload_to_disk=False, **settings)
        wrapped = GPTQModel.load(original, config, dtype=dtype)
        rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in ids]
        wrapped.quantize(rows, batch_size=1, **({"backend": getattr(BACKEND, backend)} if backend else {}))
        wrapped.save(out)

    return make


def compressed_tensors(scheme: str, gptq: bool = False) -> Maker:
    """llm-compressor with one of its preset schemes, by GPTQ or by rounding."""

    def make(original: str, ids: np.ndarray, out: str) -> None:
        from llmcompressor import oneshot
        from llmcompressor.modifiers.gptq import GPTQModifier
        from llmcompressor.modifiers.quantization import QuantizationModifier
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from datasets import Dataset

        model = AutoModelForCausalLM.from_pretrained(original, dtype=torch.float32)
        modifier = GPTQModifier if gptq else QuantizationModifier
        recipe = modifier(targets="Linear", scheme=scheme, ignore=["embed_out", "lm_head"])
        rows = {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}
        data = {"dataset": Dataset.from_dict(rows), "num_calibration_samples": len(ids)} if gptq else {}
        oneshot(
            model=model,
            processor=AutoTokenizer.from_pretrained(original),
            recipe=[recipe],
            max_seq_length=ids.shape[1],
            **data,
        )
        model.save_pretrained(out, save_compressed=True)

    return make


def transformers_config(make_config: Callable[[], Any]) -> Maker:
    """A tool that quantizes while transformers loads."""

    def make(original: str, ids: np.ndarray, out: str) -> None:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            original, dtype=torch.float32, device_map={"": "cpu"}, quantization_config=make_config()
        )
        model.save_pretrained(out)

    return make


def bitsandbytes(**settings: Any) -> Maker:
    def config() -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(**settings)

    return transformers_config(config)


def torchao(name: str, **settings: Any) -> Maker:
    def config() -> Any:
        from torchao import quantization
        from transformers import TorchAoConfig

        return TorchAoConfig(getattr(quantization, name)(**settings))

    return transformers_config(config)


def hqq(bits: int, group: int) -> Maker:
    """The hqq package by itself."""

    def make(original: str, ids: np.ndarray, out: str) -> None:
        from hqq.core.quantize import BaseQuantizeConfig
        from hqq.models.hf.base import AutoHQQHFModel
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(original, dtype=torch.float32)
        config = BaseQuantizeConfig(nbits=bits, group_size=group, axis=1)
        AutoHQQHFModel.quantize_model(model, quant_config=config, compute_dtype=torch.float32, device={"": "cpu"})
        AutoHQQHFModel.save_quantized(model, out)

    return make


def hqq_in_transformers() -> Any:
    from transformers import HqqConfig

    return HqqConfig(nbits=4, group_size=64)


MAKERS: dict[str, Maker] = {
    "gptq": gptqmodel(bits=4, group_size=128, sym=True, format="gptq"),
    "gptq-v2": gptqmodel(bits=4, group_size=128, sym=True, format="gptq_v2"),
    "gptq-3": gptqmodel(bits=3, group_size=128, sym=True, format="gptq"),
    "awq": gptqmodel(torch.bfloat16, "AWQ_TORCH", bits=4, group_size=128, sym=False, method="awq", format="gemm"),
    "ct-w4a16-gptq": compressed_tensors("W4A16", gptq=True),
    "ct-w8a8": compressed_tensors("W8A8"),
    "ct-fp8": compressed_tensors("FP8_DYNAMIC"),
    "ct-nvfp4": compressed_tensors("NVFP4A16"),
    "bnb-nf4": bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "bnb-fp4": bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.float32),
    "bnb-int8": bitsandbytes(load_in_8bit=True),
    "ao-int8": torchao("Int8WeightOnlyConfig"),
    "ao-int8-a8": torchao("Int8DynamicActivationInt8WeightConfig"),
    "ao-int4": torchao("Int4WeightOnlyConfig", group_size=128),
    "ao-fp8": torchao("Float8WeightOnlyConfig"),
    "hqq-4": hqq(4, 64),
    "hqq-3": hqq(3, 64),
    "hqq-transformers": transformers_config(hqq_in_transformers),
}
OURS = ("gptq int4_g128_sym", "nearest int4_g128", "nearest nf4_g64", "nearest fp4bnb_g64", "nearest int8_row_sym")
OURS += ("nearest fp8_e4m3_row", "nearest nvfp4_k16", "hqq int4_g64", "hqq int3_g64")


def make(name: str, original: Path, ids: Path, out: Path) -> str:
    """Run one maker in a process of its own; return '' or why it failed, the last line of its traceback."""
    command = [sys.executable, str(Path(__file__).resolve()), "make", name, str(original), str(ids), str(out)]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)  # some write logs there
    if done.returncode == 0:
        return ""
    return next(line for line in reversed(done.stderr.splitlines()) if line.startswith("REASON "))[7:]


def row(words: str, measured: Measurement | None, reason: str = "") -> str:
    """One line of the table; QiD in 1e-3 nats per token."""
    if measured is None or measured.seen.state != "ok":
        return f"| {words} | | | | {reason or (measured and measured.seen.reason)} |"
    seen, told = measured.seen, measured.asked.variant
    qid = f"{1e3 * measured.qid:.3f} ± {1e3 * measured.qid_se:.3f}"
    what = told.format if told.method == "foreign" else ""
    return f"| {words} | {qid} | {seen.sqnr_db:.2f} | {seen.bits_per_weight:.3f} | {what} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MAKERS)}")
    given = parser.parse_args()
    suite = open_suite(given.suite)
    checkpoint = max(suite.checkpoints, key=lambda c: (c.described.parameters, c.described.step))
    model, tokenizer = checkpoint.load()
    calibration = token_windows(
        tokenizer, open_text("sample:train"), int(model.config.max_position_embeddings), windows=128, seed=0
    )
    name_of = f"{checkpoint.described.model}@{checkpoint.described.step}"
    print(
        f"{name_of}, QiD in 1e-3 nats per token\n\n| checkpoint | QiD | SQNR, dB | bits per weight | |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as work:
        store, original = Path(work) / "s.db", Path(work) / "original"
        model.save_pretrained(original)
        tokenizer.save_pretrained(original)
        np.save(Path(work) / "ids.npy", calibration.ids)
        for name in given.names or MAKERS:
            folder = Path(work) / name
            reason = make(name, original, Path(work) / "ids.npy", folder)
            if reason:
                print(row(name, None, f"cannot be made: {reason}"), flush=True)
                continue
            try:
                with contextlib.redirect_stdout(sys.stderr):  # tools talk
                    measure_foreign(suite, [ForeignModel(name=name, folder=folder)], store, of=name_of)
            except BitlawError as error:
                print(row(name, None, f"cannot be loaded: {error}".replace(str(work), "...")), flush=True)
                continue
            with open_store(store) as opened:
                (found,) = [m for m in opened.read(method="foreign") if m.asked.variant.options["name"] == name]
            print(row(name, found), flush=True)
        plan = MeasurePlan.make(variants=list(OURS))
        measure(suite, plan, store, models=[checkpoint.described.model], workers=1)
        with open_store(store) as opened:
            for method in dict.fromkeys(line.split()[0] for line in OURS):
                for m in opened.read(method=method):
                    if m.asked.checkpoint.step == checkpoint.described.step:
                        print(row(f"bitlaw `{method} {m.asked.variant.format}`", m))


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        _, _, wanted, source, windows, target = sys.argv
        try:
            MAKERS[wanted](source, np.load(windows), target)
        except Exception as problem:
            traceback.print_exc()
            print(f"REASON {type(problem).__name__}: {str(problem).strip().splitlines()[0][:300]}", file=sys.stderr)
            sys.exit(1)
    else:
        main()
