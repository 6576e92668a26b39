"""One model's loss landscape: loss against signal-to-noise ratio along random directions, and its inverse.

    SNR = 20 log10(|w| / |dw|) dB        excess = loss - loss of the unchanged network, nats per token

The excess is interpolated as log(excess), monotone, over SNR (PCHIP). Above the largest SNR whose excess stands out of the
noise it follows the second-order law excess ~ |dw|^2 = 10^(-SNR/10); below the smallest SNR that was probed the last
value is kept, and `low_db` says where that begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError

Array = NDArray[np.float64]
FEWEST = 3  # points below which there is no curve
STEP_DB = 0.05
TOP_DB = 80.0
NOISE = 2.0  # standard errors that an excess must exceed
FLATTEST = 1e-4  # least fall of log(excess) a dB, so that the curve can be inverted
QUADRATIC = np.log(10.0) / 10.0  # fall of log(excess) a dB where the loss is quadratic in |dw|


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Loss at SNR (dB, ascending) [n] along random directions, means over seeds, and the unchanged network's loss.

    low, high [n]: the range over seeds. excess_se [n]: standard errors of the excess (paired over windows).
    """

    snr_db: Array
    loss: Array
    low: Array
    high: Array
    excess_se: Array
    baseline: float
    seeds: int = 1

    def __post_init__(self) -> None:
        if len(self.snr_db) < FEWEST:
            raise InputError(
                f"A landscape needs losses at {FEWEST} or more signal-to-noise ratios, {len(self.snr_db)} were measured. "
                "Probe on a grid such as 30, 28, ..., 0 dB."
            )
        if not (np.all(np.isfinite(self.loss)) and np.all(np.diff(self.snr_db) > 0)):
            raise InputError("A landscape needs finite losses at ascending signal-to-noise ratios.")

    @property
    def low_db(self) -> float:
        """The smallest SNR that was probed."""
        return float(self.snr_db[0])

    @property
    def high_db(self) -> float:
        """The largest SNR that was probed."""
        return float(self.snr_db[-1])

    @property
    def clear_db(self) -> float:
        """The largest SNR up to which every excess stands out of its noise; above it the curve is the second-order law."""
        return float(self.snr_db[max(self._clear, 1) - 1])

    @cached_property
    def _clear(self) -> int:
        """Return how many points, from the lowest SNR on, stand out of their noise."""
        clear = self.loss - self.baseline > np.maximum(NOISE * np.nan_to_num(self.excess_se), 1e-9)
        return int(np.argmin(clear)) if not clear.all() else len(clear)

    @cached_property
    def _grid(self) -> tuple[Array, Array]:
        """Return SNR (dB, ascending) and log(excess), strictly falling, on a fine grid."""
        from scipy.interpolate import PchipInterpolator

        excess, count = self.loss - self.baseline, self._clear
        if count == 0:
            raise InputError(
                f"No perturbation down to {self.low_db:g} dB raises the loss beyond its noise: the landscape says nothing. "
                "Probe lower signal-to-noise ratios or more windows."
            )
        x, y = self.snr_db[:count], np.log(excess[:count])
        y = np.minimum.accumulate(y - FLATTEST * (x - x[0])) + 0.0
        grid = np.arange(min(x[0], -20.0), TOP_DB + STEP_DB, STEP_DB)
        inner = PchipInterpolator(x, y)(np.clip(grid, x[0], x[-1])) if count > 1 else np.full_like(grid, y[0])
        below = FLATTEST * np.maximum(x[0] - grid, 0.0)
        above = QUADRATIC * np.maximum(grid - x[-1], 0.0)
        values = np.asarray(inner + below - above, dtype=float)
        return grid, np.minimum.accumulate(values - 1e-9 * np.arange(len(values)))

    def at(self, snr_db: Array | float) -> Array:
        """Return the loss, nats per token, at any SNR. snr_db [...] -> [...]."""
        grid, log_excess = self._grid
        return np.asarray(self.baseline + np.exp(np.interp(snr_db, grid, log_excess)), dtype=float)

    def slope(self, snr_db: Array | float) -> Array:
        """Return dloss/dSNR, nats per token per dB: the central difference over 1 dB either way."""
        at = np.asarray(snr_db, dtype=float)
        return (self.at(at + 1.0) - self.at(at - 1.0)) / 2.0

    def snr_of(self, loss: Array | float) -> Array:
        """Return the SNR along random directions that costs this loss: the effective SNR of a change of the weights.

        A loss at or below the unchanged network's has the SNR of an excess of 1e-6 nats; one above the curve the lowest.
        """
        grid, log_excess = self._grid
        excess = np.log(np.maximum(np.asarray(loss, dtype=float) - self.baseline, 1e-6))
        return np.asarray(np.interp(excess, log_excess[::-1], grid[::-1]), dtype=float)

    @property
    def knee_db(self) -> float:
        """The SNR where half of the largest probed excess is reached."""
        return float(self.snr_of(self.baseline + 0.5 * float(np.max(self.loss - self.baseline))))

    @property
    def onset_db(self) -> float:
        """The SNR where the excess is 5 % of the largest probed one: how early the loss begins to rise."""
        return float(self.snr_of(self.baseline + 0.05 * float(np.max(self.loss - self.baseline))))

    @property
    def rise(self) -> float:
        """The largest probed excess, nats per token: how high the plateau lies."""
        return float(np.max(self.loss - self.baseline))


def curve_of(points: Sequence[tuple[float, float, float, float]], baseline: float) -> Curve:
    """Return the curve of points (nominal SNR, actual SNR, loss, standard error of the excess), joined over seeds."""
    nominal: dict[float, list[tuple[float, float, float]]] = {}
    for wanted, actual, loss, error in points:
        nominal.setdefault(round(wanted, 6), []).append((actual, loss, error))
    joined = []
    for rows in nominal.values():
        places, losses, errors = (np.array(column) for column in zip(*rows))
        se = float(np.sqrt(np.sum(np.nan_to_num(errors) ** 2)) / len(errors))
        joined.append((float(places.mean()), float(losses.mean()), float(losses.min()), float(losses.max()), se))
    joined.sort()
    columns = [np.array(column, dtype=float) for column in zip(*joined)] if joined else [np.array([])] * 5
    return Curve(
        snr_db=columns[0],
        loss=columns[1],
        low=columns[2],
        high=columns[3],
        excess_se=columns[4],
        baseline=baseline,
        seeds=max((len(rows) for rows in nominal.values()), default=0),
    )
