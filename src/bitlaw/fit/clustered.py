"""Uncertainty from groups of related rows: sandwich covariance with the CR2 correction, and its degrees of freedom.

Rows are scaled by their standard deviation, X [n, p] slopes and e [n] residuals; M = (X'X)^-1. For each group g:

    A_g = (I - X_g M X_g')^(-1/2)                makes e_g as large as its truth is on average
    V   = sum_g M X_g' A_g e_g e_g' A_g X_g M    covariance of the point

A contrast c'point has variance c'Vc and, by Satterthwaite under independent rows, degrees of freedom
(tr Q)^2 / tr(Q^2), Q_gh = c'(G_g [g=h] - C_g M C_h')c with G_g = M X_g' A_g^2 X_g M and C_g = M X_g' A_g X_g.
Few groups give few degrees of freedom and wide intervals: three sizes leave about one for the exponent of size.
Bell and McCaffrey 2002; Pustejovsky and Tipton 2018, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitlaw.laws.law import Array

Groups = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """What every interval is computed from: covariance [p, p], and for the degrees of freedom M, G [g, p, p], C [g, p, p]."""

    covariance: Array
    bread: Array
    squares: Array
    crosses: Array

    def variance(self, contrast: Array) -> Array:
        """Return the variance of contrast . point; contrast [..., p]."""
        return np.asarray(np.einsum("...i,ij,...j->...", contrast, self.covariance, contrast))

    def degrees_of_freedom(self, contrast: Array) -> Array:
        """Return Satterthwaite's degrees of freedom of contrast . point; contrast [..., p]. At least 0.5."""
        crossed = np.einsum("...i,gij->...gj", contrast, self.crosses)
        between = -np.einsum("...gi,ij,...hj->...gh", crossed, self.bread, crossed)
        own = np.einsum("...i,gij,...j->...g", contrast, self.squares, contrast)
        groups = np.arange(own.shape[-1])
        between[..., groups, groups] += own
        trace = np.trace(between, axis1=-2, axis2=-1)
        squared = np.sum(between**2, axis=(-2, -1))
        return np.asarray(np.maximum(trace**2 / np.maximum(squared, 1e-300), 0.5))


def clustered(slopes: Array, residuals: Array, groups: Groups) -> Clustered:
    """Return the clustered covariance. slopes [n, p] and residuals [n] in standard deviations, groups [n] of labels."""
    bread: Array = np.linalg.pinv(slopes.T @ slopes, rcond=1e-14, hermitian=True).astype(float)
    p = slopes.shape[1]
    covariance = np.zeros((p, p))
    squares, crosses = [], []
    for group in np.unique(groups):
        rows = groups == group
        x, e = slopes[rows], residuals[rows]
        basis, triangle = np.linalg.qr(x)
        hat, turn = np.linalg.eigh(triangle @ bread @ triangle.T)
        left = 1.0 - np.clip(hat, 0.0, 1.0)
        grow = np.where(left > 1e-8, 1.0 / np.sqrt(np.maximum(left, 1e-8)), 0.0)
        inside = basis @ turn
        adjusted = x + inside @ ((grow - 1.0)[:, None] * (inside.T @ x))  # A_g X_g
        score = bread @ (adjusted.T @ e)
        covariance += np.outer(score, score)
        squares.append(bread @ (adjusted.T @ adjusted) @ bread)
        crosses.append(bread @ (adjusted.T @ x))
    return Clustered(covariance=covariance, bread=bread, squares=np.stack(squares), crosses=np.stack(crosses))
