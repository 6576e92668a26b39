"""What another group size does where a law cannot say: the error of a scaled grid on Gaussian weights.

The scale of a group is set by its largest weight, so the rounding error of a weight is proportional to
m(G) = E max |x| of G standard normal numbers, and a degradation, which is quadratic in small errors, to m(G)^2:

    QiD(G) = QiD(128) m(G)^2 / m(128)^2              32: 0.69   64: 0.84   256: 1.17   1024: 1.48

Published tables (OmniQuant, GPTQ: docs/questions.md) have medians of 1.21 from 64 to 128 (here 1.19) and 1.43 from 128 to
1024 (1.48), with a scatter of about half the logarithm of the step, which is the uncertainty used. Outliers make whole
rows far worse than a Gaussian would (2.5 against 1.8 at 4 bits), so rows are not offered.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

SHARE = 0.5  # standard deviation of the correction's logarithm, as a share of it


def group_factor(group_size: int, law_group: int) -> tuple[float, float]:
    """Return QiD with groups of `group_size` over QiD with `law_group`, and the standard deviation of its logarithm."""
    log = 2.0 * math.log(largest(group_size) / largest(law_group))
    return math.exp(log), abs(log) * SHARE


@lru_cache(maxsize=64)
def largest(numbers: int) -> float:
    """Return the expected largest absolute value of that many standard normal numbers, to about six digits."""
    x = np.linspace(0.0, 10.0, 4001)
    inside = np.array([math.erf(value / math.sqrt(2.0)) for value in x])
    above = 1.0 - inside**numbers
    return float(np.sum(0.5 * (above[1:] + above[:-1])) * (x[1] - x[0]))
