"""A small real suite on disk: a tokenizer trained on the shipped sample, random GPT-NeoX and Llama weights, a manifest."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

WORDS = [
    "the",
    "rain",
    "on",
    "old",
    "stone",
    "bridges",
    "over",
    "slow",
    "green",
    "rivers",
    "at",
    "dawn",
    "and",
    "dusk",
    "with",
    "small",
    "boats",
    "passing",
]


def write_text(path: Path, paragraphs: int, salt: str) -> Path:
    """A text of distinct paragraphs; another salt gives another text."""
    cycle = itertools.cycle(WORDS)
    lines = [
        f"{salt}{i} " + " ".join(itertools.islice(cycle, 11 + (i * 7 + len(salt)) % 13)) + "."
        for i in range(paragraphs)
    ]
    path.write_text("\n\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def suite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bitlaw.text import open_text, train_tokenizer

    folder = tmp_path_factory.mktemp("suite")
    text = write_text(folder / "train.txt", 400, "training")
    write_text(folder / "evaluation.txt", 200, "held")
    tokenizer = train_tokenizer(open_text(text), vocabulary=300, folder=folder / "tokenizer")
    torch.manual_seed(0)
    shape = {
        "vocab_size": 300,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    }
    models = {
        "neox/step-10": GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=64)),
        "neox/step-20": GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=64)),
        "llama/step-10": LlamaForCausalLM(LlamaConfig(**shape, intermediate_size=64)),
    }
    entries = []
    for number, (name, model) in enumerate(models.items()):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(4.0)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        entries.append({"path": name, "tokens": 1000 * (number + 1)})
    (folder / "suite.json").write_text(json.dumps({"bitlaw_suite": 1, "name": "mine", "checkpoints": entries}))
    return folder
