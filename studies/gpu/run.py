"""Train and measure studies on the GPUs of one machine within a wall limit, and bring back only what is small.

    python studies/gpu/run.py studies/lr-state/plan.toml studies/native/plan.toml --work /tmp/studies --corpus .gpu \
        --gpus 4 --wall 570 --out "$OUT"

`--corpus` is a folder whose files are moved into WORK (`corpus/`, `tokenizer/`, `calibration.jsonl`: the plans name
texts relative to WORK). Each study trains in a process of its own, its models spread over the GPUs; one process a GPU
measures finished checkpoints meanwhile, more of them once training has ended. At the wall limit everything stops, and
OUT gets STUDY.tar.gz with records.parquet, train-loss.csv, suite.json, weight-changes.csv and done.txt of each study.
The same command goes on where it was while WORK exists. On a fresh machine, `--done FILE` (done.txt files of earlier
runs) skips the models that were measured completely; a model that was not is trained and measured anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src"  # this repository's bitlaw, installed or not
sys.path[:0] = [str(HERE), str(SOURCE)]

from bring import bring_back  # noqa: E402
from measurer import MEASURERS, STOP, TRAINED  # noqa: E402
from pack_text import unpack  # noqa: E402
from work import Ledger, Study, planned_units, read_study, without  # noqa: E402

from bitlaw.train.corpus import IDS, TEXT_INFO, TOKENIZER, WORK, prepare_text  # noqa: E402
from bitlaw.train.run import is_trained  # noqa: E402

TRAINING_DOCUMENTS = "training-documents.npy"
GRACE_SECONDS = 6.0  # between asking processes to stop and killing them
EXPORT_SECONDS = 30.0  # kept for writing what comes back


def prepare(studies: Sequence[Study], folder: Path, finished: dict[str, list[str]], ready: Path | None = None) -> None:
    """Tokenize the training text once; studies that ask the same text and tokenizer share the files.

    `ready`: a folder with the tokenized text of all studies, from `pack_text.py`.

    A study that is trained already needs no text: its token ids went when training ended, and take a minute to make.
    """
    made: dict[tuple[str, str, int], Path] = {}
    for study in studies:
        plan = None if study.train is None else without(study.train, finished[study.name])
        if plan is None:
            continue
        own = folder / study.suite
        if is_trained(plan, own):
            continue
        (own / WORK).mkdir(parents=True, exist_ok=True)
        key = (plan.text, plan.tokenizer, plan.vocabulary)
        source = made.get(key, ready)
        if source is not None and not (own / TEXT_INFO).exists():
            shutil.copytree(source / TOKENIZER, own / TOKENIZER)
            for name in (f"{WORK}/{IDS}", TRAINING_DOCUMENTS, TEXT_INFO):
                os.link(source / name, own / name)
        else:
            prepare_text(plan, own)
        made.setdefault(key, own)


def finished_models(study: Study, done: set[str]) -> list[str]:
    """Return the models of a study whose units are all done."""
    if study.train is None:
        return []
    units = planned_units(study, study.train)
    return [name for name in units if set(units[name]) <= done]


class Run:
    """The processes of a run, each in a session of its own, so that stopping one stops what it started."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.trainers: dict[str, subprocess.Popen[bytes]] = {}
        self.measurers: list[subprocess.Popen[bytes]] = []
        (folder / "logs").mkdir(exist_ok=True)

    def start(self, name: str, script: str, arguments: Sequence[str], gpus: str) -> subprocess.Popen[bytes]:
        """Start a script of this folder that sees the GPUs given; its output goes to logs/NAME."""
        found = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH", ""))))
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpus, "PYTHONUNBUFFERED": "1", "PYTHONPATH": found}
        environment.setdefault("OMP_NUM_THREADS", "4")
        environment.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")
        environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        with (self.folder / "logs" / name).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(HERE / script), *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def train(self, study: Study, path: Path, finished: Sequence[str], *, workers: int, machine: int) -> None:
        """Start the training of a study on its GPUs, of the `machine` many there are."""
        gpus = dict.fromkeys(str(gpu % machine) for gpu in study.gpus)
        arguments = [str(self.folder), self.device, str(workers), str(path), *finished]
        self.trainers[study.name] = self.start(f"train-{study.name}.log", "trainer.py", arguments, ",".join(gpus))

    def stop(self) -> None:
        """Ask everything that runs to stop, wait a little, kill what is left."""
        (self.folder / STOP).touch()
        running = [p for p in (*self.trainers.values(), *self.measurers) if p.poll() is None]
        for process in self.trainers.values():
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(p.poll() is None for p in running):
            time.sleep(0.1)
        for process in running:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def work(studies: Sequence[Study], paths: Sequence[Path], given: argparse.Namespace, deadline: float) -> None:
    """Run everything until it is done or the deadline comes."""
    folder = given.work
    for name in (STOP, TRAINED):
        (folder / name).unlink(missing_ok=True)
    ledger = Ledger(folder)
    ledger.forget_claims()
    earlier = {line for path in given.done for line in path.read_text().splitlines()}
    for line in earlier:
        ledger.finish(line)
    # Only models that another machine finished are left out: those of this work folder are part of the plan it was begun with.
    finished = {s.name: finished_models(s, earlier) for s in studies}
    prepare(studies, folder, finished, None if given.text is None else unpack(given.text, folder / "text"))
    told(f"text is ready; skipped models: {finished}")
    plans = {s.suite: s.train for s in studies if s.train is not None}
    units = {u for s in studies for listed in planned_units(s, plans[s.suite]).values() for u in listed}
    run = Run(folder, given.device)
    gpus = [str(g) for g in range(given.gpus)]
    tries: dict[str, int] = {}
    try:
        for study, path in zip(studies, paths, strict=True):
            if study.train is not None:
                run.train(study, path, finished[study.name], workers=study.trainers, machine=given.gpus)
                tries[study.name] = 1
        for number in range(given.measurers * len(gpus)):
            late = ["late"] if number >= given.early * len(gpus) else []
            arguments = [str(folder), given.device, str(number), *late, *map(str, paths)]
            gpu = gpus[number % len(gpus)]
            run.measurers.append(run.start(f"measure-{number}.log", "measurer.py", arguments, gpu))
        said = 0.0
        while time.monotonic() < deadline and any(p.poll() is None for p in run.measurers):
            for study, path in zip(studies, paths, strict=True):
                process = run.trainers.get(study.name)
                if process is not None and process.poll() not in (None, 0) and tries[study.name] < 3:
                    told(f"training of {study.name} ended with {process.returncode}; again")
                    run.train(study, path, finished[study.name], workers=2, machine=given.gpus)
                    tries[study.name] += 1
            if all(p.poll() is not None for p in run.trainers.values()) and not (folder / TRAINED).exists():
                told("training has ended")
                (folder / TRAINED).touch()
            if time.monotonic() - said > 20:
                said = time.monotonic()
                told(_progress(folder, ledger, run, units))
            time.sleep(0.3)
    finally:
        run.stop()
    told(_progress(folder, ledger, run, units))


STARTED = time.monotonic()


def told(line: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:6.1f} s  {line}", flush=True)


def _progress(folder: Path, ledger: Ledger, run: Run, units: set[str]) -> str:
    training = [name for name, p in run.trainers.items() if p.poll() is None]
    kept = sum(1 for _ in folder.glob("*/*/step-*"))
    left = len(units - ledger.done())
    return f"{kept} checkpoints, {left} of {len(units)} units left; training: {', '.join(training) or 'none'}"


def main() -> int:
    """Read the command line, work, bring back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, help="plan.toml of each study")
    parser.add_argument("--work", required=True, type=Path, help="folder for everything large; made if missing")
    parser.add_argument("--corpus", type=Path, help="folder whose files are moved into WORK")
    parser.add_argument("--text", type=Path, help="folder of text-*.tar from pack_text.py, in place of training text")
    parser.add_argument("--out", required=True, type=Path, help="folder for what comes back")
    parser.add_argument("--gpus", type=int, default=4)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it out")
    parser.add_argument("--measurers", type=int, default=3, help="measuring processes a GPU")
    parser.add_argument("--early", type=int, default=1, help="how many of them a GPU measure beside training")
    parser.add_argument("--wall", type=float, default=570, help="seconds after which everything has stopped")
    parser.add_argument("--done", type=Path, nargs="*", default=[], help="done.txt files of earlier machines")
    parser.add_argument("--bring", nargs="*", default=[], help="checkpoints to bring back, SUITE/MODEL/step-0000001")
    given = parser.parse_args()
    paths = [p.resolve() for p in given.studies]
    given.done = [p.resolve() for p in given.done]
    given.out = given.out.resolve()
    given.text = None if given.text is None else given.text.resolve()
    given.work = given.work.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ[MEASURERS] = str(given.measurers)
    if given.corpus is not None:
        for file in sorted(given.corpus.rglob("*")):
            if file.is_file():
                target = given.work / file.relative_to(given.corpus)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(file, target)
    os.chdir(given.work)
    studies = [read_study(p) for p in paths]
    known = {s.suite for s in studies if s.train is not None}
    for study in studies:
        if study.suite not in known:
            parser.error(f"{study.name} measures the suite {study.suite}: name that study's plan too")
    work(studies, paths, given, STARTED + given.wall - EXPORT_SECONDS)
    bring_back(studies, given.work, given.out, given.bring)
    told("all is in the output folder")
    return 0


if __name__ == "__main__":
    sys.exit(main())
