"""What a run brought back -> the datasets and the files of each study: `python studies/gpu/unpack.py FOLDER [--into REPOSITORY]`.

FOLDER holds STUDY.tar.gz, or folders of them (one a lease, in the order of their names); what ships already counts as an earlier lease.
Of a model that was trained twice the training with more measurements is kept (leases.py). What failed, models whose loss never moved, and what has no 16-bit model beside it, is
told and left out. Rows that only `ablations` asks of the checkpoints of lr-state become the dataset `ablations`. Then
studies/gpu/cards.py writes the cards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from archives import extract  # noqa: E402
from leases import CHANGES, LOSSES, SUITE, Lease, merged, merged_files, read_files, untrained, usable, without  # noqa: E402
from work import read_study  # noqa: E402

from bitlaw.datasets import pack  # noqa: E402
from bitlaw.records import Measurement  # noqa: E402
from bitlaw.store import read_parquet  # noqa: E402

ABLATIONS, OF = "ablations", "lr-state"
DATASET_OF = {"families-gpu": "families", "families-cpu": "families", "lr-state-cpu": "lr-state"}
"""Suites that belong to a study, and a dataset, of another name."""
SHIPPED_CHANGES = ("mini-pythia-2", "families")
"""Studies whose weight changes ship, for Figure 12 of the first paper."""


def of_ablations(measurements: Iterable[Measurement], studies: Path) -> set[str]:
    """Return the keys of the measurements that the ablations ask and lr-state does not."""
    main, own = read_study(studies / OF / "plan.toml"), read_study(studies / ABLATIONS / "plan.toml")
    asked = {(p.plan.evaluation, _way(v)) for p in main.passes for v in p.plan.variants}
    wanted = {(p.plan.evaluation, _way(v)) for p in own.passes for v in p.plan.variants} - asked
    return {m.key for m in measurements if (m.asked.evaluation.name, _way(m.asked.variant)) in wanted}


def _way(v: object) -> str:
    fields = dict(vars(v))
    fields["options"] = sorted(fields["options"].items())
    return repr(fields)


def suite_of(archive: Path, lease: Lease) -> str:
    """Return the suite an archive is of: that of its records or its suite.json, else its own name."""
    suites = {m.asked.checkpoint.suite for m in lease.rows}
    named = json.loads(lease.files[SUITE])["name"] if SUITE in lease.files else archive.name.removesuffix(".tar.gz")
    return str(suites.pop() if len(suites) == 1 else named)


def read_lease(archive: Path) -> Lease:
    """Return what an archive holds."""
    with tempfile.TemporaryDirectory() as temporary, tarfile.open(archive) as opened:
        extract(opened, Path(temporary))
        records = Path(temporary) / "records.parquet"
        return Lease(rows=read_parquet(records) if records.is_file() else [], files=read_files(Path(temporary)))


def place_of(suite: str, studies: Path) -> Path:
    """Return where a suite's files lie: the study's folder, or one of its own in it."""
    study = DATASET_OF.get(suite, suite)
    return studies / study if study == suite else studies / study / suite


def sound(suite: str, lease: Lease) -> Lease:
    """Return a lease without what failed, has no 16-bit model beside it or was never trained, and tell how much that was."""
    still = untrained(lease.files.get(LOSSES, ""))
    if still:
        before = len(lease.rows)
        lease = without(lease, still)
        print(f"{suite}: training of {', '.join(sorted(still))} moved nothing; {before - len(lease.rows)} left out")
    reasons = Counter(m.seen.reason.split("\n")[0][:80] for m in lease.rows if m.seen.state != "ok")
    for reason, count in reasons.most_common():
        print(f"{suite}: {count} failed, left out: {reason}")
    kept = usable(lease.rows)
    if alone := len(lease.rows) - sum(reasons.values()) - len(kept):
        print(f"{suite}: {alone} without their 16-bit model, left out")
    return Lease(rows=kept, files=lease.files)


def merge(suite: str, new: Sequence[Lease], shipped: Sequence[Measurement], studies: Path) -> list[Measurement]:
    """Write the files of a suite -> its measurements; shipped: those that the repository has of it."""
    place = place_of(suite, studies)
    leases = [Lease(rows=shipped, files=read_files(place)), *(sound(suite, lease) for lease in new)]
    rows, origin = merged(leases)
    for name, text in merged_files(leases, origin).items():
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return rows


def main() -> int:
    """Unpack, merge, write datasets and study files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=HERE.parent.parent, help="repository to write to")
    given = parser.parse_args()
    data, studies = given.into / "src" / "bitlaw" / "data", given.into / "studies"
    leases: dict[str, list[Lease]] = {}
    for archive in sorted(given.folder.rglob("*.tar.gz")):
        lease = read_lease(archive)
        suite = suite_of(archive, lease)
        if (HERE.parent / DATASET_OF.get(suite, suite) / "plan.toml").is_file() and (lease.rows or lease.files):
            leases.setdefault(suite, []).append(lease)
    for dataset in dict.fromkeys(DATASET_OF.get(suite, suite) for suite in leases):
        names = (dataset, ABLATIONS) if dataset == OF else (dataset,)
        files = [data / f"{name}.parquet" for name in names]
        shipped = [m for file in files if file.is_file() for m in read_parquet(file)]
        rows = [m for m in shipped if m.asked.checkpoint.suite not in leases]
        for suite, new in leases.items():
            if DATASET_OF.get(suite, suite) == dataset:
                rows += merge(suite, new, [m for m in shipped if m.asked.checkpoint.suite == suite], studies)
                changes = place_of(suite, studies) / CHANGES
                if dataset in SHIPPED_CHANGES and changes.is_file():
                    shutil.copy(changes, data / f"{dataset}-{CHANGES}")
        apart = of_ablations(rows, HERE.parent) if dataset == OF else set()
        parts = {dataset: [m for m in rows if m.key not in apart], ABLATIONS: [m for m in rows if m.key in apart]}
        for name, part in parts.items():
            if part:
                changed = sum(not m.asked.variant.is_baseline for m in part)
                print(f"{name}: {pack(part, data / f'{name}.parquet')} rows, {changed} of changed models")
    return 0


if __name__ == "__main__":
    sys.exit(main())
