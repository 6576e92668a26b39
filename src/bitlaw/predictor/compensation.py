"""What GPTQ's compensation of rounding errors is worth in one network, dB, from random noise compensated as GPTQ would.

    gain(K, s) = SNR along random directions that costs what compensated noise of SNR s and cells of K columns costs, less s
    loss of compensated noise = curve(s + gain)

Measured at some cells K and SNRs s (`perturb_compensated`), in between interpolated in s and in log2 K; beyond them the nearest counts. Where the
loss is quadratic in the noise the gain does not depend on s, so what low SNRs say holds at high ones too, where the excess is lost in noise. A
block as long as a row gains nothing: nothing is left behind it to adjust.

A point counts where its gain is known to CLEAR_DB: its excess clear of its standard error, on a part of the curve that was measured, not
extrapolated, and is steep enough to tell dB apart. The curve is the mean over directions: that the noise was drawn along one of them says little of
where compensation takes it (compared along that direction alone, gains predicted GPTQ worse).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bitlaw.predictor.curve import Array, Curve

CLEAR_DB = 1.0
NEAR_DB = 0.5  # nominal and actual SNR of probes agree so well
OWN = 0.02  # of an excess: what a curve over few directions leaves uncertain however many tokens are scored


@dataclass(frozen=True, kw_only=True)
class CompensatedPoint:
    """One measured probe: SNR of the noise before it is compensated (dB), columns of a cell, loss and the excess's standard error in nats."""

    snr_db: float
    block: int
    loss: float
    excess_se: float


@dataclass(frozen=True, kw_only=True)
class Compensation:
    """Gains of one network. gains: block -> ((SNR, gain), ...), both dB, SNR ascending."""

    gains: Mapping[int, tuple[tuple[float, float], ...]]

    def gain_db(self, block: Array | float, snr_db: Array | float) -> Array:
        """Return what compensation is worth, dB. block [...] (0: a whole row, which gains nothing), snr_db [...] -> [...]."""
        block, snr = np.broadcast_arrays(np.asarray(block, dtype=float), np.asarray(snr_db, dtype=float))
        blocks = sorted(self.gains)
        each = np.stack([np.interp(snr, *np.array(self.gains[b]).T) for b in blocks])
        place = np.interp(np.log2(np.maximum(block, 1.0)), np.log2(blocks), np.arange(len(blocks)))
        lower = np.minimum(place.astype(int), max(len(blocks) - 2, 0))
        share = place - lower
        low, high = (np.take_along_axis(each, np.minimum(lower + i, len(blocks) - 1)[None], axis=0)[0] for i in (0, 1))
        return np.where(block > 0, low + share * (high - low), 0.0)


def compensation_of(points: Iterable[CompensatedPoint], curve: Curve) -> Compensation | None:
    """Return the gains that probes say, means over seeds; None where no point is clear."""
    found: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        end = float(curve.snr_of(point.loss))
        ends = np.array([point.snr_db, end])
        if ends.max() <= curve.clear_db + NEAR_DB and _uncertain_db(curve, ends, point) <= CLEAR_DB:
            found[point.block][point.snr_db].append(end - point.snr_db)
    gains = {
        block: tuple((snr, float(np.mean(values))) for snr, values in sorted(by_snr.items()))
        for block, by_snr in sorted(found.items())
    }
    return Compensation(gains=gains) if gains else None


def _uncertain_db(curve: Curve, ends: Array, point: CompensatedPoint) -> float:
    """Return the standard error of a gain, dB: of the losses at both ends, over the curve's slope there."""
    own = np.hypot(np.nan_to_num(point.excess_se), OWN * (curve.at(ends) - curve.baseline))
    return float(np.max(own / np.maximum(-curve.slope(ends), 1e-12)))
