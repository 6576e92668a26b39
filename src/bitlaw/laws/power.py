"""Products of powers: scale * prod_j column_j ** (sign_j * exponent_j), and its gradient. Most laws of QiD are one.

log f = log k + sum_j s_j e_j log x_j, so df/dk = f / k and df/de_j = f s_j log x_j.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitlaw.laws.law import Array, Columns, Formula, Gradient, Values

LARGEST_LOG = 600.0  # e^600 still squares into a float64; a wild start gives a large number instead of infinity


def power_form(scale: str, exponents: Mapping[str, tuple[str, int]]) -> tuple[Formula, Gradient]:
    """Return formula and gradient of a product of powers.

    scale: the parameter in front. exponents: parameter name -> (column, +1 or -1 for its sign in the exponent).
    """
    factors = tuple((name, column, sign) for name, (column, sign) in exponents.items())

    def formula(values: Values, columns: Columns) -> Array:
        log_value = np.log(np.asarray(values[scale], dtype=float))
        for name, column, sign in factors:
            log_value = log_value + sign * np.asarray(values[name]) * np.log(np.asarray(columns[column], dtype=float))
        return np.asarray(np.exp(np.clip(log_value, -LARGEST_LOG, LARGEST_LOG)))

    def gradient(values: Values, columns: Columns) -> dict[str, Array]:
        value = formula(values, columns)
        slopes = {scale: value / np.asarray(values[scale], dtype=float)}
        for name, column, sign in factors:
            slopes[name] = sign * value * np.log(np.asarray(columns[column], dtype=float))
        return slopes

    return formula, gradient
