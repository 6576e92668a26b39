"""What other tools quantized: their own words about it, the same tokens, and what cannot be compared."""

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bitlaw.cli.main import main
from bitlaw.errors import CheckpointError, InputError
from bitlaw.formats import parse_format
from bitlaw.measure import MeasurePlan, measure
from bitlaw.measure.foreign import ForeignModel, foreign_model, measure_foreign
from bitlaw.measure.foreign_layers import effective_weight
from bitlaw.quantize.method import NoOptions
from bitlaw.quantize.nearest import nearest
from bitlaw.records import Measurement
from bitlaw.store import open_store
from bitlaw.suites import open_suite
from bitlaw.suites.checkpoint import load_causal_model
from bitlaw.suites.foreign import TOOLS, read_foreign_format
from bitlaw.suites.hqq_folder import HQQ_FILE, hqq_bytes
from bitlaw.sweep import Decoder
from bitlaw.sweep.layers import linear_layers

ORIGINAL = "neox@20"


def round_to_nearest(model: nn.Module, format: str = "int4_g32") -> nn.Module:
    """A copy whose linear layers hold rounded weights: what a tool that saves fake-quantized weights does."""
    decoder = Decoder(copy.deepcopy(model))
    for index in range(len(decoder.blocks)):
        for layer in linear_layers(decoder, index):
            layer.module.weight.data = nearest(layer.module.weight.data, None, parse_format(format), NoOptions())
    return decoder.model


@pytest.fixture(scope="module")
def rounded(suite_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last neox, rounded and saved by transformers as a dense model."""
    folder = tmp_path_factory.mktemp("foreign") / "rounded"
    model: Any = round_to_nearest(load_causal_model(suite_folder / "neox/step-20", "float32"))
    model.save_pretrained(folder)
    return folder


def settings(folder: Path) -> dict[str, Any]:
    return {"evaluation": str(folder / "evaluation.txt"), "evaluation_windows": 6}


def rows(store: Path, **criteria: Any) -> list[Measurement]:
    with open_store(store) as opened:
        return list(opened.read(**criteria))


def test_a_rounded_model_has_the_loss_of_our_own_rounding(suite_folder: Path, rounded: Path, tmp_path: Path) -> None:
    plan = MeasurePlan.make(
        methods=["nearest"],
        bits=[4],
        group_size=32,
        **settings(suite_folder),
        calibration=str(suite_folder / "train.txt"),
    )
    store = tmp_path / "s.db"
    measure(suite_folder, plan, store, models=["neox"], workers=1)
    given = [ForeignModel(name="theirs", folder=rounded, bits=4.0)]
    summary = measure_foreign(suite_folder, given, store, of=ORIGINAL, **settings(suite_folder))
    assert (summary.measured, summary.failed) == (1, 0)  # the baseline was there
    (ours,) = [m for m in rows(store, method="nearest") if m.asked.checkpoint.step == 20]
    (theirs,) = rows(store, method="foreign")
    assert ours.qid > 1e-3
    assert theirs.loss == pytest.approx(ours.loss, abs=1e-5)
    assert theirs.qid == pytest.approx(ours.qid, abs=1e-5)
    assert theirs.kl == pytest.approx(ours.kl, abs=1e-5)
    assert theirs.asked.evaluation == ours.asked.evaluation
    assert theirs.asked.checkpoint == ours.asked.checkpoint
    assert theirs.seen.bytes_scored == ours.seen.bytes_scored
    assert theirs.seen.sqnr_db == pytest.approx(ours.seen.sqnr_db, abs=1e-3)
    assert (theirs.seen.quantized_layers, theirs.seen.quantized_parameters) == (8, ours.seen.quantized_parameters)
    assert theirs.seen.bits_per_weight == 32.0  # float32 in the file: nothing was saved
    variant = theirs.asked.variant
    assert (variant.format, variant.bits, variant.options["name"]) == ("dense:float32", 4.0, "theirs")
    again = measure_foreign(suite_folder, given, store, of=ORIGINAL, **settings(suite_folder))
    assert (again.measured, again.skipped) == (0, 1)


def test_the_original_is_measured_with_it_and_equals_itself(suite_folder: Path, tmp_path: Path) -> None:
    """The original's own folder as the quantized one: no loss, no layer changed, infinite SQNR."""
    store = tmp_path / "s.db"
    same = ForeignModel(name="same", folder=suite_folder / "neox/step-20", bits=16.0)
    summary = measure_foreign(suite_folder, [same], store, of="neox", **settings(suite_folder))
    assert summary.measured == 2
    (base,) = rows(store, method="none")
    (theirs,) = rows(store, method="foreign")
    assert (theirs.qid, theirs.kl, theirs.agreement) == (0.0, 0.0, 1.0)
    assert base.loss == theirs.loss
    assert (theirs.seen.quantized_layers, theirs.seen.sqnr_db) == (0, math.inf)


@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_found_from_outside(bias: bool) -> None:
    linear = nn.Linear(6, 3, bias=bias)
    before = copy.deepcopy(linear.state_dict())
    found = effective_weight(linear, 6, dtype=torch.float32, device="cpu")
    assert torch.equal(found, linear.weight)
    assert all(torch.equal(before[k], v) for k, v in linear.state_dict().items())


def test_weights_are_found_where_a_bias_cannot_be_reached() -> None:
    """A tool that hands out copies of its parameters: the bias is taken off the outputs."""

    class Elsewhere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)

        @property
        def bias(self) -> torch.Tensor:
            return self.inner.bias.detach().clone()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    module = Elsewhere()
    found = effective_weight(module, 6, dtype=torch.float32, device="cpu")
    torch.testing.assert_close(found, module.inner.weight.detach(), atol=1e-6, rtol=0)


def config(folder: Path, quantization: object, **others: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"quantization_config": quantization, **others}))
    return folder


def compressed(weights: dict[str, object], inputs: object = None) -> dict[str, object]:
    groups = {"group_0": {"weights": weights, "input_activations": inputs}}
    return {"quant_method": "compressed-tensors", "config_groups": groups, "version": "0.19.0"}


TOLD: dict[str, tuple[dict[str, object], str, float, int]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, "gptq:int4_g128_sym", 4, 128),
    "gptq rows": ({"quant_method": "gptq", "bits": 3, "group_size": -1, "sym": False}, "gptq:int3_row", 3, 0),
    "gptq v2": (
        {"quant_method": "gptq", "bits": 2, "group_size": 64, "sym": False, "checkpoint_format": "gptq_v2"},
        "gptq_v2:int2_g64",
        2,
        64,
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
        "awq:int4_g128",
        4,
        128,
    ),
    "awq, its old names": ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq:int4_g64", 4, 64),
    "compressed": (
        compressed({"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}),
        "compressed-tensors:int4_g128_sym",
        4,
        128,
    ),
    "compressed w8a8": (
        compressed({"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}, {"num_bits": 8}),
        "compressed-tensors:int8_row_sym_a8",
        8,
        0,
    ),
    "compressed fp8": (
        compressed({"num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor"}),
        "compressed-tensors:fp8_tensor",
        8,
        0,
    ),
    "nf4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bitsandbytes:nf4_g64",
        4,
        64,
    ),
    "int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes:int8_row_sym", 8, 0),
    "hqq": (
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}},
        "hqq:int3_g64",
        3,
        64,
    ),
    "torchao": (
        {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_data": {}}}},
        "torchao:Int8WeightOnlyConfig_8bit",
        8,
        0,
    ),
    "a tool nobody knows": ({"quant_method": "shiny", "bits": 5, "group_size": 32}, "shiny:int5_g32", 5, 32),
    "one that says nothing": ({"quant_method": "shiny"}, "shiny:unstated", 0, 0),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_tools_say_of_themselves(tmp_path: Path, name: str) -> None:
    quantization, format, bits, group_size = TOLD[name]
    read = read_foreign_format(config(tmp_path, quantization))
    assert (read.name, read.told.bits, read.told.group_size) == (format, bits, group_size)


def test_versions_are_kept_where_a_tool_left_one(tmp_path: Path) -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "meta": {"quantizer": ["gptqmodel:7.6.0"]}}
    assert read_foreign_format(config(tmp_path, gptq)).version == "gptqmodel:7.6.0"
    assert read_foreign_format(config(tmp_path, TOLD["compressed"][0])).version == "0.19.0"
    assert read_foreign_format(config(tmp_path, TOLD["awq"][0])).version == "unknown"


def test_a_quantization_config_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gptq that cannot be read"):
        read_foreign_format(config(tmp_path, {"quant_method": "gptq"}))


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_missing_package_is_named(
    suite_folder: Path, rounded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setattr("bitlaw.measure.foreign.importlib.util.find_spec", lambda name: None)
    folder = shutil.copytree(rounded, tmp_path / "q")
    content = json.loads((folder / "config.json").read_text())
    quantization = next((q for q, name, _, _ in TOLD.values() if name.startswith(f"{tool}:")), {"quant_method": tool})
    (folder / "config.json").write_text(json.dumps({**content, "quantization_config": quantization}))
    given = [ForeignModel(name="q", folder=folder, bits=4.0)]
    with pytest.raises(InputError, match=f"Run: pip install {TOOLS[tool].packages}$"):
        measure_foreign(suite_folder, given, tmp_path / "s.db", of=ORIGINAL, **settings(suite_folder))
    assert not (tmp_path / "s.db").exists()


def hqq_layer(bits: int = 4, group: int = 64) -> dict[str, Any]:
    """What the hqq package keeps of a layer of 8 x 64 weights."""
    return {
        "W_q": torch.zeros(8, 32, dtype=torch.uint8),
        "scale": torch.ones(8, 1),
        "zero": torch.zeros(8, 1),
        "bias": torch.zeros(8),
        "nbits": bits,
        "group_size": group,
        "shape": torch.Size([8, 64]),
    }


def test_folders_of_the_hqq_package(tmp_path: Path) -> None:
    config(tmp_path, {})
    torch.save({"norm": {"weight": torch.ones(4)}, "up": hqq_layer(), "down": hqq_layer()}, tmp_path / HQQ_FILE)
    read = read_foreign_format(tmp_path)
    assert (read.name, read.told.bits, read.told.group_size) == ("hqq:int4_g64", 4.0, 64)
    assert hqq_bytes(tmp_path) == {
        f"{layer}.{part}": size
        for layer in ("up", "down")
        for part, size in (("W_q", 256), ("scale", 32), ("zero", 32))
    }
    torch.save({"up": hqq_layer(), "down": hqq_layer(3)}, tmp_path / HQQ_FILE)
    assert read_foreign_format(tmp_path).name == "hqq:mixed"
    torch.save({"norm": {"weight": torch.ones(4)}}, tmp_path / HQQ_FILE)
    with pytest.raises(CheckpointError, match="no quantized layer"):
        read_foreign_format(tmp_path)
    (tmp_path / HQQ_FILE).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match="cannot be read as an HQQ checkpoint"):
        read_foreign_format(tmp_path)


def test_tensors_that_a_tool_leaves_out_have_the_value_they_stand_for(suite_folder: Path, tmp_path: Path) -> None:
    """AWQ's scales of an activation function, which GPTQModel leaves out where they are 1; here a norm's weights."""
    folder = shutil.copytree(suite_folder / "neox/step-20", tmp_path / "q")
    tensors = load_file(folder / "model.safetensors")
    (lacking,) = [name for name in tensors if name.endswith("final_layer_norm.weight")]
    save_file({n: t for n, t in tensors.items() if n != lacking}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="1 missing keys"):
        load_causal_model(folder, "float32", absent={".act.scales": 1.0})
    model = load_causal_model(folder, "float32", absent={".final_layer_norm.weight": 0.5})
    assert (model.get_parameter(lacking) == 0.5).all()
    assert TOOLS["awq"].absent[".act.scales"] == 1.0


def test_models_that_cannot_be_compared(suite_folder: Path, rounded: Path, tmp_path: Path) -> None:
    def ask(folder: Path, of: str = ORIGINAL, bits: float = 4.0) -> None:
        given = [ForeignModel(name="q", folder=folder, bits=bits)]
        measure_foreign(suite_folder, given, tmp_path / "s.db", of=of, **settings(suite_folder))

    with pytest.raises(InputError, match="model_type is 'llama', that of the original 'gpt_neox'"):
        ask(suite_folder / "llama/step-10")
    with pytest.raises(InputError, match="does not say its bits per weight"):
        ask(rounded, bits=0.0)
    with pytest.raises(InputError, match=r"Say which the original is, such as .*@STEP"):
        ask(rounded, of="")
    with pytest.raises(InputError, match=r"no step '11'\. Its steps: 10, 20"):
        ask(rounded, of="neox@11")
    with pytest.raises(InputError, match="no model 'nox'"):
        ask(rounded, of="nox")
    larger = shutil.copytree(rounded, tmp_path / "larger")
    content = json.loads((larger / "config.json").read_text())
    (larger / "config.json").write_text(json.dumps({**content, "vocab_size": 400}))
    with pytest.raises(InputError, match="vocab_size is 400"):
        ask(larger)
    spoken = shutil.copytree(rounded, tmp_path / "spoken")
    tokenizer = json.loads((suite_folder / "tokenizer/tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (spoken / "tokenizer.json").write_text(json.dumps(tokenizer))
    shutil.copy(suite_folder / "tokenizer/tokenizer_config.json", spoken)
    with pytest.raises(InputError, match="another vocabulary"):
        ask(spoken)


def test_names_and_folders(tmp_path: Path) -> None:
    assert foreign_model(f"a={tmp_path}", bits=3.0) == ForeignModel(name="a", folder=tmp_path, bits=3.0)
    for text in ("a", "=b", "a="):
        with pytest.raises(InputError, match="NAME=FOLDER"):
            foreign_model(text)
    with pytest.raises(InputError, match="No folder"):
        foreign_model(f"a={tmp_path / 'gone'}")
    with pytest.raises(InputError, match="is not a width"):
        foreign_model(f"a={tmp_path}", bits=32.0)


def test_a_model_that_fails_while_scored_is_a_state(
    suite_folder: Path, rounded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("kernel wants bfloat16\nand more")

    monkeypatch.setattr("bitlaw.measure.foreign._score", broken)
    given = [ForeignModel(name="q", folder=rounded, bits=4.0)]
    summary = measure_foreign(suite_folder, given, tmp_path / "s.db", of=ORIGINAL, **settings(suite_folder))
    assert (summary.measured, summary.failed) == (0, 1)
    (row,) = rows(tmp_path / "s.db")
    assert (row.seen.state, row.seen.reason) == ("failed", "RuntimeError: kernel wants bfloat16")


def test_from_the_command_line(suite_folder: Path, rounded: Path, tmp_path: Path, capsys: Any) -> None:
    store = tmp_path / "s.db"
    command = ["measure", str(suite_folder), "--store", str(store), "--foreign", f"theirs={rounded}", "--of", ORIGINAL]
    text = ["--evaluation", str(suite_folder / "evaluation.txt"), "--evaluation-windows", "6", "--progress", "none"]
    assert main([*command, "--foreign-bits", "4", *text]) == 0
    assert capsys.readouterr().out.startswith("2 measured, 0 already in the store, 0 failed")
    assert main([*command, *text]) == 2
    assert "--foreign-bits 4" in capsys.readouterr().err
    assert main([*command, "--methods", "gptq", *text]) == 2
    assert main(["measure", str(suite_folder), "--store", str(store), "--of", ORIGINAL]) == 2
    assert open_suite(suite_folder).name == "mine"
