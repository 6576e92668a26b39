"""Tables with planted parameters: measured value = law x (1 + shared and own scatter) + noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bitlaw.fit import Table
from bitlaw.laws import load_law

PYTHIA = {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
DEMO = {"k": 0.12 * 2**5 * 25e3**0.31 / 2.5e6, "beta": 1.0, "alpha": 0.31, "gamma": 5.0}


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which checkpoints exist, the truth, and the noise: standard deviations, relative to the law but for `floor`, `se`."""

    law: str = "ouyang2024-unified"
    truth: dict[str, float] = field(default_factory=lambda: DEMO)
    sizes: Sequence[float] = (25e3, 100e3, 397e3)
    tokens: Sequence[float] = tuple(np.geomspace(4e4, 2.5e6, 6))
    bits: Sequence[float] = (2.0, 3.0, 4.0)
    own: float = 0.1
    by_checkpoint: float = 0.1
    by_model: float = 0.1
    floor: float = 3e-4
    se: float = 5e-4

    def draw(self, generator: np.random.Generator) -> Table:
        """Return one table; a design without noise is exact."""
        law = load_law(self.law)
        rows = []
        for number, size in enumerate(self.sizes):
            model = self.by_model * generator.standard_normal()
            for step, tokens in enumerate(self.tokens):
                checkpoint = self.by_checkpoint * generator.standard_normal()
                for bits in self.bits:
                    columns = {"parameters": size, "tokens": tokens, "bits": bits}
                    value = float(law.evaluate(self.truth, columns))
                    scatter = 1.0 + model + checkpoint + self.own * generator.standard_normal()
                    noise = np.hypot(self.floor, self.se) * generator.standard_normal()
                    row = {"model": f"m{number}", "step": step, **columns}
                    rows.append({**row, law.target: value * scatter + noise, "qid_se": self.se})
        return Table.from_rows(rows, source="simulated")


MANY = Design(
    truth=PYTHIA,
    sizes=tuple(np.geomspace(1e6, 1e9, 12)),
    tokens=tuple(np.geomspace(1e9, 2e11, 6)),
    floor=5e-4,
    se=1e-3,
)
EXACT = {"own": 0.0, "by_checkpoint": 0.0, "by_model": 0.0, "floor": 0.0, "se": 0.0}
