"""Uncertainty from groups of related rows: sandwich covariance with the CR2 correction, and its degrees of freedom.

Rows are scaled by their standard deviation, X [n, p] slopes and e [n] residuals. X = U R with orthonormal U, so that
point = R^-1 u; in the coordinates u, for each group g with rows U_g:

    A_g = (I - U_g U_g')^(-1/2)          makes e_g as large as its truth is on average
    V   = sum_g U_g' A_g e_g e_g' A_g U_g                 covariance of u

A contrast c'u has, by Satterthwaite under independent rows, degrees of freedom (tr Q)^2 / tr(Q^2), with
Q_gh = c'(S_g [g=h] - T_g T_h)c, S_g = U_g' A_g^2 U_g and T_g = U_g' A_g U_g. Its variance is c'Vc. tr Q is c'c unless
a group alone determines part of the contrast (two models and an exponent of size): then nothing is left to judge that
part by, and the variance is infinite. Few groups give few degrees of freedom and wide intervals: three sizes
leave about one for the exponent of size. Bell and McCaffrey 2002; Pustejovsky and Tipton 2018, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitlaw.laws.law import Array

Groups = NDArray[np.int64]
JUDGED = 0.99  # tr Q / c'c below which part of a contrast is determined by single groups
DETERMINED = 1e-8  # what a group leaves of a direction that it determines alone
MOST_FREEDOM = 1e6  # degrees of freedom that count as infinite
UNKNOWN = 1e-10  # singular value of the scaled slopes, of the largest, below which no row tells a direction


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """What every interval is computed from: R^-1 [p, p], V [p, p], S [g, p, p], T [g, p, p] and, of what is known
    beforehand, its share K [p, p] of V, whose variance is certain.
    """

    turn: Array
    covariance: Array
    squares: Array
    crosses: Array
    known: Array

    def variance(self, contrast: Array) -> Array:
        """Return the variance of contrast . point; contrast [..., p]. Infinite where the groups leave nothing to judge by."""
        c = contrast @ self.turn
        expected, _ = self._moments(c)
        plain = np.sum(c**2, axis=-1)
        found = np.maximum(np.einsum("...i,ij,...j->...", c, self.covariance, c), 0.0)
        return np.asarray(np.where(expected > JUDGED * plain, found, np.inf))

    def degrees_of_freedom(self, contrast: Array) -> Array:
        """Return Satterthwaite's degrees of freedom of contrast . point; contrast [..., p]. At least 0.5."""
        trace, squared = self._moments(contrast @ self.turn)
        return np.asarray(np.clip(trace**2 / np.maximum(squared, 1e-300), 0.5, MOST_FREEDOM))

    def matrix(self) -> Array:
        """Return the covariance of the point, [p, p]."""
        return np.asarray(self.turn @ self.covariance @ self.turn.T)

    def _moments(self, c: Array) -> tuple[Array, Array]:
        """Return (tr Q, tr Q^2): the variance expected of independent rows, and what its scatter follows from."""
        crossed = np.einsum("...i,gij->...gj", c, self.crosses)
        q = -np.einsum("...gi,...hi->...gh", crossed, crossed)
        groups = np.arange(len(self.squares))
        q[..., groups, groups] += np.einsum("...i,gij,...j->...g", c, self.squares, c)
        sure = np.einsum("...i,ij,...j->...", c, self.known, c)
        return np.trace(q, axis1=-2, axis2=-1) + sure, np.sum(q**2, axis=(-2, -1))


def clustered(slopes: Array, residuals: Array, groups: Groups, beforehand: Array | None = None) -> Clustered:
    """Return the clustered covariance. slopes [n, p] and residuals [n] in standard deviations, groups [n] of labels.

    beforehand [q, p]: slopes of what is known of parameters beforehand, in its own standard deviations: rows whose
    variance is 1 for certain.

    A direction that no row tells gets no variance; design warnings name it.
    """
    n = len(slopes)
    slopes = slopes if beforehand is None else np.concatenate([slopes, beforehand])
    length = np.sqrt(np.sum(slopes**2, axis=0))
    length = np.where(length > 0, length, 1.0)
    u, singular, turn = np.linalg.svd(slopes / length, full_matrices=False)
    told = singular > UNKNOWN * singular[0]
    u = u * told
    known = u[n:].T @ u[n:]
    u = u[:n]
    inverse = turn.T * np.where(told, 1.0 / np.where(told, singular, 1.0), 0.0) / length[:, None]
    covariance = np.array(known)
    squares, crosses = [], []
    for group in np.unique(groups):
        rows = groups == group
        own, e = u[rows], residuals[rows]
        # (I - U_g U_g')^(-1/2) U_g = U_g (I - U_g'U_g)^(-1/2), with a p x p matrix under the root.
        hat, vectors = np.linalg.eigh(own.T @ own)
        left = 1.0 - hat
        grow = np.where(left > DETERMINED, 1.0 / np.sqrt(np.maximum(left, DETERMINED)), 0.0)
        adjusted = own @ (vectors * grow) @ vectors.T
        score = adjusted.T @ e
        covariance += np.outer(score, score)
        squares.append(adjusted.T @ adjusted)
        crosses.append(adjusted.T @ own)
    return Clustered(
        turn=inverse, covariance=covariance, squares=np.stack(squares), crosses=np.stack(crosses), known=known
    )
