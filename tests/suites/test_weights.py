import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from bitlaw.errors import CheckpointError
from bitlaw.suites.weights import count_parameters, folder_shapes, read_shapes, weight_files, weights_sha256


def meta_model(config: transformers.PretrainedConfig) -> torch.nn.Module:
    with torch.device("meta"):
        model: torch.nn.Module = transformers.AutoModelForCausalLM.from_config(config)
    return model


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        # Biderman et al. 2023, table 1: non-embedding parameters of Pythia
        ({"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "intermediate_size": 2048}, 18_915_328),
        (
            {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
            85_056_000,
        ),
        (
            {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 8192},
            1_208_602_624,
        ),
    ],
)
def test_pythia_counts(sizes: dict[str, int], expected: int) -> None:
    model = meta_model(transformers.GPTNeoXConfig(vocab_size=50304, **sizes))
    count = count_parameters({name: tuple(t.shape) for name, t in model.state_dict().items()})
    assert count.non_embedding == expected
    assert count.total == expected + 2 * 50304 * sizes["hidden_size"]


@pytest.mark.parametrize(
    ("config", "embeddings"),
    [
        (transformers.LlamaConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2), 2 * 3200),
        (transformers.GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=2, n_positions=64), 3200 + 64 * 32),
        (
            transformers.OPTConfig(
                vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
                max_position_embeddings=64, word_embed_proj_dim=32,
            ),
            3200 + 66 * 32,
        ),
        (transformers.BloomConfig(vocab_size=100, hidden_size=32, n_layer=2, n_head=2), 3200),
        (transformers.MptConfig(vocab_size=100, d_model=32, n_layers=2, n_heads=2), 3200),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)  # fmt: skip
def test_other_families_count_all_but_embeddings_and_head(
    config: transformers.PretrainedConfig, embeddings: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    count = count_parameters(folder_shapes(tmp_path))
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.non_embedding == count.total - embeddings


def test_buffers_of_old_checkpoints_are_no_parameters() -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "gpt_neox.layers.0.attention.bias": (1, 1, 2048, 2048),
        "gpt_neox.layers.0.attention.masked_bias": (),
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": (8,),
        "gpt_neox.layers.0.attention.dense.bias": (32,),
    }
    assert count_parameters(shapes).total == 32


def test_shapes_are_those_of_the_tensors(made: Path) -> None:
    shapes = read_shapes(made / "small" / "step-3" / "model.safetensors")
    assert shapes["gpt_neox.layers.1.attention.query_key_value.weight"] == (48, 16)
    assert shapes["embed_out.weight"] == (260, 16)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_truncated_files_are_named(made: Path, tmp_path: Path, size: int) -> None:
    data = (made / "small" / "step-3" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:size])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*truncated"):
        folder_shapes(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No checkpoint folder"):
        weight_files(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="No weights in"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match="save it as safetensors"):
        weight_files(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"lacks model-00001-of-00002\.safetensors"):
        weight_files(tmp_path)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="not an index"):
        weight_files(tmp_path)


def test_hash_is_over_the_files_and_its_cache_notices_a_change(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made / "small" / "step-3", folder)
    file = folder / "model.safetensors"
    assert weights_sha256(folder) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert weights_sha256(folder) == hashlib.sha256(file.read_bytes()).hexdigest()  # from the cache
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(changed)
    assert weights_sha256(folder) == hashlib.sha256(changed).hexdigest()
    (folder / ".bitlaw-weights.json").write_text("not json")
    assert weights_sha256(folder) == hashlib.sha256(changed).hexdigest()
