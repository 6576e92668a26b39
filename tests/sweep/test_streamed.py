"""A model read block by block gives the numbers of the model that is all in memory, bit for bit, and never holds more than two blocks."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from bitlaw.errors import CheckpointError, InputError
from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import Decoder, sweep
from tests.sweep.families import FAMILIES
from tests.sweep.test_families import CALIBRATION, EVALUATION

VARIANTS = [
    Variant(),
    make_variant("nearest", "int3_g16"),
    make_variant("gptq", "int3_g16"),
    make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    Variant(activations="int8_tensor"),
]


def saved(family: str, folder: Path, shard: str = "20KB", **changes: int) -> Path:
    FAMILIES[family].make(**changes).save_pretrained(folder, max_shard_size=shard)
    return folder


def blocks_with_weights(decoder_blocks: list[nn.Module]) -> int:
    return sum(any(not p.is_meta for p in block.parameters()) for block in decoder_blocks)


STREAMED = (
    "mixtral",
    "qwen2_moe",
    "gpt_oss",
    "gpt2",
    "gpt_neox",
    "opt_350m",
    "bloom",
    "llama3",
    "gemma2",
    "gemma3_vision",
    "phi3",
    "qwen3",
    "falcon",
)


@pytest.mark.parametrize("family", STREAMED)
def test_same_numbers_bit_for_bit(family: str, tmp_path: Path) -> None:
    folder = saved(family, tmp_path)
    assert len(list(folder.glob("*.safetensors"))) > 1
    resident = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    whole = sweep(resident, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    with closing(StreamedModel(folder, "cpu", torch.float32)) as streamed:
        parts = sweep(streamed, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
        again = sweep(streamed, VARIANTS[:2], EVALUATION, batch_windows=3)
    assert [r.seen for r in parts] == [r.seen for r in whole]
    assert [r.seen for r in again] == [r.seen for r in whole[:2]]


def test_at_most_one_block_has_weights_and_one_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("llama3", tmp_path, num_hidden_layers=5)
    asked: list[int] = []
    read = StreamedModel.read
    monkeypatch.setattr(StreamedModel, "read", lambda self, index: asked.append(index) or read(self, index))
    with closing(StreamedModel(folder, "cpu", torch.float32)) as streamed:
        most: list[int] = []

        def look(done: int, total: int) -> None:
            blocks = list(streamed.model.get_submodule("model.layers").children())
            most.append(blocks_with_weights(blocks))

        sweep(streamed, VARIANTS, EVALUATION, CALIBRATION, watch=look)
        assert max(most) == 1
        assert most[-1] == 0  # when the head is applied none has
        twin = streamed._twin
        assert all(p.is_meta for p in twin.parameters())  # what waits is not kept twice
    assert asked == [0, 1, 2, 3, 4]  # each is read once, in order


def test_blocks_are_acquired_one_at_a_time(tmp_path: Path) -> None:
    folder = saved("llama3", tmp_path, num_hidden_layers=4)
    resident = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with closing(StreamedModel(folder, "cpu", torch.float32)) as streamed:
        decoder = Decoder(streamed)
        assert decoder.streamed
        assert not Decoder(resident).streamed
        for index in (2, 0, 3, 3, 1):  # in any order, though only the next is read ahead
            with decoder.block(index) as block, decoder.block(index):
                weights = block.state_dict()
                assert blocks_with_weights(decoder.blocks) == 1
            expected = resident.get_submodule(decoder.block_name(index)).state_dict()
            assert weights.keys() == expected.keys()
            assert all(torch.equal(weights[name], expected[name]) for name in expected)
        with pytest.raises(AssertionError, match="one block at a time"), decoder.block(0), decoder.block(1):
            pass
    assert blocks_with_weights(decoder.blocks) == 0


def test_bfloat16_and_buffers(tmp_path: Path) -> None:
    folder = saved("llama3", tmp_path)
    resident = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    with closing(StreamedModel(folder, "cpu", torch.bfloat16)) as streamed:
        Decoder(streamed)
        held = dict(streamed.model.named_buffers())
        assert held.keys() == dict(resident.named_buffers()).keys()
        assert all(torch.equal(held[name], buffer) for name, buffer in resident.named_buffers())
        assert streamed.model.get_input_embeddings().weight.dtype == torch.bfloat16
        (part,) = sweep(streamed, [VARIANTS[1]], EVALUATION)
    (whole,) = sweep(resident, [VARIANTS[1]], EVALUATION)
    assert part.seen == whole.seen


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = saved("llama3", tmp_path)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    lost = "model.layers.1.mlp.up_proj.weight"
    shard = folder / content["weight_map"][lost]
    from safetensors.torch import load_file, save_file

    kept = {name: tensor for name, tensor in load_file(shard).items() if name != lost}
    save_file(kept or {"other": torch.zeros(1)}, shard, metadata={"format": "pt"})
    with (
        closing(StreamedModel(folder, "cpu", torch.float32)) as streamed,
        pytest.raises(CheckpointError, match=rf"1 missing or mismatched keys, such as {lost}"),
    ):
        sweep(streamed, [VARIANTS[1]], EVALUATION)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="Cannot build the model"):
        StreamedModel(folder, "cpu", torch.float32)


def test_methods_that_need_the_whole_model_are_refused(tmp_path: Path) -> None:
    with closing(StreamedModel(saved("llama3", tmp_path), "cpu", torch.float32)) as streamed:
        for variant in (
            make_variant("gwq", "int4_g16"),
            make_variant("mixed", "int4_g16"),
            make_variant("perturb_random", "none", {"snr_db": 12}),
        ):
            with pytest.raises(InputError, match="read block by block"):
                sweep(streamed, [variant], EVALUATION, CALIBRATION)
