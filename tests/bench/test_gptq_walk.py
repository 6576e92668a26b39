"""The walk that benchmarks write out for one variant gives the sweep's numbers, and the comparison with a peer is made from it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import peer_qid_gpu
from benchmarks.gptq_walk import gptq_weights, window_nats
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from bitlaw.quantize import make_variant
from bitlaw.sweep import sweep
from bitlaw.text import open_text, train_tokenizer
from tests.sweep.models import FAMILIES, windows


@pytest.mark.parametrize(
    "settings",
    [{}, {"upstream": "full_precision"}, {"within_block": "sequential"}],
    ids=["quantized", "full_precision", "sequential"],
)
def test_nats_are_the_sweeps(settings: dict[str, Any]) -> None:
    model, variant = FAMILIES["llama"](), make_variant("gptq", "int3_g16", settings)
    evaluation, calibration = windows(8, 24, seed=1), windows(12, 24, seed=2)
    (swept,) = sweep(model, [variant], evaluation, calibration)
    nats = window_nats(model, evaluation, gptq_weights(model, variant, calibration))
    assert float(nats.sum()) == pytest.approx(swept.seen.nats, rel=1e-6)
    assert float(nats.sum()) != pytest.approx(float(window_nats(model, evaluation, {}).sum()), rel=1e-5)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A checkpoint wide enough for groups of 128, with a tokenizer of the shipped text."""
    tokenizer = train_tokenizer(open_text("sample:train"), vocabulary=300, folder=tmp_path / "tokenizer")
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=256, max_position_embeddings=16))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    model.save_pretrained(tmp_path / "step-10")
    tokenizer.save_pretrained(tmp_path / "step-10")
    checkpoints = [{"path": "step-10", "tokens": 1000, "model": "one"}]
    (tmp_path / "suite.json").write_text(json.dumps({"bitlaw_suite": 1, "name": "small", "checkpoints": checkpoints}))
    return tmp_path


def test_qid_beside_a_peer(suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything of the script but the peer, whose place a gptq of another damping takes: other weights, another QiD."""

    def damped(
        folder: str, ids: Any, setting: dict[str, Any]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        variant = make_variant("gptq", f"int{setting['bits']}_g128_sym", {"damping": 0.5})
        return gptq_weights(model, variant, torch.from_numpy(ids)), {}

    monkeypatch.setattr(peer_qid_gpu, "llm_compressor", damped)
    given = [str(suite), "--model", "one", "--windows", "40", "--bits", "2", "4", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["peer_qid_gpu.py", *given])
    peer_qid_gpu.main()
    two, four = map(json.loads, capsys.readouterr().out.splitlines())
    assert (two["what"], two["bits"], four["bits"], two["gpu"]) == ("peer_qid", 2, 4, "cpu")
    assert abs(four["qid"][0]) < abs(two["qid"][0])
    assert two["difference"][0] == pytest.approx(two["peer_qid"][0] - two["qid"][0], abs=1e-9)
    assert two["least_same"] < 1.0
