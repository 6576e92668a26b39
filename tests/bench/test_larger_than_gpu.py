"""A checkpoint is written, swept block by block and spread over devices; GPUs are asked for their peaks after CUDA has begun."""

import argparse
from pathlib import Path

import pytest
import torch
from benchmarks import larger_than_gpu

SETTINGS = {"calibration": 8, "evaluation": 4, "tokens": 32, "batch": 4, "shape": "llama-tiny"}


def test_one_device_and_a_model_spread_over_two(tmp_path: Path) -> None:
    larger_than_gpu.write(tmp_path, "llama-tiny", 3, "cpu")
    one, two = (
        larger_than_gpu.run(tmp_path, argparse.Namespace(**SETTINGS, device=device)) for device in ("cpu", "cpu,cpu")
    )
    assert one["states"] == two["states"] == ["ok", "ok", "ok"]
    assert two["nats_a_token"] == one["nats_a_token"]
    assert [line["devices"] for line in (one, two)] == [1, 2]
    assert one["seconds_all_blocks"] == pytest.approx(one["seconds"] + 77 * one["seconds_a_block"])


def test_peaks_begin_anew_on_every_gpu_after_cuda_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the allocator does, the double knows no GPU by its number before."""
    known: list[str] = []
    reset: list[str] = []

    def peak(device: str) -> None:
        if device not in known:
            raise RuntimeError("Invalid device argument")
        reset.append(device)

    monkeypatch.setattr(torch.cuda, "init", lambda: known.extend(["cuda:0", "cuda:1"]))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", peak)
    larger_than_gpu.forget_peaks(["cuda:0", "cuda:1"])
    assert reset == ["cuda:0", "cuda:1"]
