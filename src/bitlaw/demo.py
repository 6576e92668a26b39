"""The whole chain on real input: train, measure, fit, report. What `bitlaw demo` runs.

out/tiny/        the trained suite          out/demo.db      the measurements
out/*.json       one fit a method           out/report.html  the page
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bitlaw.progress import Progress

PLAN = "tiny"
LAW = "ouyang2024-unified"


@dataclass(kw_only=True)
class DemoResult:
    """What the demo did: seconds of each part, counts, fits, the QiD table, what stands beside it, and where everything lies."""

    out: str
    seconds: dict[str, float] = field(default_factory=dict)
    measured: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    exponents: list[dict[str, Any]] = field(default_factory=list)
    qid: list[dict[str, Any]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    report: str = ""
    store: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return asdict(self)


def demo(
    out: str | Path = "runs/demo", *, device: str = "auto", workers: int = 0, progress: Progress | None = None
) -> DemoResult:
    """Train the tiny suite, measure it, fit the unified law to each method, write the report. Goes on where it was.

    Everything lies in `out`. Raises InputError for a folder that cannot be written.
    """
    from bitlaw.store import open_store

    progress = progress or Progress()
    folder = Path(out)
    suite_folder, store_file = folder / PLAN, folder / "demo.db"
    result = DemoResult(out=str(folder), store=str(store_file))
    with _timed(result.seconds, "train"):
        if not _finished(suite_folder):
            from bitlaw.train import train

            train(PLAN, suite_folder, device=device, workers=workers or None, progress=progress)
    with _timed(result.seconds, "sweep"):
        from bitlaw.measure import measure, measure_plan, read_plan

        summary = measure(
            suite_folder, measure_plan(read_plan(PLAN)), store_file, device=device, workers=workers, progress=progress
        )
        result.measured, result.skipped, result.failures = summary.measured, summary.skipped, summary.failures
    with open_store(store_file, create=False) as store:
        measurements = store.read()
    with _timed(result.seconds, "fit"):
        from bitlaw.fit import Table, fit

        table = Table.from_measurements(measurements, source=str(store_file))
        fits = {method: fit(LAW, table.where(method=method)) for method in sorted(set(table["method"]))}
        for method, made in fits.items():
            made.to_json(folder / f"fit-{method}.json")
    with _timed(result.seconds, "report"):
        from bitlaw.report import report

        page = report(
            measurements, folder / "report.html", fits=list(fits.values()), title="bitlaw demo: the tiny suite"
        )
        result.report = str(page)
    result.exponents = [_exponents(method, made) for method, made in fits.items()]
    result.qid = _qid_table(table)
    result.findings = _findings(table)
    result.evidence = _beside()
    return result


def _beside() -> list[str]:
    """Return what the same law says elsewhere: of the records that come with bitlaw, and as published."""
    from bitlaw.laws import load_law
    from bitlaw.predict.shipped import shipped_fit

    shipped = shipped_fit()
    words = [
        f"{name} {shipped.values[name]:.3g} [{low:.3g}, {high:.3g}]"
        for name, (low, high) in shipped.intervals.items()
        if name != "k"
    ]
    data = shipped.data
    known = load_law(LAW).published[0]
    constants = ", ".join(f"{name} {value:.4g}" for name, value in known.values.items() if name != "k")
    return [
        f"beside, the same law fitted to {data.source} ({data.rows} rows, {data.models} models, gptq): {', '.join(words)}",
        f"beside, published: {constants} ({known.source}; {known.data})",
    ]


def _finished(suite_folder: Path) -> bool:
    """Whether every checkpoint of the plan is there, found without loading torch."""
    from bitlaw.suites import MANIFEST, read_manifest
    from bitlaw.train.plan import read_train_plan

    if not (suite_folder / MANIFEST).is_file():
        return False
    plan = read_train_plan(PLAN)
    return len(read_manifest(suite_folder).checkpoints) == sum(len(plan.steps(model)) for model in plan.models)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started


def _exponents(method: str, made: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method}
    for name in ("beta", "alpha", "gamma", "k"):
        row[name] = made.values[name]
        row[f"{name}_low"], row[f"{name}_high"] = made.intervals[name]
    return {
        **row,
        "level": made.level,
        "log_r2": made.scores.log_r2,
        "median_relative_error": made.scores.median_relative_error,
        "rows": made.data.rows,
        "warnings": list(made.warnings),
    }


def _qid_table(table: Any) -> list[dict[str, Any]]:
    """One row a method, width and model: QiD at every checkpoint with its standard error."""
    keys = sorted(
        {(m, b, n, name) for m, b, n, name in zip(table["method"], table["bits"], table["parameters"], table["model"])}
    )
    rows = []
    for method, bits, _, model in keys:
        part = table.where(method=method, bits=bits, model=model)
        order = part["tokens"].argsort()
        rows.append(
            {
                "method": str(method),
                "bits": int(bits),
                "model": str(model),
                "tokens": [int(t) for t in part["tokens"][order]],
                "qid": [float(q) for q in part["qid"][order]],
                "qid_se": [float(s) for s in part["qid_se"][order]],
            }
        )
    return rows


def _findings(table: Any) -> list[str]:
    """What the first paper says and what was measured here, in words made from the numbers."""
    rows = [row for row in _qid_table(table) if row["bits"] == 2]
    said = []
    for method in sorted({row["method"] for row in rows}):
        own = [row for row in rows if row["method"] == method]
        rising = [row["model"] for row in own if row["qid"][-1] > row["qid"][0]]
        last = {row["model"]: row["qid"][-1] for row in own}
        lowest = min(last, key=lambda model: last[model])
        said.append(
            f"{method}, 2 bits: QiD rises with training tokens for {len(rising)} of {len(own)} sizes; at the last "
            f"checkpoint it is lowest for {lowest} ({', '.join(f'{m} {q:.3f}' for m, q in last.items())} nats)."
        )
    return said
