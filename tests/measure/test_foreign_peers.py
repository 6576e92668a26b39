"""Real checkpoints of other tools, made here and measured beside their original. Run by scripts/test-peers."""

import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.foreign_tools import MAKERS, make
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from bitlaw.measure import MeasurePlan, measure
from bitlaw.measure.foreign import ForeignModel, measure_foreign
from bitlaw.records import Measurement
from bitlaw.store import open_store
from bitlaw.text import load_tokenizer, open_text, token_windows

# What the tools and transformers' loaders warn of is theirs.
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]
ORIGINAL = "neox@20"


@pytest.fixture(scope="module")
def wide(suite_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's texts and tokenizer with one model of width 128: bitsandbytes' CPU kernel fails below its block of 64."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    model: Any = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=300, max_position_embeddings=32, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    model.save_pretrained(folder / "neox/step-20")
    for file in (*(suite_folder / "tokenizer").iterdir(), suite_folder / "train.txt", suite_folder / "evaluation.txt"):
        shutil.copy(file, folder if file.suffix == ".txt" else folder / "neox/step-20")
    checkpoints = [{"path": "neox/step-20", "tokens": 1000}]
    (folder / "suite.json").write_text(json.dumps({"bitlaw_suite": 1, "name": "wide", "checkpoints": checkpoints}))
    return folder


def settings(folder: Path) -> dict[str, Any]:
    return {"evaluation": str(folder / "evaluation.txt"), "evaluation_windows": 6}


def measured(wide: Path, quantized: Path, store: Path, format: str) -> tuple[Measurement, Measurement]:
    """The tool's checkpoint, and our nearest rounding to `format` of the same original on the same tokens."""
    given = [ForeignModel(name="theirs", folder=quantized)]
    summary = measure_foreign(wide, given, store, of=ORIGINAL, **settings(wide))
    assert (summary.measured, summary.failed) == (2, 0), summary.failures
    plan = MeasurePlan.make(variants=[f"nearest {format}"], **settings(wide), calibration=str(wide / "train.txt"))
    measure(wide, plan, store, models=["neox"], workers=1)
    with open_store(store) as opened:
        (theirs,) = opened.read(method="foreign")
        (ours,) = [m for m in opened.read(method="nearest") if m.asked.checkpoint.step == 20]
    assert theirs.asked.evaluation == ours.asked.evaluation
    return theirs, ours


@pytest.mark.parametrize(
    ("scheme", "name", "bits", "format"),
    [
        ("W4A16", "compressed-tensors:int4_row_sym", 4.0, "int4_row_sym"),
        ("W8A16", "compressed-tensors:int8_row_sym", 8.0, "int8_row_sym"),
        ("W8A8", "compressed-tensors:int8_row_sym_a8", 8.0, "int8_row_sym"),
    ],
)
def test_compressed_tensors(wide: Path, tmp_path: Path, scheme: str, name: str, bits: float, format: str) -> None:
    """llm-compressor's data-free rounding. Its grid has one value more (-8), so its error is near ours and not equal."""
    llmcompressor = pytest.importorskip("llmcompressor")
    quantization = pytest.importorskip("llmcompressor.modifiers.quantization")
    arguments = pytest.importorskip("compressed_tensors.quantization")
    model = AutoModelForCausalLM.from_pretrained(wide / "neox/step-20", dtype=torch.float32)
    weights = arguments.QuantizationArgs(num_bits=int(bits), type="int", symmetric=True, strategy="channel")
    inputs = arguments.QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="token", dynamic=True)
    group = arguments.QuantizationScheme(
        targets=["Linear"], weights=weights, input_activations=inputs if scheme == "W8A8" else None
    )
    recipe = quantization.QuantizationModifier(config_groups={"g": group}, ignore=["embed_out", "lm_head"])
    llmcompressor.oneshot(model=model, recipe=[recipe])
    model.save_pretrained(tmp_path / "q", save_compressed=True)
    theirs, ours = measured(wide, tmp_path / "q", tmp_path / "s.db", format)
    assert (theirs.asked.variant.format, theirs.asked.variant.bits) == (name, bits)
    assert theirs.seen.quantized_layers == 8
    assert theirs.seen.sqnr_db == pytest.approx(ours.seen.sqnr_db, abs=1.5)
    assert bits < (theirs.seen.bits_per_weight or 0.0) < bits + 7.0  # layers of 32 columns: scales and shapes weigh
    assert theirs.qid == pytest.approx(ours.qid, abs=max(0.5 * abs(ours.qid), 6 * theirs.qid_se))


def test_bitsandbytes_nf4(wide: Path, tmp_path: Path) -> None:
    """The same table and blocks as ours; its CPU kernels keep scales in bfloat16, hence the tolerance."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(
        wide / "neox/step-20", dtype=torch.float32, device_map={"": "cpu"}, quantization_config=config
    )
    model.save_pretrained(tmp_path / "q")
    theirs, ours = measured(wide, tmp_path / "q", tmp_path / "s.db", "nf4_g64")
    variant = theirs.asked.variant
    assert (variant.format, variant.bits, variant.group_size) == ("bitsandbytes:nf4_g64", 4.0, 64)
    assert theirs.made.kernel.startswith("bitsandbytes ")
    assert theirs.seen.quantized_layers == 8
    assert theirs.seen.sqnr_db == pytest.approx(ours.seen.sqnr_db, abs=0.05)
    assert theirs.qid == pytest.approx(ours.qid, abs=max(0.05 * abs(ours.qid), theirs.qid_se))


ROWS = [0, 2, 4, 6, 1, 3, 5, 7]  # which output each nibble of an AWQ word belongs to


def nibbles(words: torch.Tensor) -> torch.Tensor:
    """The eight 4-bit numbers of each 32-bit word, lowest first. [...] -> [..., 8]."""
    return (words.long().unsqueeze(-1) >> (4 * torch.arange(8))) & 15


def unpacked(tensors: dict[str, torch.Tensor], layer: str, kind: str) -> torch.Tensor:
    """The weight [out, in] of a packed layer of 4 bits, by the definition of each format."""
    words, zeros, scales = (tensors[f"{layer}.{part}"] for part in ("qweight", "qzeros", "scales"))
    if kind == "awq":  # [in, out / 8] and [groups, out / 8]
        place = torch.tensor(ROWS).argsort()
        codes, zeros = (nibbles(t)[..., place].flatten(-2) for t in (words, zeros))
        groups = torch.arange(len(codes)) // (len(codes) // len(zeros))
    else:  # [in / 8, out] and [groups, out / 8]; the first format keeps zero points less one
        codes = nibbles(words).transpose(1, 2).flatten(0, 1)
        zeros = nibbles(zeros).flatten(-2) + (1 if kind == "gptq" else 0)
        groups = tensors[f"{layer}.g_idx"].long()
    return ((codes - zeros[groups]) * scales.float()[groups]).T.float()


@pytest.mark.parametrize("kind", ["gptq", "gptq_v2", "awq"])
def test_gptqmodel_is_scored_with_the_weights_in_its_files(wide: Path, tmp_path: Path, kind: str) -> None:
    """Against the packed numbers taken apart here; the kernels compute in 16 bits, hence the tolerance."""
    if not importlib.util.find_spec("gptqmodel") or not importlib.util.find_spec("optimum"):
        pytest.skip("gptqmodel and optimum are not installed")
    ids = token_windows(load_tokenizer(wide / "neox/step-20"), open_text(str(wide / "train.txt")), 32, windows=8).ids
    np.save(tmp_path / "ids.npy", ids)
    name = {"gptq": "gptq", "gptq_v2": "gptq-v2", "awq": "awq"}[kind]
    folder = tmp_path / name
    assert not make(name, wide / "neox/step-20", tmp_path / "ids.npy", folder)
    given = [ForeignModel(name="theirs", folder=folder)]
    summary = measure_foreign(wide, given, tmp_path / "s.db", of=ORIGINAL, **settings(wide))
    assert (summary.measured, summary.failed) == (2, 0), summary.failures
    with open_store(tmp_path / "s.db") as opened:
        (theirs,) = opened.read(method="foreign")
    assert theirs.asked.variant.format == f"{kind}:int4_g128{'' if kind == 'awq' else '_sym'}"
    assert theirs.seen.quantized_layers == 8
    assert 4.0 < (theirs.seen.bits_per_weight or 0.0) < 5.0
    model: Any = AutoModelForCausalLM.from_pretrained(wide / "neox/step-20", dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    assert theirs.loss - theirs.qid == pytest.approx(dense_loss(model, wide), abs=1e-5)
    signal = noise = 0.0
    for key, tensor in tensors.items():
        layer, _, part = key.rpartition(".")
        if part == "qweight":
            weight, packed = model.get_submodule(layer).weight.data, unpacked(tensors, layer, kind)
            signal, noise = signal + float(weight.square().sum()), noise + float((packed - weight).square().sum())
            model.get_submodule(layer).weight.data = packed
        elif part in ("weight", "bias"):
            model.get_parameter(key).data = tensor.float()
    assert theirs.seen.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=0.02)
    assert theirs.loss == pytest.approx(dense_loss(model, wide), abs=0.01)


def dense_loss(model: Any, wide: Path) -> float:
    text = token_windows(load_tokenizer(wide / "neox/step-20"), open_text(str(wide / "evaluation.txt")), 32, windows=6)
    ids = torch.from_numpy(text.ids.astype("int64"))
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    return float(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))


@pytest.mark.parametrize("bits", [4, 3])
def test_hqq_folder_is_our_own_hqq(wide: Path, tmp_path: Path, bits: int) -> None:
    pytest.importorskip("hqq")
    MAKERS[f"hqq-{bits}"](str(wide / "neox/step-20"), np.zeros((1, 1), np.int64), str(tmp_path / "q"))
    given = [ForeignModel(name="theirs", folder=tmp_path / "q")]
    assert measure_foreign(wide, given, tmp_path / "s.db", of=ORIGINAL, **settings(wide)).failed == 0
    plan = MeasurePlan.make(variants=[f"hqq int{bits}_g64"], **settings(wide), calibration=str(wide / "train.txt"))
    measure(wide, plan, tmp_path / "s.db", models=["neox"], workers=1)
    with open_store(tmp_path / "s.db") as opened:
        (theirs,) = opened.read(method="foreign")
        (ours,) = opened.read(method="hqq")
    variant = theirs.asked.variant
    assert (variant.format, variant.bits, variant.group_size) == (f"hqq:int{bits}_g64", float(bits), 64)
    assert theirs.made.kernel.startswith("hqq ")
    assert theirs.seen.quantized_layers == 8
    assert theirs.seen.sqnr_db == pytest.approx(ours.seen.sqnr_db, abs=0.01)
    assert theirs.qid == pytest.approx(ours.qid, abs=0.01 * abs(ours.qid) + 1e-5)


def test_torchao_int8_is_our_rounding_of_rows(wide: Path, tmp_path: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    model = AutoModelForCausalLM.from_pretrained(
        wide / "neox/step-20",
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=TorchAoConfig(quantization.Int8WeightOnlyConfig()),
    )
    model.save_pretrained(tmp_path / "q")
    theirs, ours = measured(wide, tmp_path / "q", tmp_path / "s.db", "int8_row_sym")
    assert theirs.asked.variant.format == "torchao:Int8WeightOnlyConfig_8bit"
    assert theirs.seen.sqnr_db == pytest.approx(ours.seen.sqnr_db, abs=0.01)
    assert theirs.loss == pytest.approx(ours.loss, abs=1e-3)
