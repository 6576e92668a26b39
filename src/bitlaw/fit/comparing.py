"""Which law should you trust? `compare`: every law fitted to a part of a table and judged on the rest.

    comparison = compare(["ouyang2024-unified", "kumar2024-ptq", "bitlaw-sensitivity"], table)
    print(comparison.text())
    comparison.best("later-tokens").name

Scores are of rows that the fit has not seen, pooled over the turns of a holdout. In-sample scores and information
criteria stand beside them; they choose laws that do not extrapolate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.fit.baselines import BASELINES, quantiles
from bitlaw.fit.clustered import Groups
from bitlaw.fit.fitting import SCORE_THRESHOLD, fit
from bitlaw.fit.holdout import Holdout, holdout, possible
from bitlaw.fit.table import Table
from bitlaw.laws import Law, load_law
from bitlaw.laws.law import Array

LEVEL = 0.9
ROWS = ("away", "checkpoints")  # of a HeldOut: one value a row
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A law to compare: a name of its own and the settings of its fits (`offsets`, `noise`, `fixed`, ... of `fit`)."""

    law: str | Law
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name shown."""
        return self.name or (self.law if isinstance(self.law, str) else self.law.name)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How one law predicted one holdout.

    log_r2, log_error (root mean square of ln(predicted / measured)), median_relative_error and bias (median of predicted /
    measured) are over the `scored` rows whose measured value is above the threshold. covered: share of all left-out rows
    inside the 90 % interval of a new measurement (their own standard errors added). width: median of its high / low.
    failed: why there are no scores, or an empty string. away [tested]: ln(predicted / measured), NaN where not scored;
    checkpoints [tested]: which checkpoint each is of.
    """

    name: str
    holdout: str
    turns: int
    tested: int
    scored: int
    log_r2: float = NAN
    log_error: float = NAN
    median_relative_error: float = NAN
    bias: float = NAN
    covered: float = NAN
    width: float = NAN
    failed: str = ""
    away: Array = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)
    checkpoints: Groups = field(default_factory=lambda: np.zeros(0, dtype=np.int64), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class InSample:
    """How one law follows the rows it was fitted to."""

    name: str
    parameters: int
    rows: int
    log_r2: float
    median_relative_error: float
    aic: float
    bic: float
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All scores; `holdouts` says in words what each holdout leaves out."""

    source: str
    target: str
    threshold: float
    holdouts: Mapping[str, str]
    held_out: tuple[HeldOut, ...]
    in_sample: tuple[InSample, ...]

    def best(self, name: str) -> HeldOut:
        """Return the law with the least median relative error on a holdout. Raises InputError if none has scores."""
        rows = [row for row in self.held_out if row.holdout == name and np.isfinite(row.median_relative_error)]
        if not rows:
            raise InputError(f"No law has scores on holdout {name!r}. Holdouts: {', '.join(self.holdouts)}.")
        return min(rows, key=lambda row: row.median_relative_error)

    def closest(self, name: str) -> HeldOut:
        """Return the law with the least root mean square of ln(predicted / measured). Raises InputError as `best` does."""
        rows = [row for row in self.held_out if row.holdout == name and np.isfinite(row.log_error)]
        if not rows:
            raise InputError(f"No law has scores on holdout {name!r}. Holdouts: {', '.join(self.holdouts)}.")
        return min(rows, key=lambda row: row.log_error)

    def of(self, law: str, name: str) -> HeldOut:
        """Return the scores of one law on one holdout. Raises InputError if there are none."""
        for row in self.held_out:
            if (row.name, row.holdout) == (law, name):
                return row
        raise InputError(f"No scores of {law!r} on {name!r}. Laws: {', '.join({r.name for r in self.held_out})}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not known becomes None, and single rows stay out."""
        content = asdict(self)
        for name in ("held_out", "in_sample"):
            content[name] = [
                {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items() if k not in ROWS}
                for row in content[name]
            ]
        return content

    def text(self) -> str:
        """Return a Markdown table: a row a law, a column a holdout with `median relative error (log-R2; covered)`."""
        names = list(self.holdouts)
        lines = [f"| law | {' | '.join(names)} | in sample | BIC |", "|---" * (len(names) + 3) + "|"]
        inside = {row.name: row for row in self.in_sample}
        for label in dict.fromkeys(row.name for row in self.held_out):
            cells = [_cell(self.of(label, name)) for name in names]
            own = inside.get(label)
            cells += [f"{_share(own.median_relative_error)} ({own.log_r2:.2f})", f"{own.bic:.0f}"] if own else ["", ""]
            lines.append(f"| {label} | {' | '.join(cells)} |")
        return "\n".join(lines)


def compare(
    laws: Iterable[str | Law | Contender],
    table: Table,
    holdouts: Iterable[str | Holdout] | None = None,
    *,
    baselines: bool = True,
    starts: int = 8,
    seed: int = 0,
    threshold: float = SCORE_THRESHOLD,
) -> Comparison:
    """Fit each law without the held-out rows and score it on them.

    laws: names, laws or `Contender`s, all of one target. holdouts: names of `bitlaw.fit.holdout.HOLDOUTS` or a `Holdout` of your
    own; by default all that the table allows but `format` and `model`. A law that cannot be fitted (a missing column, too few rows) is
    listed with the reason. Raises InputError if the laws predict different things.
    """
    contenders = [law if isinstance(law, Contender) else Contender(law=law) for law in laws]
    loaded = [load_law(c.law) if isinstance(c.law, str) else c.law for c in contenders]
    targets = {law.target for law in loaded}
    if len(targets) != 1:
        raise InputError(f"These laws predict {', '.join(sorted(targets)) or 'nothing'}: compare laws of one target.")
    target = targets.pop()
    rows = table.one_row_a_checkpoint() if target == "baseline_loss" else table
    rows = rows.take(np.isfinite(rows[target]))
    default = [name for name in possible(rows) if name not in ("format", "model")]
    asked = default if holdouts is None else holdouts
    parts = [part if isinstance(part, Holdout) else holdout(rows, part) for part in asked]
    held = [
        _judge_law(contender, law, rows, part, starts, seed, threshold)
        for part in parts
        for contender, law in zip(contenders, loaded)
    ]
    if baselines:
        held += [_judge_baseline(name, rows, target, part, threshold) for part in parts for name in BASELINES]
    return Comparison(
        source=table.source,
        target=target,
        threshold=threshold,
        holdouts={part.name: part.words for part in parts},
        held_out=tuple(held),
        in_sample=tuple(
            found
            for contender, law in zip(contenders, loaded)
            if (found := _in_sample(contender, law, rows, starts, seed, threshold)) is not None
        ),
    )


def _in_sample(
    contender: Contender, law: Law, rows: Table, starts: int, seed: int, threshold: float
) -> InSample | None:
    try:
        result = fit(law, rows, starts=starts, seed=seed, threshold=threshold, **contender.options)
    except InputError:
        return None  # its held-out rows say why
    return InSample(
        name=contender.label,
        parameters=len(result.free),
        rows=result.data.rows,
        log_r2=result.scores.log_r2,
        median_relative_error=result.scores.median_relative_error,
        aic=result.scores.aic,
        bic=result.scores.bic,
        outcome=result.outcome,
    )


def _judge_law(
    contender: Contender, law: Law, rows: Table, part: Holdout, starts: int, seed: int, threshold: float
) -> HeldOut:
    y, mean, low, high = (np.full(len(rows), np.nan) for _ in range(4))
    try:
        for out in part.turns:
            result = fit(law, rows.take(~out), starts=starts, seed=seed, threshold=threshold, **contender.options)
            asked = {name: rows[name][out] for name in (*law.variables, *result.levels)}
            y[out], mean[out] = rows[law.target][out], result.predict(asked)
            low[out], high[out] = result.band(asked, level=LEVEL, scatter=True)
    except InputError as error:
        return _empty(contender.label, part, rows, str(error))
    se = rows["qid_se"] if law.target == "qid" and "qid_se" in rows else np.zeros(len(rows))
    se = np.nan_to_num(se)
    return _scores(contender.label, part, y, mean, low, high, se, threshold, rows.clusters("checkpoint"))


def _judge_baseline(name: str, rows: Table, target: str, part: Holdout, threshold: float) -> HeldOut:
    y, mean, low, high = (np.full(len(rows), np.nan) for _ in range(4))
    for out in part.turns:
        known, asked = rows.take(~out), rows.take(out)
        y[out], mean[out] = asked[target], BASELINES[name](known, asked, target)
        down, up = quantiles(known, target, BASELINES[name], LEVEL)
        low[out], high[out] = mean[out] * np.exp(down), mean[out] * np.exp(up)
    checkpoints = rows.clusters("checkpoint")
    return _scores(name, part, y, mean, low, high, np.zeros(len(rows)), threshold, checkpoints)


def _empty(name: str, part: Holdout, rows: Table, why: str) -> HeldOut:
    tested = int(np.sum(np.any(part.turns, axis=0)))
    return HeldOut(name=name, holdout=part.name, turns=len(part.turns), tested=tested, scored=0, failed=why)


def _scores(
    name: str,
    part: Holdout,
    y: Array,
    mean: Array,
    low: Array,
    high: Array,
    se: Array,
    threshold: float,
    checkpoints: Groups,
) -> HeldOut:
    tested = np.isfinite(mean)
    above = tested & (np.nan_to_num(y) > threshold) & (mean > 0)
    log_y, away = np.log(y[above]), np.log(mean[above] / y[above])
    every = np.full(len(y), np.nan)
    every[above] = away
    total = float(np.sum((log_y - log_y.mean()) ** 2)) if above.any() else 0.0
    reach = 1.645 * se[tested]
    down = mean[tested] - np.hypot(mean[tested] - low[tested], reach)
    up = mean[tested] + np.hypot(high[tested] - mean[tested], reach)
    inside = (y[tested] >= down) & (y[tested] <= up)
    wide = high[above] / np.maximum(low[above], 1e-12)
    return HeldOut(
        name=name,
        holdout=part.name,
        turns=len(part.turns),
        tested=int(tested.sum()),
        scored=int(above.sum()),
        log_r2=1.0 - float(np.sum(away**2)) / total if total > 0 else NAN,
        log_error=float(np.sqrt(np.mean(away**2))) if above.any() else NAN,
        median_relative_error=float(np.median(np.abs(np.expm1(away)))) if above.any() else NAN,
        bias=float(np.exp(np.median(away))) if above.any() else NAN,
        covered=float(np.mean(inside)) if tested.any() else NAN,
        width=float(np.median(wide)) if above.any() else NAN,
        away=every[tested],
        checkpoints=checkpoints[tested],
    )


def _cell(row: HeldOut) -> str:
    if row.failed:
        return "-"
    return f"{_share(row.median_relative_error)} ({row.log_r2:.2f}; {row.covered:.2f})"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value < 10 else f"x{1 + value:.0f}"
