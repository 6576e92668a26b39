"""Datasets by name: which there are, their measurements, their cards."""

from __future__ import annotations

from collections.abc import Mapping

from bitlaw.datasets.ablations import ABLATIONS
from bitlaw.datasets.card import Card
from bitlaw.datasets.families import FAMILIES
from bitlaw.datasets.lr_state import LR_STATE
from bitlaw.datasets.mini_pythia import MINI_PYTHIA
from bitlaw.datasets.mini_pythia_2 import MINI_PYTHIA_2
from bitlaw.datasets.native import NATIVE
from bitlaw.errors import UnknownName
from bitlaw.records import Measurement
from bitlaw.store import read_parquet, shipped_file

CARDS: Mapping[str, Card] = {
    MINI_PYTHIA.name: MINI_PYTHIA,
    ABLATIONS.name: ABLATIONS,
    NATIVE.name: NATIVE,
    LR_STATE.name: LR_STATE,
    MINI_PYTHIA_2.name: MINI_PYTHIA_2,
    FAMILIES.name: FAMILIES,
}


def names() -> tuple[str, ...]:
    """Names of the datasets, sorted."""
    return tuple(sorted(CARDS))


def load(name: str) -> list[Measurement]:
    """Return the measurements of a dataset, by model, tokens and variant. Raises UnknownName with the near matches."""
    return read_parquet(shipped_file(card(name).name))


def card(name: str) -> Card:
    """Return the card of a dataset. Raises UnknownName with the near matches."""
    if name not in CARDS:
        raise UnknownName("dataset", name, CARDS)
    return CARDS[name]
