"""Laws written as text, or as a Python function: the catalog's and yours. They are fitted like every other law.

    law = law_from_text("loss = E + A / N^alpha + B / D^beta", target="baseline_loss", parameters={"E": 1.7, "alpha": (0, 2)})
    law = law_from_function(lambda N, D, k, beta: k * D**beta / N, parameters={"k": 1e-3, "beta": 0.5})
    fit(law, table)

Columns go by their symbol (N, D, P, G, ...) or their name (parameters, tokens, bits, group_size, ...), see
`bitlaw.laws.VARIABLES`; every other name is a parameter. A law of text is saved with its Fit; one of a function is not.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.laws.formula import Formula, parse
from bitlaw.laws.law import VARIABLES, Array, Columns, Law, Parameter, Published, Values

SYMBOLS: Mapping[str, str] = {v.symbol: name for name, v in VARIABLES.items()} | {name: name for name in VARIABLES}
SMALLEST, LARGEST = 1e-30, 1e30  # bounds of a parameter whose owner gave none
STARTS = (1.0, 0.3, 0.01, 100.0)
Wish = Parameter | float | tuple[float, float]


def positive(
    name: str,
    meaning: str,
    unit: str,
    *starts: float,
    lower: float = SMALLEST,
    upper: float = LARGEST,
    held: float | None = None,
    prior: tuple[float, float] | None = None,
) -> Parameter:
    """Return a positive parameter, fitted on a log scale."""
    return Parameter(
        name=name, meaning=meaning, unit=unit, lower=lower, upper=upper, starts=starts, log=True, held=held, prior=prior
    )


def exponent(
    name: str,
    meaning: str,
    *starts: float,
    lower: float = 0.0,
    upper: float = 4.0,
    tied: str = "",
    held: float | None = None,
    prior: tuple[float, float] | None = None,
) -> Parameter:
    """Return an exponent or another number without unit, fitted as it is."""
    return Parameter(
        name=name, meaning=meaning, unit="1", lower=lower, upper=upper, starts=starts, tied=tied, held=held, prior=prior
    )


def written(
    *,
    name: str,
    text: str,
    target: str,
    parameters: tuple[Parameter, ...],
    summary: str = "",
    published: tuple[Published, ...] = (),
    source: str = "",
) -> Law:
    """Return the law of a formula. parameters: in any order, one for each name that is no column. Raises InputError."""
    formula = parse(text, SYMBOLS)
    given = [parameter.name for parameter in parameters]
    if unknown := [name for name in given if name not in formula.names]:
        raise InputError(
            f"The formula {text!r} has no parameter {', '.join(unknown)}; it has {', '.join(formula.names)}."
        )
    if missing := [name for name in formula.names if name not in given]:
        raise InputError(f"The formula {text!r} needs its parameter{'s' if missing[1:] else ''} {', '.join(missing)}.")
    return Law(
        name=name,
        summary=summary or text,
        text=text,
        target=target,
        parameters=parameters,
        variables=tuple(column for column in VARIABLES if column in formula.columns),
        formula=formula.value,
        gradient=formula.slopes,
        published=published,
        source=source,
    )


def law_from_text(
    text: str, *, name: str = "own", target: str = "qid", parameters: Mapping[str, Wish] | None = None
) -> Law:
    """Return the law of a formula you write.

    parameters: name -> a start (above 0: positive and fitted on a log scale; else free of sign), (lower, upper), or a
    Parameter. A name that is left out is positive. Raises InputError.
    """
    wishes = dict(parameters or {})
    names = parse(text, SYMBOLS).names
    if unknown := [each for each in wishes if each not in names]:
        raise InputError(
            f"The formula {text!r} has no parameter {', '.join(unknown)}; it has {', '.join(names) or 'none'}."
        )
    return written(
        name=name,
        text=text,
        target=target,
        parameters=tuple(_parameter(each, wishes.get(each)) for each in names),
        source="written by the user",
    )


def law_from_function(
    function: Callable[..., Any],
    *,
    name: str = "own",
    target: str = "qid",
    parameters: Mapping[str, Wish] | None = None,
) -> Law:
    """Return the law of a Python function of columns and parameters, told apart by the names of its arguments.

    It is called with numpy arrays that broadcast and must be elementwise. parameters: as in `law_from_text`.
    """
    names = list(inspect.signature(function).parameters)
    columns = [each for each in names if each in SYMBOLS]
    free = [each for each in names if each not in SYMBOLS]
    wishes = dict(parameters or {})
    if unknown := [each for each in wishes if each not in free]:
        raise InputError(f"The function has no parameter {', '.join(unknown)}; it has {', '.join(free) or 'none'}.")

    def formula(values: Values, given: Columns) -> Array:
        arguments = {each: np.asarray(given[SYMBOLS[each]], dtype=float) for each in columns}
        return np.asarray(function(**arguments, **{each: np.asarray(values[each], dtype=float) for each in free}))

    label = getattr(function, "__name__", "function")
    return Law(
        name=name,
        summary=(inspect.getdoc(function) or label).splitlines()[0],
        text=f"{label}({', '.join(names)})",
        target=target,
        parameters=tuple(_parameter(each, wishes.get(each)) for each in free),
        variables=tuple(SYMBOLS[each] for each in columns),
        formula=formula,
        source="a Python function",
    )


def definition(law: Law) -> dict[str, Any] | None:
    """Return what `law_from_definition` needs to make the law again; None if it was not written as text."""
    if not isinstance(getattr(law.formula, "__self__", None), Formula):
        return None
    return {
        "name": law.name,
        "text": law.text,
        "target": law.target,
        "summary": law.summary,
        "source": law.source,
        "parameters": [asdict(parameter) for parameter in law.parameters],
    }


def law_from_definition(content: Mapping[str, Any]) -> Law:
    """Return the law of a `definition`. Raises InputError if it is damaged."""
    try:
        parts = dict(content)
        listed = [
            {**entry, "starts": tuple(entry["starts"]), "prior": tuple(entry["prior"]) if entry.get("prior") else None}
            for entry in parts.pop("parameters")
        ]
        return written(parameters=tuple(Parameter(**entry) for entry in listed), **parts)
    except (KeyError, TypeError) as error:
        raise InputError(f"This definition of a law is damaged: {error}.") from error


def _parameter(name: str, wish: Wish | None) -> Parameter:
    if isinstance(wish, Parameter):
        return wish
    meaning = "given by the user"
    if wish is None:
        return positive(name, meaning, "1", *STARTS)
    if isinstance(wish, tuple):
        low, high = wish
        middle = math.sqrt(low * high) if low > 0 else 0.5 * (low + high)
        starts = (middle, low + 0.1 * (high - low), low + 0.9 * (high - low))
        return Parameter(name=name, meaning=meaning, unit="1", lower=low, upper=high, starts=starts, log=low > 0)
    start = float(wish)
    if start > 0:
        return positive(name, meaning, "1", start, start / 10.0, start * 10.0)
    return Parameter(name=name, meaning=meaning, unit="1", lower=-LARGEST, upper=LARGEST, starts=(start, start + 1.0))
