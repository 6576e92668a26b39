"""bitlaw's gptq against llm-compressor and GPTQModel set to the same algorithm, on a small model that has learned something.

BITLAW_PEER_SUITE=<folder of a suite> compares on the last checkpoint of the suite's largest model instead.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.gptq_peers import BITS, MATCHES, agrees, compare, table
from torch import nn

from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows

# In the peers' environment transformers imports packages that warn; that is not ours to mend.
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]
VOCABULARY, LENGTH = 64, 64
PACKAGES = {"llm-compressor": "llmcompressor", "GPTQModel": "gptqmodel"}


def sentences(count: int, seed: int) -> torch.Tensor:
    """Windows of a noisy Markov chain whose next token depends on the two before it."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(VOCABULARY, (VOCABULARY, VOCABULARY, 2), generator=torch.Generator().manual_seed(0))
    rows = torch.randint(VOCABULARY, (count, LENGTH), generator=generator)
    coin = torch.randint(2, (count, LENGTH), generator=generator)
    for t in range(2, LENGTH):
        rows[:, t] = table[rows[:, t - 2] % 8, rows[:, t - 1], coin[:, t]]
    return rows


def train() -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=LENGTH,
    )
    model = GPTNeoXForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(120):
        ids = sentences(16, seed=step + 1)
        logits = model(input_ids=ids).logits
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def tokenizer() -> Any:
    """Return a tokenizer of the right size: peers want one beside the model, ids come from elsewhere."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", pad_token="w0", eos_token="w0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, torch.Tensor, torch.Tensor]:
    """Model, its folder, calibration and evaluation windows."""
    folder = tmp_path_factory.mktemp("model")
    if suite := os.environ.get("BITLAW_PEER_SUITE"):
        last = max(open_suite(suite).checkpoints, key=lambda c: (c.described.parameters, c.described.step))
        model, words = last.load()
        length = int(model.config.max_position_embeddings)
        texts = (
            token_windows(words, open_text("sample:train"), length, windows=128, seed=0),
            token_windows(words, open_text("sample:evaluation"), length, windows=256),
        )
        calibration, evaluation = (torch.from_numpy(text.ids).long() for text in texts)
    else:
        model, words = train(), tokenizer()
        calibration, evaluation = sentences(64, seed=2000), sentences(128, seed=1000)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model, folder, calibration, evaluation


@pytest.mark.parametrize("peer", PACKAGES)
def test_qid_is_the_peers(peer: str, trained, tmp_path: Path) -> None:
    if importlib.util.find_spec(PACKAGES[peer]) is None:  # it runs in a process of its own and is not imported here
        pytest.skip(f"{peer} is not installed")
    matches = [m for m in MATCHES if m.peer == peer]
    assert matches
    model, folder, calibration, evaluation = trained
    bits = BITS if "BITLAW_PEER_SUITE" in os.environ else (3,)
    rows = compare(model, folder, calibration, evaluation, matches, tmp_path, bits)
    print(table(rows))
    for row in rows:
        assert row.ours[0] > 0, row
        # Given the Hessian that the peer had: the same algorithm, up to a weight that lies at a tie of the grid.
        assert min(row.by_layer.same.values()) > 0.99, row
        assert agrees(row.by_layer.difference) or abs(row.by_layer.difference[0]) < 0.01 * row.ours[0], row
        # Walked apart, a weight at a tie moves all inputs behind it, so only the first layer is sure to be the same.
        assert next(iter(row.exact.same.values())) > 0.999, row
