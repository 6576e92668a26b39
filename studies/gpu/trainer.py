"""A process that trains the models of one study that are not finished: `python trainer.py WORK DEVICE WORKERS STUDY.toml FINISHED ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from work import read_study, without

from bitlaw.errors import BitlawError
from bitlaw.progress import open_progress
from bitlaw.train import train


def main(arguments: list[str]) -> int:
    """Train; 1 with the reason when a model failed."""
    folder, device, workers, path, *finished = arguments
    study = read_study(Path(path))
    plan = None if study.train is None else without(study.train, finished)
    if plan is None:
        return 0
    try:
        with open_progress("plain") as progress:
            train(plan, Path(folder) / study.suite, device=device, workers=int(workers), progress=progress)
    except BitlawError as error:
        print(f"{study.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
