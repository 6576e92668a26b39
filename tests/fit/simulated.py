"""The designs that tests simulate: three small models like the demo's, and twelve like a suite."""

import numpy as np

from bitlaw.fit.simulate import Design

PYTHIA = {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
DEMO = {"k": 0.12 * 2**5 * 25e3**0.31 / 2.5e6, "beta": 1.0, "alpha": 0.31, "gamma": 5.0}
NOISE = {"own": 0.1, "by_checkpoint": 0.1, "by_model": 0.1}

FEW = Design(
    truth=DEMO,
    sizes=(25e3, 100e3, 397e3),
    tokens=tuple(float(d) for d in np.geomspace(4e4, 2.5e6, 6)),
    floor=3e-4,
    se=5e-4,
    **NOISE,
)
MANY = Design(
    truth=PYTHIA,
    sizes=tuple(float(n) for n in np.geomspace(1e6, 1e9, 12)),
    tokens=tuple(float(d) for d in np.geomspace(1e9, 2e11, 6)),
    floor=5e-4,
    se=1e-3,
    **NOISE,
)
EXACT = {"own": 0.0, "by_checkpoint": 0.0, "by_model": 0.0, "floor": 0.0, "se": 0.0}
