"""Measuring a suite on disk: what lands in the store, what is skipped, what a failure becomes."""

import contextlib
import copy
import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bitlaw.errors import InputError, StoreError, UnknownName
from bitlaw.formats import parse_format
from bitlaw.measure import MeasurePlan, measure, measure_plan, read_plan
from bitlaw.quantize.method import NoOptions
from bitlaw.quantize.nearest import nearest
from bitlaw.store import open_store
from bitlaw.suites import open_suite
from bitlaw.sweep import Decoder
from bitlaw.sweep.compiled import CompiledBlocks
from bitlaw.sweep.layers import linear_layers
from bitlaw.text import open_text, token_windows


def plan_for(folder: Path, **settings: Any) -> MeasurePlan:
    base: dict[str, Any] = {
        "methods": ["nearest", "gptq"],
        "bits": [2, 4],
        "group_size": 32,
        "evaluation": str(folder / "evaluation.txt"),
        "evaluation_windows": 6,
        "calibration": str(folder / "train.txt"),
        "calibration_windows": 8,
    }
    return MeasurePlan.make(**{**base, **settings})


def test_every_variant_of_every_checkpoint_lands_in_the_store(suite_folder: Path, tmp_path: Path) -> None:
    summary = measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", workers=1)
    assert (summary.measured, summary.skipped, summary.failed) == (15, 0, 0)
    with open_store(tmp_path / "s.db") as store:
        rows = store.read()
    assert {(m.asked.checkpoint.model, m.asked.checkpoint.step) for m in rows} == {
        ("neox", 10),
        ("neox", 20),
        ("llama", 10),
    }
    nearest_rows = [m for m in rows if m.asked.variant.method == "nearest"]
    assert all(m.asked.calibration.windows == 0 for m in nearest_rows), (
        "a data-free method asks for no calibration text"
    )
    for m in rows:
        assert m.seen.windows == 6
        assert m.seen.tokens_scored == 6 * 31
        assert m.bits_per_byte > 0
        assert (m.qid == 0) == (m.asked.variant.method == "none")


def test_numbers_equal_transformers_on_the_same_tokens(suite_folder: Path, tmp_path: Path) -> None:
    measure(suite_folder, plan_for(suite_folder, methods=["nearest"]), tmp_path / "s.db", workers=1)
    suite = open_suite(suite_folder)
    checkpoint = next(c for c in suite.checkpoints if c.described.model == "llama")
    model, tokenizer = checkpoint.load()
    windows = token_windows(tokenizer, open_text(suite_folder / "evaluation.txt"), 32, windows=6)
    ids = torch.from_numpy(windows.ids.astype("int64"))

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            logits = network(input_ids=ids).logits[:, :-1].double()
        return float(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))

    decoder = Decoder(copy.deepcopy(model))
    for index in range(len(decoder.blocks)):
        for layer in linear_layers(decoder, index):
            layer.module.weight.data = nearest(layer.module.weight.data, None, parse_format("int4_g32"), NoOptions())
    with open_store(tmp_path / "s.db") as store:
        (base,) = store.read(model="llama", method="none")
        (four,) = store.read(model="llama", bits=4.0)
    assert base.loss == pytest.approx(loss(model), abs=1e-5)
    assert four.loss == pytest.approx(loss(decoder.model), abs=1e-5)
    assert four.baseline_loss == pytest.approx(base.loss, abs=1e-6)
    assert base.asked.evaluation.token_hash == windows.token_hash


def test_running_again_does_only_what_is_missing(suite_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    measure(suite_folder, plan_for(suite_folder, bits=[4]), store, workers=1)
    summary = measure(suite_folder, plan_for(suite_folder), store, workers=1)
    assert (summary.measured, summary.skipped) == (6, 9)
    again = measure(suite_folder, plan_for(suite_folder), store, workers=1)
    assert (again.measured, again.skipped) == (0, 15)
    measure(suite_folder, plan_for(suite_folder), tmp_path / "undisturbed.db", workers=2)
    with open_store(store) as a, open_store(tmp_path / "undisturbed.db") as b:
        assert a.digest() == b.digest()


def test_shards_join_to_the_whole(suite_folder: Path, tmp_path: Path) -> None:
    for shard in ("0/2", "1/2"):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "shards.db", shard=shard, workers=1)
    measure(suite_folder, plan_for(suite_folder), tmp_path / "whole.db", workers=1)
    with open_store(tmp_path / "shards.db") as a, open_store(tmp_path / "whole.db") as b:
        assert a.digest() == b.digest()


def test_ray_gives_the_same_store(suite_folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys, warnings\n"
        "from pathlib import Path\n"
        "from tests.measure.test_measure import plan_for\n"
        "from bitlaw.measure import measure\n"
        "folder = Path(sys.argv[1])\n"
        "print(measure(folder, plan_for(folder), sys.argv[2], ray='local').measured)\n"
    )
    arguments = [sys.executable, "-c", script, str(suite_folder), str(tmp_path / "ray.db")]
    root = Path(__file__).parents[2]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "15"
    measure(suite_folder, plan_for(suite_folder), tmp_path / "here.db", workers=1)
    with open_store(tmp_path / "ray.db") as a, open_store(tmp_path / "here.db") as b:
        assert a.digest() == b.digest()


def test_kill_at_any_moment_loses_nothing(suite_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bitlaw.cli.main", "measure", str(suite_folder), "--store", str(tmp_path / "k.db")]
    command += [
        "--methods",
        "nearest",
        "gptq",
        "--bits",
        "2",
        "4",
        "--group-size",
        "32",
        "--progress",
        "none",
        "--workers",
        "1",
    ]
    command += ["--evaluation", str(suite_folder / "evaluation.txt"), "--evaluation-windows", "6"]
    command += ["--calibration", str(suite_folder / "train.txt"), "--calibration-windows", "8"]
    started = subprocess.Popen(command)
    deadline = time.monotonic() + 300
    held = 0
    while held == 0 and started.poll() is None and time.monotonic() < deadline:  # until the first checkpoint is stored
        time.sleep(0.05)
        with (
            contextlib.suppress(StoreError),
            open_store(tmp_path / "k.db", create=False) as store,
        ):  # once it has its tables
            held = store.count()
    started.kill()
    started.wait()
    with open_store(tmp_path / "k.db", create=False) as store:
        assert store.count() >= held > 0
    assert subprocess.run(command, check=False).returncode == 0
    measure(suite_folder, plan_for(suite_folder), tmp_path / "undisturbed.db", workers=1)
    with open_store(tmp_path / "k.db") as a, open_store(tmp_path / "undisturbed.db") as b:
        assert a.digest() == b.digest()


def test_a_failed_measurement_is_a_state_and_is_tried_again(suite_folder: Path, tmp_path: Path) -> None:
    plan = plan_for(suite_folder, methods=[], bits=[], variants=["gptq int4_g32 damping=0"], calibration_windows=1)
    summary = measure(suite_folder, plan, tmp_path / "s.db", models=["llama"], workers=1)
    assert summary.failed == 1
    assert "not positive definite" in summary.failures[0]
    with open_store(tmp_path / "s.db") as store:
        (failed,) = store.read(state="failed")
    assert failed.seen.nats is None
    with pytest.raises(InputError, match="state 'failed'"):
        _ = failed.qid
    assert measure(suite_folder, plan, tmp_path / "s.db", models=["llama"], workers=1).failed == 1


def test_one_broken_checkpoint_does_not_stop_the_others(suite_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(suite_folder, folder)
    weights = folder / "neox/step-10/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    manifest = json.loads((folder / "suite.json").read_text())
    for entry in manifest["checkpoints"]:
        entry |= {"parameters": 1000, "parameters_total": 2000}
    (folder / "suite.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="step-10"):
        measure(folder, plan_for(folder, methods=["nearest"]), tmp_path / "s.db", workers=1)
    with open_store(tmp_path / "s.db") as store:
        assert store.count() == 6


def test_plans_name_variants_once_and_with_all_options() -> None:
    plan = measure_plan(read_plan("tiny"))
    labels = [v.label for v in plan.variants]
    assert labels[0] == "none"
    assert len(labels) == len(set(labels)) == 7
    twice = MeasurePlan.make(methods=["gptq"], bits=[4], variants=["gptq int4_g128", "gptq int4_g128 damping=0.1"])
    assert [v.options.get("damping") for v in twice.variants] == [None, 0.01, 0.1]
    assert dataclasses.replace(plan, evaluation_windows=3).evaluation_windows == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"methods": ["gtpq"], "bits": [4]}, "Did you mean 'gptq'"),
        ({"methods": ["gptq"], "bits": [1.5]}, "bits=1.5"),
        ({"methods": ["gptq"], "bits": [0]}, "bits=0"),
        ({"methods": ["gptq"], "bits": [33]}, "bits=33"),
        ({"variants": ["gptq"]}, "not of the form"),
        ({"variants": ["gptq itn4_g32"]}, "Unknown format"),
        ({}, "names no quantized variant"),
        ({"methods": ["gptq"], "bits": [4], "windows": 3}, "Unknown setting"),
        ({"methods": ["gptq"], "bits": [4], "evaluation_windows": -1}, "evaluation_windows=-1"),
        ({"methods": ["nearest"], "bits": [4], "options": {"gptq": {"damping": 0.1}}}, "plan's methods are nearest"),
    ],
)
def test_bad_plans(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MeasurePlan.make(**settings)


def test_bad_input(suite_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        measure("tinny", plan_for(suite_folder), tmp_path / "s.db")
    with pytest.raises(InputError, match="has no model 'big'"):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", models=["big"])
    with pytest.raises(InputError, match="shard="):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", shard="2/2")
    with pytest.raises(InputError, match="not available"):
        measure(suite_folder, plan_for(suite_folder), tmp_path / "s.db", device="tpu")
    with pytest.raises(InputError, match=r"int\d_g24 needs in_features divisible by 24"):
        measure(suite_folder, plan_for(suite_folder, methods=["nearest"], group_size=24), tmp_path / "s.db", workers=1)
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(InputError, match="windows of 32"):
        measure(suite_folder, plan_for(suite_folder, evaluation=str(short)), tmp_path / "s.db")
    with pytest.raises(InputError, match="No plan 'tinny'"):
        read_plan("tinny")


def test_a_plan_says_whether_blocks_are_compiled(
    suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CompiledBlocks, "run", lambda _, block, hidden, arguments, keywords: block(hidden, **keywords))
    kernels = {}
    for how in ("auto", "yes"):
        plan = plan_for(suite_folder, methods=["nearest"], compile=how)
        measure(suite_folder, plan, tmp_path / f"{how}.db", workers=1)
        with open_store(tmp_path / f"{how}.db") as store:
            kernels[how] = {m.made.kernel for m in store.read()}
    assert kernels == {"auto": {"torch"}, "yes": {"torch compiled"}}
    with pytest.raises(InputError, match="compile='often' is not known"):
        plan_for(suite_folder, compile="often")
