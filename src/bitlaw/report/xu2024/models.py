"""Which model stands for which of the paper's: families in its order, sizes by rank, short names, colours of formats."""

from __future__ import annotations

from collections.abc import Sequence

from bitlaw.predictor.known_formats import PAPER_FORMATS, canonical_name, facts
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.report.words import count
from bitlaw.report.xu2024.sheets import Absent

FAMILIES = ("gpt2", "opt", "bloom", "llama", "gpt_neox", "mpt")
NAMES = {"gpt2": "GPT-2", "opt": "OPT", "bloom": "BLOOM", "llama": "Llama", "gpt_neox": "GPT-NeoX", "mpt": "MPT"}
HELD = ("gpt_neox", "mpt")
MX = tuple(dict.fromkeys(canonical_name(name) for name in PAPER_FORMATS))
"""The paper's 36 formats without the 8 that are others under another name."""


def families_of(models: Sequence[ModelRecords]) -> list[str]:
    """Return the families that are there, the paper's first."""
    there = {model.family for model in models}
    return [name for name in FAMILIES if name in there] + sorted(there - set(FAMILIES))


def family_name(family: str) -> str:
    """Return a family as people write it."""
    return NAMES.get(family, family)


def of_family(models: Sequence[ModelRecords], family: str) -> list[ModelRecords]:
    """Return a family's models, small to large."""
    return sorted((m for m in models if m.family == family), key=lambda m: m.quantized_parameters)


def main_family(models: Sequence[ModelRecords]) -> list[ModelRecords]:
    """Return the models that stand for the paper's OPT: OPT where any was quantized, else the family with most models."""
    models = [m for m in models if m.points] or models
    families = families_of(models)
    if not families:
        raise Absent("no model has the measurements that this figure is made of")
    chosen = "opt" if "opt" in families else max(families, key=lambda name: len(of_family(models, name)))
    return of_family(models, chosen)


def three(models: Sequence[ModelRecords]) -> list[ModelRecords]:
    """Return the smallest, a middle and the largest of models that are sorted by size."""
    if len(models) <= 3:
        return list(models)
    return [models[0], models[len(models) // 2], models[-1]]


def middle(models: Sequence[ModelRecords]) -> ModelRecords:
    """Return the model that stands for opt-1.3b: the one above the middle."""
    return models[len(models) // 2]


def title_of(model: ModelRecords) -> str:
    """Return family and size."""
    return f"{family_name(model.family)} {count(model.quantized_parameters)}"


def require(models: Sequence[ModelRecords], what: str) -> None:
    """Raise Absent when there is no model of a kind."""
    if not models:
        raise Absent(f"no model with {what} was measured")


def marker_of(name: str) -> str:
    """Return the marker of a format: circles are small floats, diamonds microscaling integers, squares plain integers."""
    return "o" if name.startswith("mxfp") else "D" if name.startswith("mxint") else "s"


def bits_key(name: str) -> str:
    """Return the colour key of a format's width."""
    return f"{facts(name).bits:g} bits"


BITS = ("2 bits", "3 bits", "4 bits", "6 bits")
