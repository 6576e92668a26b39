"""The fit to the records that come with bitlaw: evidence beside the published laws, or `law="records"` by itself.

The unified law fitted to GPTQ with the first paper's settings at 2, 3 and 4 bits of the datasets mini-pythia and mini-pythia-2,
which share text, tokenizer and schedule. It is kept as a file, since fitting takes longer than asking; `studies/shipped_fits.py` makes it and tests/predict/test_shipped.py fits it again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bitlaw.fit.result import Fit

RECORDS = "records"
DATASETS = ("mini-pythia", "mini-pythia-2")
FILE = Path(__file__).parent.parent / "data" / "fits" / "gptq.json"


@lru_cache(maxsize=1)
def shipped_fit() -> Fit:
    """Return the fit to the shipped records."""
    return Fit.from_json(FILE)
