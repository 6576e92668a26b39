"""What a run brought back -> the datasets and the files of each study: `python studies/gpu/unpack.py FOLDER [--into REPOSITORY]`.

FOLDER holds STUDY.tar.gz, or folders of them (one a lease, in the order of their names). A model that a later lease trained
again replaces that of an earlier one, with all its records. Rows that only `ablations` asks of the checkpoints of
lr-state become the dataset `ablations`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from work import read_study  # noqa: E402

from bitlaw.datasets import pack  # noqa: E402
from bitlaw.records import Measurement  # noqa: E402
from bitlaw.store import read_parquet  # noqa: E402

KEPT = ("train-loss.csv", "suite.json", "weight-changes.csv")
ABLATIONS, OF = "ablations", "lr-state"


def merged(leases: Iterable[list[Measurement]]) -> list[Measurement]:
    """Return the measurements of all leases: of each model those of the last lease that trained it, others of that training."""
    found: dict[str, Measurement] = {}
    for lease in leases:
        trained = {(m.asked.checkpoint.model, m.asked.checkpoint.step): m.asked.checkpoint.commit for m in lease}
        again = {
            m.asked.checkpoint.model
            for m in found.values()
            if trained.get((m.asked.checkpoint.model, m.asked.checkpoint.step), m.asked.checkpoint.commit)
            != m.asked.checkpoint.commit
        }
        found = {k: m for k, m in found.items() if m.asked.checkpoint.model not in again}
        found |= {m.key: m for m in lease if m.seen.state == "ok" or m.key not in found}
    return list(found.values())


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


def main() -> int:
    """Unpack, merge, write datasets and study files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=HERE.parent.parent, help="repository to write to")
    given = parser.parse_args()
    data, studies = given.into / "src" / "bitlaw" / "data", given.into / "studies"
    leases: dict[str, list[list[Measurement]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, archive in enumerate(sorted(given.folder.rglob("*.tar.gz"))):
            name = archive.name.removesuffix(".tar.gz")
            if not (HERE.parent / name / "plan.toml").is_file():
                continue
            place = Path(temporary) / str(number)
            with tarfile.open(archive) as opened:
                opened.extractall(place, filter="data")
            if (place / "records.parquet").is_file():
                leases.setdefault(name, []).append(read_parquet(place / "records.parquet"))
            for file in KEPT:
                if (place / file).is_file():
                    (studies / name).mkdir(parents=True, exist_ok=True)
                    shutil.copy(place / file, studies / name / file)
    for name, lists in leases.items():
        rows = merged(lists)
        apart = of_ablations(rows, HERE.parent) if name == OF else set()
        failed = [m for m in rows if m.seen.state != "ok"]
        for m in failed:
            print(
                f"failed: {m.asked.checkpoint.model}@{m.asked.checkpoint.step} {m.asked.variant.label}: {m.seen.reason}"
            )
        for dataset, part in (
            (name, [m for m in rows if m.key not in apart]),
            (ABLATIONS, [m for m in rows if m.key in apart]),
        ):
            if part:
                quantized = sum(not m.asked.variant.is_baseline for m in part)
                count = pack(part, data / f"{dataset}.parquet")
                print(f"{dataset}: {count} rows, {quantized} of quantized models")
    return 0


if __name__ == "__main__":
    sys.exit(main())
