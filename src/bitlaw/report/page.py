"""`report(...)`: measurements and fits -> one HTML file that needs nothing beside itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import bitlaw
from bitlaw.errors import InputError
from bitlaw.fit import Fit
from bitlaw.records import Measurement
from bitlaw.report.conditions import conditions, left_out
from bitlaw.report.drawing import draw, slug
from bitlaw.report.experiments import Experiment, Setup, sort_experiments
from bitlaw.report.figures import experiment_figures
from bitlaw.report.fits import assign_fits, fit_setups
from bitlaw.report.headline import headline
from bitlaw.report.tables import (
    checkpoint_table,
    exponent_table,
    failure_table,
    fit_table,
    fit_warnings,
    last_table,
    measurement_table,
    published_sources,
)
from bitlaw.report.words import several
from bitlaw.store import Store, open_store

TITLE = "Quantization-induced degradation"


def report(
    source: Store | str | os.PathLike[str] | Iterable[Measurement],
    out: str | os.PathLike[str],
    *,
    fits: Iterable[Fit] | Mapping[str, Fit] | None = None,
    title: str = TITLE,
) -> Path:
    """Write the report of a store (open, or its path), or of measurements, to the HTML file `out` -> its path.

    fits: those to show, each beside the measurements of its methods and suites; None fits the unified law of
    `bitlaw.laws.ouyang2024` to every setup, an empty list shows no law. The same input gives the same bytes.
    Raises InputError if there is nothing to report, a fit belongs to no measurement, or the file cannot be written.
    """
    if isinstance(source, str | os.PathLike):
        with open_store(source, create=False) as store:
            return report(store, out, fits=fits, title=title)
    measurements = list(source)
    where, digest = (source.where, source.digest()) if isinstance(source, Store) else ("", "")
    page = render(measurements, fits=fits, title=title, where=where, digest=digest)
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"Cannot write the report to {str(path)!r}: {error.strerror}. Choose another path.") from error
    return path


def render(
    measurements: Sequence[Measurement],
    *,
    fits: Iterable[Fit] | Mapping[str, Fit] | None = None,
    title: str = TITLE,
    where: str = "",
    digest: str = "",
) -> str:
    """Return the page as text; see `report`. `where` and `digest` say which store it was made from."""
    if not measurements:
        raise InputError(f"There is nothing to report: {where or 'the input'} holds no measurement. Measure first.")
    experiments = sort_experiments(measurements)
    given = None if fits is None else assign_fits(fits, experiments)
    sections = []
    for index, experiment in enumerate(experiments):
        if given is None:
            own, said = fit_setups(experiment)
        else:
            own, said = (
                {s: given[experiment.title, s] for s in experiment.quantized if (experiment.title, s) in given},
                [],
            )
        sections.append(_section(index, experiment, own, said))
    failed = failure_table(experiments)
    page: str = _template().render(
        title=title,
        css=_part("page.css"),
        js=_part("page.js"),
        cards=_cards(measurements, experiments),
        sections=sections,
        failed=failed,
        where=Path(where).name if where else "",
        digest=digest,
        version=bitlaw.__version__,
    )
    return page


def _section(
    index: int, experiment: Experiment, fits: Mapping[Setup, Sequence[Fit]], said: Sequence[str]
) -> dict[str, Any]:
    figures: list[dict[str, str]] = []
    if experiment.quantized or experiment.baselines:
        prefix = slug(experiment.title)
        for number, figure in enumerate(experiment_figures(experiment, fits)):
            svg = draw(figure, experiment.models, experiment.bits, prefix=f"s{index}f{number}")
            figures.append(
                {"id": f"{prefix}-{slug(figure.name)}", "title": figure.title, "caption": figure.caption, "svg": svg}
            )
    ok = bool(experiment.all_ok)
    return {
        "id": slug(experiment.title),
        "title": experiment.title,
        "headline": headline(experiment, fits) if ok else ["Every measurement here failed; the reasons are below."],
        "last": last_table(experiment),
        "exponents": exponent_table(fits) if fits else None,
        "published": published_sources(fits),
        "warnings": fit_warnings(fits),
        "fits": fit_table(fits) if fits else None,
        "figures": figures,
        "measurements": measurement_table(experiment),
        "checkpoints": checkpoint_table(experiment),
        "conditions": conditions(experiment) if ok else [],
        "left_out": left_out(experiment, fits, said),
    }


def _cards(measurements: Sequence[Measurement], experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    checkpoints = {(c.suite, c.model, c.step, c.commit) for c in (m.asked.checkpoint for m in measurements)}
    models = {(c.suite, c.model) for c in (m.asked.checkpoint for m in measurements)}
    variants = {m.asked.variant.label for m in measurements if not m.asked.variant.is_baseline}
    failed = sum(len(e.failed) for e in experiments)
    return [
        (str(len(models)), several(len(models), "model").split()[1]),
        (str(len(checkpoints)), several(len(checkpoints), "checkpoint").split()[1]),
        (str(len(variants)), several(len(variants), "quantized variant").split(maxsplit=1)[1]),
        (str(len(measurements)), several(len(measurements), "measurement").split()[1]),
        (str(failed), "failed"),
    ]


def _part(name: str) -> str:
    return resources.files("bitlaw.report").joinpath("templates", name).read_text(encoding="utf-8")


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("page.html.j2"))
