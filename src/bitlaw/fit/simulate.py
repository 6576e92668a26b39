"""Tables with planted parameters, to see what a design could tell and whether intervals cover.

measured value = law x (1 + model + checkpoint + own) + noise: three relative scatters, each normal and drawn once per
model, checkpoint and row, and an absolute noise of standard deviation hypot(floor, se).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bitlaw.fit.table import Table
from bitlaw.laws import Law, load_law


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which checkpoints exist, the truth and the noise. `se` is also given to the fit as the rows' standard error.

    sizes, tokens, bits: every combination is measured. own, by_checkpoint, by_model: relative standard deviations;
    floor, se: in nats. others: columns beside these three -> (low, high), drawn evenly between for every row.
    """

    truth: Mapping[str, float]
    sizes: tuple[float, ...]
    tokens: tuple[float, ...]
    bits: tuple[float, ...] = (2.0, 3.0, 4.0)
    law: str | Law = "ouyang2024-unified"
    own: float = 0.0
    by_checkpoint: float = 0.0
    by_model: float = 0.0
    floor: float = 0.0
    se: float = 0.0
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def draw(self, generator: np.random.Generator) -> Table:
        """Return one table of the design; without noise it is exact."""
        law = load_law(self.law) if isinstance(self.law, str) else self.law
        rows = []
        for number, size in enumerate(self.sizes):
            model = self.by_model * generator.standard_normal()
            for step, tokens in enumerate(self.tokens):
                checkpoint = self.by_checkpoint * generator.standard_normal()
                for bits in self.bits:
                    columns = {"parameters": size, "tokens": tokens, "bits": bits}
                    columns |= {n: float(generator.uniform(low, high)) for n, (low, high) in self.others.items()}
                    value = float(law.evaluate(self.truth, columns))
                    scatter = 1.0 + model + checkpoint + self.own * generator.standard_normal()
                    noise = np.hypot(self.floor, self.se) * generator.standard_normal()
                    row = {"model": f"m{number}", "step": step, **columns}
                    rows.append({**row, law.target: value * scatter + noise, "qid_se": self.se})
        return Table.from_rows(rows, source="simulated")
