"""`law_show`: the laws as data to list and print: formula, parameters, published constants and where they come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bitlaw.laws import VARIABLES, Law, Parameter, Published, Variable, law_names, load_law


@dataclass(frozen=True, kw_only=True)
class LawCard:
    """Everything printable about a law. `missing` names constants nobody published."""

    name: str
    summary: str
    formula: str
    target: str
    source: str
    variables: dict[str, Variable]
    parameters: tuple[Parameter, ...]
    published: tuple[Published, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def law_show(name: str = "all") -> tuple[LawCard, ...]:
    """Return the card of one law, or of all. Raises UnknownName with near matches."""
    names = law_names() if name == "all" else (name,)
    return tuple(_card(load_law(each)) for each in names)


def _card(law: Law) -> LawCard:
    known = {name for published in law.published for name in published.values}
    return LawCard(
        name=law.name,
        summary=law.summary,
        formula=law.text,
        target=law.target,
        source=law.source,
        variables={name: VARIABLES[name] for name in law.variables},
        parameters=law.parameters,
        published=law.published,
        missing=tuple(name for name in law.names if name not in known),
    )
