"""Measurements that come with bitlaw: `names()`, `load(name)`, `card(name)`. Nothing here loads torch.

    from bitlaw.datasets import card, load
    measurements = load("mini-pythia")        # list of Measurement, every one checked against its key
    print(card("mini-pythia").text)

Where a store is asked, `dataset:mini-pythia` is the same rows, for reading: `bitlaw records list --store dataset:mini-pythia`.

To add one: write `data/NAME.parquet` with `pack` (packing.py), a file here with its `Card`, a line in `loading.CARDS`, and its
section in docs/datasets.md. tests/datasets/test_datasets.py picks it up by its name.
"""

from bitlaw.datasets.card import Card
from bitlaw.datasets.loading import card, load, names
from bitlaw.datasets.packing import pack

__all__ = ["Card", "card", "load", "names", "pack"]
