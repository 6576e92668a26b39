"""What the kernels share: choosing the parameters of a group and rounding to its grid, in the words of `grids`.

Shapes are those of the arguments: a tile [ROWS, COLUMNS], a vector [ROWS], or what broadcasts. The arithmetic is that of
`formats`, operation by operation: IEEE division, ties as the format says. A group that holds NaN or infinity has a = NaN.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from bitlaw.formats.elements import FloatElement
from bitlaw.formats.normal_float import SMALLEST
from bitlaw.formats.nvfp4 import ELEMENT as E2M1
from bitlaw.formats.nvfp4 import SCALE as E4M3
from bitlaw.kernels import grids

# Adding and taking away 1.5 * 2^23 leaves a float32 below 2^22 rounded to nearest, ties to even.
_ROUNDER = tl.constexpr(12582912.0)
_INFINITY = tl.constexpr(0x7F800000)
_MAGNITUDE = tl.constexpr(0x7FFFFFFF)
_CEILING = tl.constexpr(grids.CEILING)
_TWO_TO_MINUS_127 = tl.constexpr(1 << 22)  # bits: a kernel would take a number so small for float64
_SMALLEST = tl.constexpr(int(np.float32(SMALLEST).view(np.int32)))
FACTS = tl.constexpr(grids.FACTS)

RANGE = tl.constexpr(grids.RANGE)
POWER = tl.constexpr(grids.POWER)
LARGEST = tl.constexpr(grids.LARGEST)
MEAN = tl.constexpr(grids.MEAN)
BLOCK_SCALE = tl.constexpr(grids.BLOCK_SCALE)
MAXIMUM = tl.constexpr(grids.MAXIMUM)
GIVEN = tl.constexpr(grids.GIVEN)
WHOLE = tl.constexpr(grids.WHOLE)
ELEMENT = tl.constexpr(grids.ELEMENT)
FP4 = tl.constexpr(grids.FP4)
TABLE = tl.constexpr(grids.TABLE)
CODEBOOK = tl.constexpr(grids.CODEBOOK)


def _constants(element: FloatElement) -> tuple[tl.constexpr, tl.constexpr, tl.constexpr]:
    """Return largest, smallest binade and magnet of an element that a kernel knows by heart."""
    largest, smallest, magnet, *_ = grids.element_facts(element, own=())
    return tl.constexpr(largest), tl.constexpr(smallest), tl.constexpr(magnet)


_E2M1_LARGEST, _E2M1_SMALLEST, _E2M1_MAGNET = _constants(E2M1)
_E4M3_LARGEST, _E4M3_SMALLEST, _E4M3_MAGNET = _constants(E4M3)
_LEAST_SCALE = tl.constexpr(2.0**E4M3.emin)


@triton.jit
def to_element(x, largest, smallest, magnet, step, AWAY: tl.constexpr):
    """Round to an element's grid; step is looked at where ties go away from zero."""
    inside = tl.minimum(tl.maximum(x, -largest), largest)
    binade = (inside.to(tl.int32, bitcast=True) & _INFINITY).to(tl.float32, bitcast=True)
    binade = tl.maximum(binade, smallest)
    pull = binade * magnet
    rounded = (inside + pull) - pull
    if AWAY:
        width = binade * step
        short = (tl.abs(inside - rounded) * 2.0 == width) & (tl.abs(rounded) < tl.abs(inside))
        rounded = tl.where(short, tl.where(inside > 0, rounded + width, rounded - width), rounded)
    return tl.where(x == x, rounded, x)


@triton.jit
def to_entry(x, entries, stride, LEVELS: tl.constexpr):
    """Round to the nearest of 2^LEVELS ascending numbers, to the lower on a tie; entries points at the first, for each x."""
    index = tl.full(x.shape, 0, tl.int32)
    for level in tl.static_range(LEVELS):
        probe = index + (1 << (LEVELS - 1 - level))
        below = tl.load(entries + (probe - 1) * stride)
        above = tl.load(entries + probe * stride)
        index = tl.where(x > (below + above) * 0.5, probe, index)
    return tl.where(x == x, tl.load(entries + index * stride), x)


@triton.jit
def to_grid(x, a, b, entries, stride, largest, smallest, magnet, step,
            ROUNDING: tl.constexpr, AWAY: tl.constexpr, LEVELS: tl.constexpr):  # fmt: skip
    """Round values to the grid of their group's parameters a and b, or of its entries."""
    if ROUNDING == WHOLE:
        levels = tl.div_rn(x, a)
        inside = tl.minimum(tl.maximum(levels, -b), largest - b)
        value = tl.where(levels == levels, (inside + _ROUNDER) - _ROUNDER, levels) * a
    if ROUNDING == ELEMENT:
        value = to_element(tl.div_rn(x, a), largest, smallest, magnet, step, AWAY) * a
    if ROUNDING == FP4:
        value = to_element(x * b, _E2M1_LARGEST, _E2M1_SMALLEST, _E2M1_MAGNET, 0.0, False) * a
    if ROUNDING == TABLE:
        value = to_entry(x * b, entries, stride, LEVELS) * a
    if ROUNDING == CODEBOOK:
        value = to_entry(x, entries, stride, LEVELS)
    return value


@triton.jit
def extent(x, inside, CHOICE: tl.constexpr):
    """Return what a choice looks at of x [ROWS, COLUMNS] where `inside`: lowest, highest, bits of max |x|, sum |x|.

    Each [ROWS]; lowest and highest are at most and at least 0 and only made for RANGE, the sum (float64) only for MEAN.
    Bits of magnitudes are ordered like the magnitudes, NaN above infinity.
    """
    kept = tl.where(inside, x, 0.0)
    bits = tl.max(kept.to(tl.int32, bitcast=True) & _MAGNITUDE, axis=1)
    low = bits.to(tl.float32, bitcast=True)
    high = low
    total = low.to(tl.float64)
    if CHOICE == RANGE:
        low = tl.minimum(tl.min(kept, axis=1), 0.0)
        high = tl.maximum(tl.max(kept, axis=1), 0.0)
    if CHOICE == MEAN:
        total = tl.sum(tl.abs(kept).to(tl.float64), axis=1)
    return low, high, bits, total


@triton.jit
def limits(low, high, bits, facts, CHOICE: tl.constexpr):
    """Return what a RANGE or LARGEST choice settles on, [ROWS] each: the ends of the range, or the scale twice."""
    most = bits.to(tl.float32, bitcast=True)
    if CHOICE == RANGE:
        even = tl.load(facts + 4) != 0
        high = tl.where(even, most, high)
        low = tl.where(even, -most, low)
        empty = high == low
        high = tl.where(empty, 1.0, high)
        low = tl.where(empty, -1.0, low)
    else:
        high = tl.div_rn(most, tl.load(facts + 4))
        high = tl.where(high == 0, 1.0, high)
        low = high
    return low, high


@triton.jit
def settled(low, high, facts, CHOICE: tl.constexpr):
    """Return a and b of these limits."""
    if CHOICE == RANGE:
        top = tl.load(facts)
        even = tl.load(facts + 4) != 0
        a = tl.div_rn(high - low, top)
        b = tl.where(even, (top + 1.0) * 0.5, (tl.div_rn(-low, a) + _ROUNDER) - _ROUNDER)
        a = tl.where(even | (a > 0), a, float("nan"))
    else:
        a = high
        b = tl.zeros_like(high)
    return a, b


@triton.jit
def _error(x, inside, a, b, largest, smallest, magnet, step, facts, ROUNDING: tl.constexpr, AWAY: tl.constexpr):
    """Return the sum of squared rounding errors where `inside`, [ROWS] float64: no order of summation decides a choice."""
    value = to_grid(x, a[:, None], b[:, None], facts, 1, largest, smallest, magnet, step, ROUNDING, AWAY, 0)
    error = tl.where(inside, value - x, 0.0)
    return tl.sum((error * error).to(tl.float64), axis=1)


@triton.jit
def searched(x, inside, low, high, tries, largest, smallest, magnet, step, facts,
             CHOICE: tl.constexpr, ROUNDING: tl.constexpr, AWAY: tl.constexpr,
             COARSE: tl.constexpr, TRIES: tl.constexpr):  # fmt: skip
    """Return a and b with the least squared error among the limits and shrunk ones (`formats.scale_rules`, mse).

    x [ROWS, COLUMNS] where inside; tries points at TRIES factors, the first COARSE from 1, the others from the best of them.
    """
    a, b = settled(low, high, facts, CHOICE)
    least = _error(x, inside, a, b, largest, smallest, magnet, step, facts, ROUNDING, AWAY)
    best = tl.full(low.shape, 1.0, tl.float32)
    around = tl.full(low.shape, 1.0, tl.float32)
    for number in range(TRIES):
        around = tl.where(number == COARSE, best, around)
        shrunk = tl.minimum(around * tl.load(tries + number), 1.0)
        trial_a, trial_b = settled(low * shrunk, high * shrunk, facts, CHOICE)
        squared = _error(x, inside, trial_a, trial_b, largest, smallest, magnet, step, facts, ROUNDING, AWAY)
        better = squared < least
        least = tl.where(better, squared, least)
        best = tl.where(better, shrunk, best)
        a = tl.where(better, trial_a, a)
        b = tl.where(better, trial_b, b)
    return a, b


@triton.jit
def chosen(low, high, bits, total, count, facts, CHOICE: tl.constexpr):
    """Return a and b [ROWS] from the extent of a group of `count` values; facts [ROWS] points at each grid's FACTS."""
    most = bits.to(tl.float32, bitcast=True)
    b = tl.zeros_like(most)
    if (CHOICE == RANGE) | (CHOICE == LARGEST):
        low, high = limits(low, high, bits, facts, CHOICE)
        a, b = settled(low, high, facts, CHOICE)
    if CHOICE == POWER:
        added = tl.load(facts + 5).to(tl.int32)
        quotient = tl.div_rn(most, tl.load(facts + 4)).to(tl.int32, bitcast=True)
        exponent = ((quotient + added) >> 23) - 127
        exponent = tl.where((added == _CEILING) & (quotient <= _TWO_TO_MINUS_127), -127, exponent)
        exponent = tl.minimum(tl.maximum(exponent - tl.load(facts + 6).to(tl.int32), -127), 127)
        power = tl.where(exponent == -127, _TWO_TO_MINUS_127, (exponent + 127) << 23).to(tl.float32, bitcast=True)
        a = power * tl.load(facts + 7)
    if CHOICE == MEAN:
        a = (total / count.to(tl.float64)).to(tl.float32)
        a = tl.where(a == 0, 1.0, a)
    if CHOICE == BLOCK_SCALE:
        tensor = tl.load(facts + 4)
        wanted = tl.div_rn(tl.div_rn(most, _E2M1_LARGEST), tensor)
        wanted = tl.minimum(tl.maximum(wanted, _LEAST_SCALE), _E4M3_LARGEST)
        scale = to_element(wanted, _E4M3_LARGEST, _E4M3_SMALLEST, _E4M3_MAGNET, 0.0, False)
        a = tensor * scale
        b = tl.div_rn(tl.div_rn(tl.full(tensor.shape, 1.0, tl.float32), tensor), scale)
    if CHOICE == MAXIMUM:
        a = most
        safe = tl.maximum(bits, _SMALLEST).to(tl.float32, bitcast=True)
        b = tl.div_rn(tl.full(most.shape, 1.0, tl.float32), safe)
    return unless_broken(a, bits), b


@triton.jit
def unless_broken(a, bits):
    """Return a, or NaN for a group whose bits of max |x| are those of infinity or NaN."""
    return tl.where(bits >= _INFINITY, float("nan"), a)
