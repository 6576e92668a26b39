"""Isotonic regression: the best non-decreasing step function, by pooling neighbours that are out of order."""

from __future__ import annotations

import numpy as np

from bitlaw.predictor.curve import Array


def isotonic(x: Array, y: Array) -> tuple[Array, Array]:
    """Return knots (x, fitted y), both ascending, of the non-decreasing least-squares fit of y [n] on x [n].

    Between knots the fit is linear, beyond them constant: `np.interp(new, *isotonic(x, y))`.
    """
    order = np.lexsort((y, x))
    places, starts, counts = np.unique(x[order], return_index=True, return_counts=True)
    means = np.add.reduceat(y[order], starts) / counts
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for mean, count in zip(means.tolist(), counts.tolist()):
        blocks.append((mean, float(count), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, v, n), (b, w, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * v + b * w) / (v + w), v + w, n + m)]
    return places, np.concatenate([np.full(members, mean) for mean, _, members in blocks])
