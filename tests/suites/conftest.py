import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from bitlaw.text import open_text, train_tokenizer


def neox_config(**changes: Any) -> GPTNeoXConfig:
    sizes: dict[str, Any] = {
        "vocab_size": 260,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPTNeoXConfig(**(sizes | changes))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of one random model at two steps, written by hand: nothing but path and tokens."""
    folder = tmp_path_factory.mktemp("suite")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat. " * 50)
    torch.manual_seed(0)
    for step in (20, 3):
        path = folder / "small" / f"step-{step}"
        GPTNeoXForCausalLM(neox_config()).save_pretrained(path)
        train_tokenizer(open_text(text), vocabulary=260, folder=path)
    entries = [{"path": "small/step-20", "tokens": 2e4}, {"path": "small/step-3", "tokens": 3000}]
    (folder / "suite.json").write_text(json.dumps({"bitlaw_suite": 1, "name": "mine", "checkpoints": entries}))
    return folder
