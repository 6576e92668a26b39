"""What comes back from a run: a small archive a study. Records are merged over the stores of all measuring processes."""

from __future__ import annotations

import csv
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from work import Ledger, Study

from bitlaw.datasets import pack
from bitlaw.records import Measurement
from bitlaw.store import open_store
from bitlaw.suites import MANIFEST, open_suite
from bitlaw.suites.changes import weight_changes, write_changes

POINTS = 100  # of a loss curve
CHANGES = "weight-changes.csv"


def bring_back(studies: Sequence[Study], folder: Path, out: Path, checkpoints: Sequence[str]) -> None:
    """Write STUDY.tar.gz for each study, logs.tar.gz, and checkpoints.tar.gz for those named `SUITE/MODEL/step-N`."""
    out.mkdir(parents=True, exist_ok=True)
    stored = all_measurements(folder / "stores")
    done = Ledger(folder).done()
    for study in studies:
        staged = folder / "back" / study.name
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        own = study.train is not None  # what was asked of another's checkpoints travels with that study
        mine = [m for m in stored if own and m.asked.checkpoint.suite == study.suite]
        if mine:
            pack(mine, staged / "records.parquet")
        lines = sorted(line for line in done if line.split(" ", 1)[0] == study.name)
        (staged / "done.txt").write_text("".join(f"{line}\n" for line in lines))
        suite = folder / study.suite
        if own:
            write_losses(suite, staged / "train-loss.csv")
            for name in ("suite.json", "plan.json"):
                if (suite / name).is_file():
                    shutil.copy(suite / name, staged / name)
            if (suite / CHANGES).is_file():  # of an earlier call, when this one is short of time
                shutil.copy(suite / CHANGES, staged / CHANGES)
        _archive(out / f"{study.name}.tar.gz", [(file, file.name) for file in sorted(staged.iterdir())])
        print(f"{study.name}: {len(mine)} measurements, {len(lines)} units")
    _archive(out / "logs.tar.gz", [(f, f"logs/{f.name}") for f in sorted((folder / "logs").iterdir())])
    named = [folder / name for name in checkpoints if (folder / name).is_dir()]
    missing = [name for name in checkpoints if folder / name not in named]
    if missing:
        print(f"not there, so not brought back: {', '.join(missing)}")
    if named:
        _archive(out / "checkpoints.tar.gz", [(path, str(path.relative_to(folder))) for path in named])
    for study in studies:  # last, since it reads all weights: the rest is already in place
        if study.train is not None and (folder / study.suite / MANIFEST).is_file():
            staged = folder / "back" / study.name
            rows = weight_changes(open_suite(folder / study.suite))
            if rows:
                write_changes(rows, folder / study.suite / CHANGES)
                shutil.copy(folder / study.suite / CHANGES, staged / CHANGES)
                _archive(out / f"{study.name}.tar.gz", [(file, file.name) for file in sorted(staged.iterdir())])


def all_measurements(stores: Path) -> list[Measurement]:
    """Return the measurements of all stores, each key once, those that worked first."""
    found: dict[str, Measurement] = {}
    for file in sorted(stores.glob("*.db")):
        store = open_store(file)
        for m in store:
            if m.key not in found or m.seen.state == "ok":
                found[m.key] = m
        store.close()
    return list(found.values())


def write_losses(suite: Path, path: Path) -> None:
    """Write the training losses of all models, each point the mean over about a hundredth of the run."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("model", "step", "tokens", "loss_nats", "steps_averaged", "learning_rate"))
        for curve in sorted(suite.glob("*/train-loss.csv")):
            with curve.open(newline="") as source:
                steps = list(csv.DictReader(source))
            size = max(1, len(steps) // POINTS)
            for start in range(0, len(steps), size):
                part = steps[start : start + size]
                mean = sum(float(r["loss_nats"]) for r in part) / len(part)
                last = part[-1]
                rows.writerow(
                    (curve.parent.name, last["step"], last["tokens"], f"{mean:.6g}", len(part), last["learning_rate"])
                )


def _archive(path: Path, members: Sequence[tuple[Path, str]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for file, name in members:
            archive.add(file, arcname=name)
