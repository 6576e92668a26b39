"""The runner of GPU studies, on a CPU: plan to archives and datasets, and its parts by themselves."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bitlaw.errors import InputError
from bitlaw.measure import MeasurePlan
from bitlaw.records import Checkpoint, Measurement
from bitlaw.store import read_parquet
from tests.report.simulated_suite import simulate

GPU = Path(__file__).parents[2] / "studies" / "gpu"
MAIN = """
[run]
gpus = [1, 0]
trainers = 1

[train]
suite = "one"
text = "corpus/*.txt"
vocabulary = 280
window_tokens = 16
batch_windows = 4
tokens = 768
checkpoints = 3
first_checkpoint_tokens = 192
models = [
    { name = "neox", architecture = "gpt_neox", width = 16, layers = 1, heads = 2, peak_learning_rate = 1e-2, average = { count = 3 } },
]

[measure]
methods = ["nearest"]
bits = [2, 3]
group_size = 16
evaluation = "sample:evaluation"
evaluation_windows = 4
calibration = "corpus/a.txt"
calibration_windows = 4

[[passes]]
name = "calibration-1"
models = ["neox"]
last = 2
calibration_seed = 1
variants = ["gptq int3_g16"]
"""
ANOTHER = """
[study]
suite = "one"
models = ["neox"]
last = 1

[measure]
evaluation = "corpus/other.txt"
evaluation_windows = 3
variants = ["nearest int4_g16"]
"""


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(GPU))
    yield
    for name in ("work", "measurer", "run", "bring", "unpack", "pack_text", "leases", "cards"):
        sys.modules.pop(name, None)


@pytest.fixture
def plans(tmp_path: Path) -> list[Path]:
    paths = []
    for name, text in (("one", MAIN), ("another", ANOTHER)):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "plan.toml")
        paths[-1].write_text(text)
    return paths


def load(name: str) -> ModuleType:
    return __import__(name)


def test_a_study_is_read_with_its_passes(plans: list[Path]) -> None:
    work = load("work")
    one, another = (work.read_study(p) for p in plans)
    assert (one.name, one.suite, one.gpus, one.trainers, another.train) == ("one", "one", (1, 0), 1, None)
    assert [(p.name, p.last, p.models) for p in one.passes] == [
        ("main", 0, ("*",)),
        ("calibration-1", 2, ("neox",)),
    ]
    main, seeds = one.passes
    assert [v.label for v in main.plan.variants] == ["none", "nearest int2_g16", "nearest int3_g16"]
    assert [v.label for v in seeds.plan.variants] == ["none", "gptq int3_g16"]  # the product is not added to it
    assert (seeds.plan.calibration_seed, seeds.plan.evaluation_windows) == (1, 4)
    assert isinstance(another.passes[0].plan, MeasurePlan)
    assert (another.passes[0].last, another.passes[0].models) == (1, ("neox",))


def test_which_units_there_will_be_and_which_models_are_finished(plans: list[Path]) -> None:
    work, run = load("work"), load("run")
    one, another = (work.read_study(p) for p in plans)
    units = work.planned_units(one, one.train)
    assert set(units) == {"neox"}
    assert sorted(units["neox"]) == sorted(
        [f"one main {m} {s}" for m in ("neox", "neox+mean3") for s in (3, 6, 12)]
        + ["one calibration-1 neox 6", "one calibration-1 neox 12"]
    )
    assert work.planned_units(another, one.train) == {"neox": ["another main neox 12"]}
    done = set(units["neox"])
    assert run.finished_models(one, done) == ["neox"]
    assert run.finished_models(one, done - {"one calibration-1 neox 6"}) == []
    assert work.without(one.train, ["neox"]) is None
    assert work.without(one.train, []).models == one.train.models


def test_measurers_of_a_gpu_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    measurer = load("measurer")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setenv(measurer.MEASURERS, "3")
    assert measurer.memory_share("cpu") == 0
    assert measurer.memory_share("cuda") == int(measurer.SHARED * 80 * 2**30 / 3)


def test_a_unit_is_claimed_once(tmp_path: Path) -> None:
    work = load("work")
    ledger = work.Ledger(tmp_path)
    assert ledger.claim("a b c 1")
    assert not work.Ledger(tmp_path).claim("a b c 1")
    ledger.forget_claims()
    assert ledger.claim("a b c 1")
    ledger.finish("a b c 1")
    ledger.forget_claims()
    assert not ledger.claim("a b c 1")
    assert ledger.done() == {"a b c 1"}


def test_a_model_trained_again_replaces_the_earlier_one() -> None:
    leases = load("leases")
    first = simulate(seed=0)[:40]

    def other(checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, commit=checkpoint.commit[::-1] + "x")

    model = first[0].asked.checkpoint.model
    again = [
        replace(m, asked=replace(m.asked, checkpoint=other(m.asked.checkpoint)))
        for m in first
        if m.asked.checkpoint.model == model
    ]
    of_suite = first[0].asked.checkpoint.suite

    def keys(*lists: list[Measurement]) -> set[str]:
        return {m.key for m in leases.merged([leases.Lease(rows=rows) for rows in lists])[0]}

    kept = [m for m in first if m.asked.checkpoint.model != model]
    mine = [m for m in first if m.asked.checkpoint.model == model]
    assert keys(first, again) == {m.key for m in (*kept, *again)}  # as many or more: the later training
    assert keys(first, again[:-1]) == {m.key for m in first}  # fewer: the earlier one stays whole
    assert keys(kept + mine[:5], mine) == {m.key for m in first}  # the same training, gone on with
    assert leases.merged([leases.Lease(rows=first), leases.Lease(rows=again)])[1][of_suite, model] == 1


def test_losses_and_weights_follow_the_measurements_of_their_model() -> None:
    leases = load("leases")
    head = "model,step,tokens,loss_nats,steps_averaged,learning_rate\n"
    files = [
        leases.Lease(
            files={"train-loss.csv": head + "a,1,10,5,1,0.1\nb,1,10,5,1,0.1\n", "suite.json": suite_of("a", "b")}
        ),
        leases.Lease(
            files={"train-loss.csv": head + "a,1,10,4,1,0.1\nc,1,10,4,1,0.1\n", "suite.json": suite_of("a", "c")}
        ),
    ]
    early = leases.merged_files(files, {("s", "a"): 0, ("s", "c"): 1})
    assert early["train-loss.csv"] == head + "a,1,10,5,1,0.1\nb,1,10,5,1,0.1\nc,1,10,4,1,0.1\n"
    late = leases.merged_files(files, {("s", "a"): 1})
    assert late["train-loss.csv"] == head + "b,1,10,5,1,0.1\na,1,10,4,1,0.1\nc,1,10,4,1,0.1\n"
    assert [c["model"] for c in json.loads(late["suite.json"])["checkpoints"]] == ["b", "a", "c"]
    assert "weight-changes.csv" not in late


def suite_of(*models: str) -> str:
    return json.dumps({"name": "s", "checkpoints": [{"model": m, "path": f"{m}/step-1"} for m in models]})


def test_what_failed_or_has_no_baseline_is_left_out() -> None:
    leases = load("leases")
    rows = simulate(seed=0)[:40]
    failed = replace(rows[1], seen=replace(rows[1].seen, state="failed", reason="CUDA out of memory"))
    assert leases.usable([rows[0], failed, rows[2]]) == [rows[0], rows[2]]
    assert leases.usable(rows[1:3]) == []


def test_models_that_were_never_trained_are_left_out() -> None:
    leases = load("leases")
    rows = [f"moves,{n},{9 - n / 10}" for n in range(8)] + [f"still,{n},{8.25 if n > 2 else 8.3}" for n in range(8)]
    losses = "".join(f"{line}\n" for line in ["model,step,loss_nats", *rows, "short,1,8.25", "short,2,8.25"])
    assert leases.untrained(losses) == {"still"}
    suite = json.dumps({"checkpoints": [{"model": m} for m in ("moves", "still", "still+mean5")]})
    changes = "model,step,median\nstill,2,0\nmoves,2,1\n"
    given = leases.Lease(files={leases.LOSSES: losses, leases.SUITE: suite, leases.CHANGES: changes})
    left = leases.without(given, {"still"}).files
    assert "still" not in "".join(left.values())
    assert [c["model"] for c in json.loads(left[leases.SUITE])["checkpoints"]] == ["moves"]
    assert left[leases.CHANGES] == "model,step,median\nmoves,2,1\n"
    assert left[leases.LOSSES].count("moves") == 8


@pytest.mark.parametrize("filters", [True, False])
def test_archives_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: bool) -> None:
    archives = load("archives")
    if filters and not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python has no filters")
    if not filters:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "file").write_text("x")
    for name, fine in (("inside/file", True), ("../outside", False)):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(tmp_path / "file", name)
        with tarfile.open(tmp_path / "a.tar") as archive:
            if fine:
                archives.extract(archive, tmp_path / "out")
            else:
                with pytest.raises(tarfile.TarError):
                    archives.extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "inside" / "file").read_text() == "x"
    assert not (tmp_path / "outside").exists()


def test_from_plans_to_archives(plans: list[Path], tmp_path: Path) -> None:
    """All of it in processes: two studies, trained, averaged, measured in passes, packed; what comes back is what was planned."""
    corpus = tmp_path / "given" / "corpus"
    corpus.mkdir(parents=True)
    sentence = "the cat sees a green tree and nobody hears the bird . "
    (corpus / "a.txt").write_text("\n\n".join(f"{i} {sentence * 40}" for i in range(60)))
    (tmp_path / "given" / "corpus" / "other.txt").write_text("a dog hears the red house . " * 300)
    plans[0].write_text(MAIN.replace("corpus/*.txt", "corpus/a.txt"))
    command = [sys.executable, str(GPU / "run.py"), *map(str, plans), "--work", str(tmp_path / "w"), "--gpus", "1"]
    command += ["--device", "cpu", "--measurers", "1", "--out", str(tmp_path / "out"), "--wall", "600"]
    command += ["--corpus", str(tmp_path / "given"), "--bring", "one/neox/step-0000012", "one/neox/step-7"]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == 0, ended.stderr
    assert "0 of 9 units left" in ended.stdout
    assert "not there, so not brought back: one/neox/step-7" in ended.stdout
    back = tmp_path / "back"
    for name in ("one", "another", "checkpoints"):
        with tarfile.open(tmp_path / "out" / f"{name}.tar.gz") as archive:
            load("archives").extract(archive, back / name)
    rows = read_parquet(back / "one" / "records.parquet")
    asked = [
        (m.asked.checkpoint.model, m.asked.checkpoint.step, m.asked.variant.label, m.asked.evaluation.name)
        for m in rows
    ]
    text, other = "sample:evaluation", "corpus/other.txt"
    planned = [
        (model, step, label, text)
        for model in ("neox", "neox+mean3")
        for step in (3, 6, 12)
        for label in ("none", "nearest int2_g16", "nearest int3_g16")
    ]
    planned += [("neox", step, "gptq int3_g16", text) for step in (6, 12)]
    planned += [("neox", 12, label, other) for label in ("none", "nearest int4_g16")]
    assert sorted(asked) == sorted(planned)
    assert all(m.seen.state == "ok" for m in rows)
    with (back / "one" / "train-loss.csv").open() as file:
        curve = list(csv.DictReader(file))
    assert [int(r["step"]) for r in curve] == list(range(1, 13))
    with (back / "one" / "weight-changes.csv").open() as file:
        moved = [(r["model"], r["step_from"], r["step_to"]) for r in csv.DictReader(file)]
    assert moved == [(model, a, b) for model in ("neox", "neox+mean3") for a, b in (("3", "6"), ("6", "12"))]
    assert len((back / "one" / "done.txt").read_text().splitlines()) == 8
    assert (back / "another" / "done.txt").read_text() == "another main neox 12\n"
    assert (back / "checkpoints" / "one" / "neox" / "step-0000012" / "model.safetensors").is_file()
    # Going on when everything is trained reads no text again: there is none to read any more.
    (tmp_path / "w" / "corpus" / "a.txt").unlink()
    work, run = load("work"), load("run")
    run.prepare([work.read_study(plans[0])], tmp_path / "w", {"one": []})
    assert not (tmp_path / "w" / "one" / "work" / "ids.npy").exists()


def test_a_packed_text_is_the_text(plans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out of the archives is what tokenizing gives, and an archive that is missing is told."""
    from bitlaw.train.corpus import prepare_text

    pack_text, run, work = load("pack_text"), load("run"), load("work")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("".join(f"Sentence {n} tells of {n * n}.\n\n" for n in range(4000)))
    monkeypatch.chdir(tmp_path)
    study = work.read_study(plans[0])
    (tmp_path / "made" / "work").mkdir(parents=True)
    prepare_text(study.train, tmp_path / "made")
    pack_text.pack(tmp_path / "made", tmp_path / "packed", 2)
    assert sorted(p.name for p in (tmp_path / "packed").iterdir()) == ["text-0.tar", "text-1.tar"]
    ready = pack_text.unpack(tmp_path / "packed", tmp_path / "text")
    run.prepare([study], tmp_path / "run", {"one": []}, ready)
    for name in ("work/ids.npy", "training-documents.npy", "training-text.json", "tokenizer/tokenizer.json"):
        assert (tmp_path / "run" / "one" / name).read_bytes() == (tmp_path / "made" / name).read_bytes(), name
    (tmp_path / "packed" / "text-1.tar").unlink()
    with pytest.raises(InputError, match="all parts"):
        pack_text.unpack(tmp_path / "packed", tmp_path / "again")
